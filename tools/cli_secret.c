/* Where subcommands take secrets from: a file, a systemd credential, a prompt; never the command line. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/durable.h"
#include "core/secret.h"
#include "tools/cli.h"

#define KEY_FILE_MIN 32
#define KEY_FILE_MAX (64u << 10)

bool cli_unlock_option(struct cli_unlock *u, int opt, const char *arg)
{
	switch (opt) {
	case CLI_OPT_PASSPHRASE_FILE:
		u->passphrase_file = arg;
		return true;
	case CLI_OPT_IDENTITY:
		u->identity_file = arg;
		return true;
	case CLI_OPT_IDENTITY_PASSPHRASE_FILE:
		u->identity_passphrase_file = arg;
		return true;
	case CLI_OPT_KEY_FILE:
		u->key_file = arg;
		return true;
	default:
		return false;
	}
}

static int passphrase(const char *file, const char *prompt, struct secret **ret, struct diag *d)
{
	int err = file ? secret_from_file(file, ret) : secret_prompt(prompt, 0, ret);

	if (err && file)
		return diag_fail(d, DIAG_SECRET_FILE, err, "%s", file);
	if (err)
		return diag_fail(d, DIAG_SECRET_FILE, err, "%s (no terminal to ask on)", prompt);
	return 0;
}

static int key_file(struct cli_unlock *u, struct diag *d)
{
	uint8_t *bytes = NULL;
	size_t len = 0;
	int err = durable_read(AT_FDCWD, u->key_file, KEY_FILE_MAX, &bytes, &len);

	if (err == 0 && len < KEY_FILE_MIN)
		err = -EINVAL;
	if (err == 0) {
		u->keyfile = secret_new(len);
		err = u->keyfile ? 0 : -ENOMEM;
	}
	if (err == 0)
		memcpy(secret_bytes(u->keyfile), bytes, len);
	if (bytes)
		secret_wipe(bytes, len);
	free(bytes);
	return err ? diag_fail(d, DIAG_SECRET_FILE, err, "%s", u->key_file) : 0;
}

int cli_identity_get(struct cli_unlock *u, struct diag *d)
{
	CLEANUP_SECRET struct secret *pass = NULL;
	char prompt[PATH_MAX + 64];

	if (!u->identity_file)
		return diag_fail(d, DIAG_USAGE, -EINVAL, "--identity FILE is needed to sign");
	snprintf(prompt, sizeof(prompt), "Passphrase of %s: ", u->identity_file);
	int err = passphrase(u->identity_passphrase_file, prompt, &pass, d);
	return err ? err : identity_load(u->identity_file, pass, &u->identity, d);
}

static const char *credential(char out[PATH_MAX])
{
	const char *dir = getenv("CREDENTIALS_DIRECTORY");

	if (!dir || snprintf(out, PATH_MAX, "%s/coffer.passphrase", dir) >= PATH_MAX)
		return NULL;
	return access(out, R_OK) == 0 ? out : NULL;
}

int cli_unlock_get(struct cli_unlock *u, const char *prompt, struct header_unlock *ret, struct diag *d)
{
	char path[PATH_MAX];
	int err;

	if (u->identity_file) {
		err = cli_identity_get(u, d);
		if (err == 0)
			*ret = (struct header_unlock){.identity = u->identity};
		return err;
	}
	if (u->key_file) {
		err = key_file(u, d);
		if (err == 0)
			*ret = (struct header_unlock){.keyfile = u->keyfile};
		return err;
	}
	err = passphrase(u->passphrase_file ? u->passphrase_file : credential(path), prompt,
			 &u->passphrase, d);
	if (err == 0)
		*ret = (struct header_unlock){.passphrase = u->passphrase};
	return err;
}

void cli_unlock_free(struct cli_unlock *u)
{
	secret_free(u->passphrase);
	secret_free(u->keyfile);
	identity_free(u->identity);
	*u = (struct cli_unlock){0};
}
