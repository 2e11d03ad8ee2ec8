/*
 * coffer backup mount: who holds the unlock secret sees the sets as folders.
 *
 * What can be read there leaves the volume's rule, so it is an export: recorded on the trail first, or refused. The process
 * keeps keys for as long as it runs. When a destruction or a change of custody replaces the key state, what it holds
 * would open what no longer must: every request is then refused, and within a second it ends and is unmounted.
 */
#include "tools/cmd_backup_mount.h"

#include <errno.h>
#include <limits.h>
#include <mntent.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "backup/setmount.h"
#include "core/cleanup.h"
#include "core/confine.h"
#include "fs/front_tree.h"
#include "tools/background.h"
#include "tools/cli.h"
#include "tools/located_repo.h"
#include "tools/recorder.h"

#define SUBTYPE "coffer-sets"
#define LOOK_MS 1000 /* how often it is seen whether the keys still are those of the volume */
#define STOP_AGAIN_MS 20

struct mounting {
	const char *volume, *repository;
	char copy[PATH_MAX], mountpoint[PATH_MAX];
	bool foreground;
	struct cli_unlock secrets;
	/* while serving */
	struct keyring *kr;
	struct front_tree *front;
	atomic_bool ended;
};

/* --- serving --- */

static sem_t wake;
static volatile sig_atomic_t signalled;

static void on_signal(int sig)
{
	(void)sig;
	signalled = 1;
	sem_post(&wake);
}

static void catch_signals(void)
{
	struct sigaction stop = {.sa_handler = on_signal}, ignore = {.sa_handler = SIG_IGN};

	sigaction(SIGTERM, &stop, NULL);
	sigaction(SIGINT, &stop, NULL);
	sigaction(SIGPIPE, &ignore, NULL);
	sigaction(SIGHUP, &ignore, NULL);
}

static void wait_ms(long ms)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_nsec += ms * 1000000;
	t.tv_sec += t.tv_nsec / 1000000000;
	t.tv_nsec %= 1000000000;
	while (sem_timedwait(&wake, &t) != 0 && errno == EINTR)
		;
}

/* Stops the loop on a signal, or when the keys are no longer those of the volume; again until it has stopped. */
static void *watch(void *arg)
{
	struct mounting *m = arg;
	bool stop = false;

	while (!m->ended) {
		wait_ms(stop ? STOP_AGAIN_MS : LOOK_MS);
		if (!stop && keyring_superseded(m->kr)) {
			diag_log(DIAG_WARNING, "%s: the keys of the volume have changed; unmounted, mount again to go on",
				 m->mountpoint);
			stop = true;
		}
		stop |= signalled;
		if (stop && !m->ended)
			front_tree_stop(m->front);
	}
	return NULL;
}

static void on_trouble(void *arg, const char *object, int err, const char *order)
{
	const struct mounting *m = arg;

	if (*order)
		diag_log(DIAG_WARNING, "%s: %s: destroyed under order %s", m->mountpoint, object, order);
	else
		diag_log(DIAG_ERROR, "%s: %s: %s", m->mountpoint, object, diag_errno(err));
}

static int serve_mounted(struct mounting *m, int ready_fd, struct diag *d)
{
	pthread_t watcher;
	int err = confine_system_calls();

	if (err)
		diag_log(DIAG_ERROR, "%s: serving without a filter of system calls: %s", m->mountpoint, diag_errno(err));
	sem_init(&wake, 0, 0);
	err = -pthread_create(&watcher, NULL, watch, m);
	if (err)
		return diag_fail_errno(d, err, "starting threads");
	catch_signals();
	background_tell(ready_fd, NULL);
	front_tree_serve(m->front);
	m->ended = true;
	sem_post(&wake);
	pthread_join(watcher, NULL);
	return 0;
}

static int record(struct mounting *m, const struct located_repo *lr, struct diag *d)
{
	char object[40], detail[TRAIL_DETAIL_MAX + 1];

	snprintf(object, sizeof(object), "%zu sets", lr->catalog.n_sets);
	snprintf(detail, sizeof(detail), "of %.400s, mounted at %.400s", repo_url(lr->repo), m->mountpoint);
	return recorder_note(&lr->l, m->kr, "export", object, detail, d);
}

static int serve_sets(struct mounting *m, const struct located_repo *lr, int ready_fd, struct diag *d)
{
	const struct setmount_config cfg = {
		.repo = lr->repo, .kr = m->kr, .catalog = &lr->catalog, .trouble = on_trouble, .arg = m};
	struct front_tree_config front = {.ops = &setmount_ops, .mountpoint = m->mountpoint, .subtype = SUBTYPE,
					  .fsname = keyring_header(m->kr)->name, .allow_other = getuid() == 0};
	struct setmount *tree;
	int err = setmount_new(&cfg, &tree, d);

	if (err)
		return err;
	front.tree = tree;
	err = record(m, lr, d);
	if (err == 0)
		err = front_tree_new(&front, &m->front, d);
	if (err == 0) {
		err = serve_mounted(m, ready_fd, d);
		front_tree_free(m->front);
	}
	setmount_free(tree);
	return err;
}

static int unlock_and_serve(struct mounting *m, const struct located_repo *lr, int ready_fd, struct diag *d)
{
	struct header_unlock with;
	int err = cli_unlock_get(&m->secrets, "Passphrase of the volume (what is shown leaves it): ", &with, d);

	if (err == 0)
		err = keyring_open(lr->l.store, &with, KEYRING_READ_ONLY, &m->kr, d);
	cli_unlock_free(&m->secrets);
	if (err)
		return err;
	err = confine_capabilities();
	if (err)
		diag_log(DIAG_ERROR, "%s: capabilities stay: %s", m->mountpoint, diag_errno(err));
	err = serve_sets(m, lr, ready_fd, d);
	keyring_close(m->kr);
	return err;
}

static int serve(void *arg, int ready_fd)
{
	struct mounting *m = arg;
	struct located_repo lr;
	struct diag d = {0};
	int err = located_repo_open(m->volume, m->repository, &lr, &d);

	if (err == 0) {
		err = unlock_and_serve(m, &lr, ready_fd, &d);
		located_repo_close(&lr);
	}
	return err ? cli_fail(&d) : DIAG_EXIT_DONE;
}

/* --- the command --- */

static int arguments(struct mounting *m, int argc, char **argv)
{
	static const struct option options[] = {
		{"repository", required_argument, NULL, 'r'}, CLI_UNLOCK_OPTIONS, {0}};
	int c;

	while ((c = getopt_long(argc, argv, "f", options, NULL)) != -1) {
		if (c == 'f')
			m->foreground = true;
		else if (c == 'r')
			m->repository = optarg;
		else if (!cli_unlock_option(&m->secrets, c, optarg))
			return -EINVAL;
	}
	if (argc - optind != 2)
		return -EINVAL;
	m->volume = argv[optind];
	return 0;
}

int cmd_backup_mount(int argc, char **argv)
{
	CLEANUP_FREE struct mounting *m = calloc(1, sizeof(*m));
	struct diag d = {0};

	if (!m)
		return DIAG_EXIT_FAILED;
	if (arguments(m, argc, argv) != 0)
		return cli_usage(&cmd_backup, "mount takes VOLUME and MOUNTPOINT, and options that it knows");
	if (!realpath(argv[optind + 1], m->mountpoint)) {
		diag_fail_errno(&d, -errno, "mount point %s", argv[optind + 1]);
		return cli_fail(&d);
	}
	/* A relative path is one of this folder, which the process in the background leaves. */
	if (m->repository && strchr(m->repository, '/') && realpath(m->repository, m->copy))
		m->repository = m->copy;
	return background_run(serve, m, m->foreground);
}

/* --- the end of it --- */

bool backup_mount_is(const char *mountpoint)
{
	FILE *f = setmntent("/proc/self/mounts", "r");
	char real[PATH_MAX], line[2 * PATH_MAX];
	struct mntent one;
	bool found = false;

	if (f && realpath(mountpoint, real))
		while (getmntent_r(f, &one, line, sizeof(line)))
			if (!strcmp(one.mnt_dir, real)) /* the last one is on top */
				found = !strcmp(one.mnt_type, "fuse." SUBTYPE);
	if (f)
		endmntent(f);
	return found;
}

/* Who may not unmount asks the set-uid program that mounted. */
static int unmount_as_user(const char *real)
{
	const char *const argv[] = {"fusermount3", "-u", "--", real, NULL};
	int status;
	pid_t pid;
	int err = posix_spawnp(&pid, argv[0], NULL, NULL, (char *const *)argv, environ);

	if (err)
		return -err;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EBUSY;
}

int backup_mount_end(const char *mountpoint, struct diag *d)
{
	char real[PATH_MAX];
	int err = realpath(mountpoint, real) && umount2(real, UMOUNT_NOFOLLOW) == 0 ? 0 : -errno;

	if (err == -EPERM)
		err = unmount_as_user(real);
	return err ? diag_fail_errno(d, err, "%s", mountpoint) : 0;
}
