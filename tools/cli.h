/*
 * What every subcommand of `coffer` shares: the table, the options, the way to report.
 *
 * A subcommand is a function over its own argc/argv (argv[0] is its name) that returns an exit code; one file a
 * subcommand (cmd_init.c, cmd_backup.c ..). It reports once, through cli_fail, and prints results to standard output: text, or one JSON
 * object with --json.
 */
#ifndef COFFER_TOOLS_CLI_H
#define COFFER_TOOLS_CLI_H

#include <getopt.h>
#include <jansson.h>
#include <stdbool.h>

#include "core/diag.h"
#include "core/header.h"

struct cli_command {
	const char *name;	 /* "backup" */
	const char *summary;	 /* one line for `coffer --help` */
	const char *usage;	 /* whole text of `coffer NAME --help` */
	int (*run)(int argc, char **argv);
};

extern const struct cli_command cmd_init, cmd_mount, cmd_umount, cmd_status, cmd_check, cmd_sync,
	cmd_key, cmd_quota, cmd_id, cmd_member, cmd_escrow, cmd_backup, cmd_restore, cmd_destroy, cmd_audit, cmd_policy;

/* True when the program was called as mount.coffer, mount(8)'s helper. */
bool cmd_mount_is_helper(const char *argv0);

/* Prints the diagnosis to standard error and returns its exit code. An interrupt by signal is DIAG_INTERRUPTED. */
int cli_fail(const struct diag *d);
/* The command's exit code; not 0 when what it printed did not get where it should. */
int cli_end(int code);
/* "coffer NAME: TEXT" and the hint at --help; returns DIAG_EXIT_USAGE. */
int cli_usage(const struct cli_command *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Help to standard output; returns DIAG_EXIT_DONE. */
int cli_help(const struct cli_command *c);
/* Prints j (which it releases) as one line. */
void cli_json(json_t *j);
/* Picks the sub-verb argv[1] from a table of names; -1 when unknown. */
int cli_verb(const char *name, const char *const *verbs);
/* "1.2 GiB" */
void cli_size(uint64_t bytes, char out[32]);
/* "512M", "1.5G", "4096", "2 TiB": bytes; suffixes K to E are powers of 1024. -EINVAL. */
int cli_parse_size(const char *s, uint64_t *ret);
/* A whole number from 1 to max, in decimal and nothing behind it. -EINVAL. */
int cli_parse_number(const char *s, unsigned max, unsigned *ret);
/* "2026-11-28 09:15:00" local time */
void cli_time(int64_t unix_seconds, char out[32]);
/* "2026-11-28 18:00[:00]", with T or blank, local unless it ends in Z. -EINVAL. */
int cli_parse_time(const char *s, int64_t *ret);
/* A progress line on standard error when it is a terminal: "backup: 1,234 records, 56 MiB"; done ends it. */
void cli_progress(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void cli_progress_done(void);

/* --- secrets: options that several commands take --- */

/* Long options: --passphrase-file FILE, --identity FILE, --identity-passphrase-file FILE, --key-file FILE. */
struct cli_unlock {
	const char *passphrase_file, *identity_file, *identity_passphrase_file, *key_file;
	struct secret *passphrase, *keyfile;
	struct identity *identity;
};
#define CLI_OPT_PASSPHRASE_FILE 1001
#define CLI_OPT_IDENTITY 1002
#define CLI_OPT_IDENTITY_PASSPHRASE_FILE 1003
#define CLI_OPT_KEY_FILE 1004
#define CLI_UNLOCK_OPTIONS                                                                         \
	{"passphrase-file", required_argument, NULL, CLI_OPT_PASSPHRASE_FILE},                     \
	{"identity", required_argument, NULL, CLI_OPT_IDENTITY},                                   \
	{"identity-passphrase-file", required_argument, NULL, CLI_OPT_IDENTITY_PASSPHRASE_FILE},   \
	{"key-file", required_argument, NULL, CLI_OPT_KEY_FILE}
/* True when the option was one of these. */
bool cli_unlock_option(struct cli_unlock *u, int opt, const char *arg);
/*
 * Brings the secret: from the option given, else from the systemd credential "coffer.passphrase"
 * ($CREDENTIALS_DIRECTORY), else by a prompt. ret points into u.
 */
int cli_unlock_get(struct cli_unlock *u, const char *prompt, struct header_unlock *ret, struct diag *d);
/* The identity alone (for signing): --identity with its passphrase. DIAG_SECRET_FILE. */
int cli_identity_get(struct cli_unlock *u, struct diag *d);
void cli_unlock_free(struct cli_unlock *u);

#endif
