/* The `coffer` command: picks the subcommand. */
#include <stdio.h>
#include <string.h>

#include "core/secret.h"
#include "tools/cli.h"

static const struct cli_command *const commands[] = {
	&cmd_init,   &cmd_mount,  &cmd_umount, &cmd_status,  &cmd_check,   &cmd_sync, &cmd_quota, &cmd_key,
	&cmd_id,     &cmd_member, &cmd_escrow, &cmd_backup,  &cmd_restore, &cmd_destroy,
	&cmd_audit,  &cmd_policy,
};

static int help(FILE *f)
{
	fprintf(f, "usage: coffer COMMAND ..\n\n"
		   "An encrypted volume with backups, and destruction that reaches them.\n\n");
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
		fprintf(f, "  %-9s %s\n", commands[i]->name, commands[i]->summary);
	fprintf(f, "\n`coffer COMMAND --help` tells more. VOLUME is a store or a mount point.\n"
		   "Exit codes: 0 done, 1 failed, 2 usage, 3 refused, 4 integrity.\n");
	return 0;
}

static int guarded(const struct cli_command *c, int argc, char **argv)
{
	int err = secret_process_init();

	if (err) {
		struct diag d = {0};
		diag_fail_errno(&d, err, "guarding this process's memory");
		return cli_fail(&d);
	}
	return cli_end(c->run(argc, argv));
}

int main(int argc, char **argv)
{
	if (cmd_mount_is_helper(argv[0]))
		return guarded(&cmd_mount, argc, argv);
	if (argc < 2) {
		help(stderr);
		return DIAG_EXIT_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help"))
		return help(stdout);
	if (!strcmp(argv[1], "--version")) {
		printf("coffer %s\n", COFFER_VERSION);
		return DIAG_EXIT_DONE;
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++) {
		if (strcmp(commands[i]->name, argv[1]) != 0)
			continue;
		for (int a = 2; a < argc; a++)
			if (!strcmp(argv[a], "--help") || !strcmp(argv[a], "-h"))
				return cli_help(commands[i]);
		return guarded(commands[i], argc - 1, argv + 1);
	}
	fprintf(stderr, "coffer: no command \"%s\"; `coffer --help` lists them\n", argv[1]);
	return DIAG_EXIT_USAGE;
}
