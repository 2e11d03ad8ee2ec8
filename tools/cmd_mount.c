/*
 * coffer mount and umount.
 *
 * mount goes to the background (tools/background.h): the child asks for the secret, unlocks, mounts, and only then leaves
 * the terminal. umount also ends what `coffer backup mount` shows.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "tools/background.h"
#include "tools/cli.h"
#include "tools/cmd_backup_mount.h"
#include "tools/control.h"
#include "tools/locate.h"
#include "tools/serve.h"

static const char mount_usage[] =
	"usage: coffer mount STORE MOUNTPOINT [-o OPTIONS] [-f] [secret]\n\n"
	"Serves the volume at MOUNTPOINT; returns when it is usable.\n\n"
	"  -o OPTIONS  ro, allow_other (root's default), noallow_other, cache=MIB (of nodes and block maps, default 64),\n"
	"              and the kernel's own: nosuid, nodev, noexec, noatime ..\n"
	"  -f          stay in the foreground, messages on standard error\n"
	"As mount.coffer it serves mount(8) and fstab: the type is coffer, and the secret comes from the systemd\n"
	"credential or from -o passphrase_file=FILE, key_file=FILE, identity=FILE[,identity_passphrase_file=FILE].\n\n"
	"The secret is asked for, or comes from one of:\n"
	"  --passphrase-file FILE   --key-file FILE\n"
	"  --identity FILE [--identity-passphrase-file FILE]\n"
	"  the systemd credential coffer.passphrase\n";

static const char umount_usage[] =
	"usage: coffer umount VOLUME|MOUNTPOINT\n\n"
	"Commits everything, writes the anchor, unmounts and waits until the process has ended.\n"
	"Refuses while files are open. MOUNTPOINT may also be one of `coffer backup mount`.\n";

struct mounting {
	struct serve_options o;
	struct cli_unlock secrets;
	char store[PATH_MAX], mountpoint[PATH_MAX], passthrough[1024];
	bool foreground;
	bool fake; /* mount -f: everything but the mount itself */
};

/* What fstab says to others: mount(8), systemd. */
static bool not_for_us(const char *opt)
{
	static const char *const words[] = {"rw", "defaults", "auto", "noauto", "user", "nouser", "users", "owner", "group",
					    "_netdev", "nofail"};

	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (!strcmp(opt, words[i]))
			return true;
	return !strncmp(opt, "x-", 2) || !strncmp(opt, "comment=", 8);
}

/* The value behind "name=", or NULL. It lives as long as the options' text. */
static const char *value_of(const char *opt, const char *name)
{
	size_t n = strlen(name);

	return !strncmp(opt, name, n) && opt[n] == '=' ? opt + n + 1 : NULL;
}

static bool secret_option(struct cli_unlock *u, const char *opt)
{
	const struct {
		const char *name;
		const char **to;
	} rows[] = {{"passphrase_file", &u->passphrase_file},
		    {"key_file", &u->key_file},
		    {"identity", &u->identity_file},
		    {"identity_passphrase_file", &u->identity_passphrase_file}};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		const char *v = value_of(opt, rows[i].name);
		if (v) {
			*rows[i].to = v;
			return true;
		}
	}
	return false;
}

static int one_mount_option(struct mounting *m, const char *opt, struct diag *d)
{
	if (not_for_us(opt) || secret_option(&m->secrets, opt))
		return 0;
	if (!strcmp(opt, "ro")) {
		m->o.read_only = true;
	} else if (!strcmp(opt, "allow_other")) {
		m->o.allow_other = true;
	} else if (!strcmp(opt, "noallow_other")) {
		m->o.allow_other = false;
	} else if (!strncmp(opt, "cache=", 6)) {
		unsigned n;
		if (cli_parse_number(opt + 6, 1u << 20, &n) != 0)
			return diag_fail(d, DIAG_USAGE, -EINVAL, "-o %s", opt);
		m->o.cache_bytes = (size_t)n << 20;
	} else {
		size_t len = strlen(m->passthrough);
		if (len + strlen(opt) + 2 > sizeof(m->passthrough))
			return diag_fail(d, DIAG_USAGE, -E2BIG, "-o %s", opt);
		snprintf(m->passthrough + len, sizeof(m->passthrough) - len, "%s%s", len ? "," : "", opt);
	}
	return 0;
}

/* Splits list in place: it is the argument itself, and what the options point to lives as long as the process. */
static int mount_options(struct mounting *m, char *list, struct diag *d)
{
	char *save = NULL;

	for (char *o = strtok_r(list, ",", &save); o; o = strtok_r(NULL, ",", &save)) {
		int err = one_mount_option(m, o, d);
		if (err)
			return err;
	}
	return 0;
}

bool cmd_mount_is_helper(const char *argv0)
{
	const char *slash = strrchr(argv0, '/');

	return !strcmp(slash ? slash + 1 : argv0, "mount.coffer");
}

/* A serving process that was killed leaves a mount that answers nothing: it is let go, so that mounting again just works. */
static void let_go_of_dead_mount(const char *mountpoint)
{
	struct stat st;

	if (stat(mountpoint, &st) != 0 && errno == ENOTCONN)
		umount2(mountpoint, MNT_DETACH | UMOUNT_NOFOLLOW);
}

static int arguments(struct mounting *m, int argc, char **argv, struct diag *d)
{
	static const struct option options[] = {CLI_UNLOCK_OPTIONS, {0}};
	int c, err = 0;

	m->o.allow_other = getuid() == 0;
	bool helper = cmd_mount_is_helper(argv[0]); /* mount(8) has switches of its own */
	while (err == 0 && (c = getopt_long(argc, argv, helper ? "o:sfnvN:t:" : "o:f", options, NULL)) != -1) {
		if (helper && c != 'o')
			m->fake |= c == 'f';
		else if (c == 'f')
			m->foreground = true;
		else if (c == 'o')
			err = mount_options(m, optarg, d);
		else if (!cli_unlock_option(&m->secrets, c, optarg))
			err = diag_fail(d, DIAG_USAGE, -EINVAL, "unknown or incomplete option");
	}
	if (err)
		return err;
	if (argc - optind != 2)
		return diag_fail(d, DIAG_USAGE, -EINVAL, "STORE and MOUNTPOINT are needed");
	if (!realpath(argv[optind], m->store))
		return diag_fail(d, DIAG_NO_VOLUME, -errno, "%s", argv[optind]);
	let_go_of_dead_mount(argv[optind + 1]);
	if (!realpath(argv[optind + 1], m->mountpoint))
		return diag_fail_errno(d, -errno, "mount point %s", argv[optind + 1]);
	m->o.store = m->store;
	m->o.mountpoint = m->mountpoint;
	m->o.mount_options = m->passthrough;
	return 0;
}

/* A store that is served already is told before anybody is asked for a secret. */
static int check_free(const char *store, struct diag *d)
{
	struct located l;
	int err = locate(store, &l, d);

	if (err)
		return err;
	if (l.mounted)
		err = diag_fail(d, DIAG_MOUNTED, -EBUSY, "%s is mounted at %s (process %d)", l.store, l.mountpoint,
				(int)l.pid);
	locate_free(&l);
	return err;
}

static int unlock_and_serve(struct mounting *m)
{
	struct header_unlock with = {0};
	struct keyring *kr = NULL;
	struct diag d = {0};
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) == 0 && rl.rlim_cur < rl.rlim_max) {
		rl.rlim_cur = rl.rlim_max;
		setrlimit(RLIMIT_NOFILE, &rl);
	}
	int err = cli_unlock_get(&m->secrets, "Passphrase of the volume: ", &with, &d);
	/* While somebody was asked for the secret, a recovery may have begun. */
	if (err == 0)
		err = check_free(m->store, &d);
	if (err == 0)
		err = keyring_open(m->store, &with, 0, &kr, &d);
	cli_unlock_free(&m->secrets);
	if (err)
		return cli_fail(&d);
	return serve_run(kr, &m->o);
}

static int serve(void *arg, int ready_fd)
{
	struct mounting *m = arg;

	m->o.ready_fd = ready_fd;
	return unlock_and_serve(m);
}

static int run_mount(int argc, char **argv)
{
	CLEANUP_FREE struct mounting *m = calloc(1, sizeof(*m));
	struct diag d = {0};

	if (!m)
		return DIAG_EXIT_FAILED;
	int err = arguments(m, argc, argv, &d);
	if (err == 0)
		err = check_free(m->store, &d);
	if (err)
		return cli_fail(&d);
	if (m->fake)
		return DIAG_EXIT_DONE;
	return background_run(serve, m, m->foreground);
}

static void wait_end(pid_t pid)
{
	CLEANUP_FD int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd p = {.fd = fd, .events = POLLIN};

	if (fd >= 0)
		while (poll(&p, 1, -1) < 0 && errno == EINTR)
			;
}

static int run_umount(int argc, char **argv)
{
	struct diag d = {0};
	struct located l;
	json_t *ok = NULL;

	if (argc != 2 || argv[1][0] == '-')
		return cli_usage(&cmd_umount, "one VOLUME is needed");
	if (backup_mount_is(argv[1]))
		return backup_mount_end(argv[1], &d) ? cli_fail(&d) : DIAG_EXIT_DONE;
	if (locate_served(argv[1], &l, &d) != 0)
		return cli_fail(&d);
	int err = l.mounted ? control_call(l.run, json_pack("{s:s}", "op", "unmount"), NULL, NULL, &ok, &d)
			    : diag_fail(&d, DIAG_NOT_MOUNTED, -ENOTCONN, "%s", argv[1]);
	if (err == 0)
		wait_end(l.pid);
	json_decref(ok);
	locate_free(&l);
	return err ? cli_fail(&d) : DIAG_EXIT_DONE;
}

const struct cli_command cmd_mount = {"mount", "serve a volume at a mount point", mount_usage, run_mount};
const struct cli_command cmd_umount = {"umount", "unmount it", umount_usage, run_umount};
