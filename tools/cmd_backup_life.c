/* Options and dispatch of the verbs of cmd_backup_life.h. */
#include "tools/cmd_backup_life.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum option_bit {
	SET = 1, OLDER = 2, FROM = 4, TO = 8, LABEL = 16, KEPT = 32, REASON = 64, REPOSITORY = 128, DRY_RUN = 256,
	SECRET = 512,
};

#define ANY SIZE_MAX /* operands: the verb counts them itself */

static const struct verb {
	const char *name, *operands;
	size_t n_operands;
	unsigned options, needs;
	int (*run)(struct life_args *a, struct diag *d);
} verbs[] = {
	{"hold", "VOLUME and SET", 2, REASON | REPOSITORY, REASON, life_hold},
	{"holds", "VOLUME", 1, 0, 0, life_holds},
	{"merge", "VOLUME", 1, SET | OLDER | REPOSITORY | DRY_RUN, 0, life_merge},
	{"repair", "VOLUME", 1, SET | FROM | REPOSITORY | DRY_RUN | SECRET, 0, life_repair},
	{"export", "VOLUME", 1, SET | TO | LABEL | KEPT | REPOSITORY | SECRET, TO | LABEL, life_export},
	{"import", "DIR and VOLUME", 2, SET | LABEL | REPOSITORY | SECRET, 0, life_import},
	{"media", "list VOLUME, or forget VOLUME LABEL", ANY, REASON | REPOSITORY | SECRET, 0, life_media},
	{"release", "VOLUME and a SET or an ORDER", 2, REASON | SECRET, 0, life_release},
};

static const struct {
	unsigned bit;
	const char *name;
} option_names[] = {
	{SET, "--set"}, {OLDER, "--older-than"}, {FROM, "--from"}, {TO, "--to"}, {LABEL, "--label"}, {KEPT, "--kept"},
	{REASON, "--reason"}, {REPOSITORY, "--repository"}, {DRY_RUN, "--dry-run"}, {SECRET, "a secret"},
};

static const char *option_name(unsigned bit)
{
	for (size_t i = 0; i < sizeof(option_names) / sizeof(*option_names); i++)
		if (option_names[i].bit & bit)
			return option_names[i].name;
	return "";
}

static int one_option(struct life_args *a, int c, unsigned *given)
{
	const char **const texts[] = {['f'] = &a->from, ['t'] = &a->to, ['l'] = &a->label, ['k'] = &a->kept,
				      ['w'] = &a->reason, ['r'] = &a->repository};
	static const unsigned bits[] = {['f'] = FROM, ['t'] = TO, ['l'] = LABEL, ['k'] = KEPT,
					['w'] = REASON, ['r'] = REPOSITORY};

	switch (c) {
	case 'j':
		a->json = true;
		return 0;
	case 'n':
		a->dry_run = true;
		*given |= DRY_RUN;
		return 0;
	case 's':
		*given |= SET;
		if (a->n_sets == LIFE_SETS_MAX)
			return -EINVAL;
		a->sets[a->n_sets++] = optarg;
		return 0;
	case 'o':
		*given |= OLDER;
		return cli_parse_number(optarg, 36500, &a->older_than);
	case 'f': case 't': case 'l': case 'k': case 'w': case 'r':
		*texts[c] = optarg;
		*given |= bits[c];
		return 0;
	default:
		*given |= SECRET;
		return cli_unlock_option(&a->secrets, c, optarg) ? 0 : -EINVAL;
	}
}

static int arguments(struct life_args *a, int argc, char **argv, unsigned *given)
{
	static const struct option options[] = {{"set", required_argument, NULL, 's'},
						{"older-than", required_argument, NULL, 'o'},
						{"from", required_argument, NULL, 'f'},
						{"to", required_argument, NULL, 't'},
						{"label", required_argument, NULL, 'l'},
						{"kept", required_argument, NULL, 'k'},
						{"reason", required_argument, NULL, 'w'},
						{"repository", required_argument, NULL, 'r'},
						{"dry-run", no_argument, NULL, 'n'},
						{"json", no_argument, NULL, 'j'},
						CLI_UNLOCK_OPTIONS, {0}};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		if (one_option(a, c, given) != 0)
			return -EINVAL;
	a->operands = argv + optind;
	a->n_operands = (size_t)(argc - optind);
	return 0;
}

int cmd_backup_life(const struct cli_command *c, int argc, char **argv)
{
	const struct verb *v = NULL;
	struct life_args a = {0};
	unsigned given = 0;
	struct diag d = {0};

	for (size_t i = 0; argc && i < sizeof(verbs) / sizeof(*verbs); i++)
		if (!strcmp(verbs[i].name, argv[0]))
			v = &verbs[i];
	if (!v)
		return -1;
	if (arguments(&a, argc, argv, &given) != 0 || (v->n_operands == ANY ? a.n_operands < 2 : a.n_operands != v->n_operands))
		return cli_usage(c, "%s takes %s, and options that it knows", v->name, v->operands);
	if (given & ~v->options)
		return cli_usage(c, "%s does not go with %s", option_name(given & ~v->options), v->name);
	if (v->needs & ~given)
		return cli_usage(c, "%s needs %s", v->name, option_name(v->needs & ~given));
	if (a.kept && strcmp(a.kept, "department") != 0 && strcmp(a.kept, "platform") != 0)
		return cli_usage(c, "--kept department or platform");
	int err = v->run(&a, &d);
	cli_unlock_free(&a.secrets);
	return err ? cli_fail(&d) : DIAG_EXIT_DONE;
}
