/*
 * The serving process: phases up, loop, phases down. See serve.h.
 *
 * Order up: volume (it takes the store's lock), charter and trail, run folder, mount, control socket, ready. Down, the volume closes
 * before the trail, so that an alarm of the last commit is recorded, and the anchor is written last with the trail's final head.
 */
#include "tools/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/confine.h"
#include "core/durable.h"
#include "tools/background.h"

#define TICK_SECONDS 1
#define STOP_AGAIN_MS 20

/* --- memory --- */

#define ARENAS 2

/* The library would give every thread an arena of its own, and each keeps what it once had. */
static void bound_memory(void)
{
	mallopt(M_ARENA_MAX, ARENAS);
}

/* What this process writes lets the kernel free what it was given to write: it must not be made to wait for that. Before the first
 * thread, which inherits it; without the right to (CAP_SYS_RESOURCE) the kernel gives us less at a time. */
static bool join_writeback(void)
{
	return prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) == 0;
}

/* --- signals --- */

static sem_t signalled;

static void on_signal(int sig)
{
	(void)sig;
	sem_post(&signalled);
}

static void catch_signals(void)
{
	struct sigaction stop = {.sa_handler = on_signal};
	struct sigaction ignore = {.sa_handler = SIG_IGN};

	sigaction(SIGTERM, &stop, NULL);
	sigaction(SIGINT, &stop, NULL);
	sigaction(SIGPIPE, &ignore, NULL);
	sigaction(SIGHUP, &ignore, NULL);
}

static struct timespec in_milliseconds(long ms)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_nsec += ms * 1000000;
	t.tv_sec += t.tv_nsec / 1000000000;
	t.tv_nsec %= 1000000000;
	return t;
}

/*
 * Waits for a signal (or for the loop's own end, which posts as well). What programs wrote and the kernel still holds is
 * brought in before the loop is stopped: a plain stop loses nothing, open files included.
 */
static void *stop_on_signal(void *arg)
{
	struct server *s = arg;
	bool ended;

	while (sem_wait(&signalled) != 0)
		;
	pthread_mutex_lock(&s->lock);
	ended = s->stopping;
	pthread_mutex_unlock(&s->lock);
	int err = ended ? 0 : front_flush(s->front);
	if (err)
		diag_log(DIAG_ERROR, "%s: flushing before the stop: %s", s->mountpoint, diag_errno(err));
	pthread_mutex_lock(&s->lock);
	while (!s->stopping) {
		struct timespec again = in_milliseconds(STOP_AGAIN_MS);

		front_stop(s->front);
		pthread_cond_timedwait(&s->idle, &s->lock, &again);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

/* --- trail and alarms --- */

int serve_trail(struct server *s, const struct peer *p, const char *operation, const char *object,
		const char *purpose, const char *result, const char *detail, bool durable)
{
	struct trail_event ev = {.uid = p ? p->uid : (uint32_t)getuid(),
				 .pid = p ? (uint32_t)p->pid : (uint32_t)getpid()};
	struct trail_head head;

	snprintf(ev.operation, sizeof(ev.operation), "%s", operation);
	snprintf(ev.object, sizeof(ev.object), "%s", object ? object : "");
	snprintf(ev.purpose, sizeof(ev.purpose), "%s", purpose ? purpose : "");
	snprintf(ev.result, sizeof(ev.result), "%s", result);
	snprintf(ev.detail, sizeof(ev.detail), "%s", detail ? detail : "");
	if (p)
		snprintf(ev.member, sizeof(ev.member), "%s", p->member);
	int err = trail_append(s->trail, &ev, durable);
	if (err == 0 && durable)
		err = trail_checkpoint(s->trail, &head, NULL);
	if (err)
		diag_log(DIAG_ERROR, "trail: %s of %s could not be recorded: %s", operation, object ? object : "-",
			 diag_errno(err));
	return err;
}

static void on_alarm(void *arg, const struct volume_alarm *a)
{
	struct server *s = arg;
	char object[64], detail[200];

	snprintf(object, sizeof(object), "id %llu", (unsigned long long)a->id);
	snprintf(detail, sizeof(detail), "%s at %llu: %s", a->what, (unsigned long long)a->position,
		 diag_errno(a->err));
	pthread_mutex_lock(&s->lock);
	s->n_alarms++;
	snprintf(s->last_alarm, sizeof(s->last_alarm), "%s, %s", object, detail);
	pthread_mutex_unlock(&s->lock);
	diag_log(DIAG_ERROR, "integrity: %s: %s", object, detail);
	if (s->trail) /* while the volume opens there is none yet: then opening fails or the log tells */
		serve_trail(s, NULL, "integrity", object, NULL, "integrity", detail, false);
}

/* --- phases --- */

static int make_run_dir(struct server *s, const char *mountpoint, struct diag *d)
{
	char parent[PATH_MAX], *slash;
	char path[PATH_MAX + 16];

	strcpy(parent, s->run);
	slash = strrchr(parent, '/');
	*slash = 0;
	bool made = mkdir(parent, 0755) == 0;
	if ((!made && errno != EEXIST) || (mkdir(s->run, 0711) && errno != EEXIST))
		return diag_fail_errno(d, -errno, "%s", s->run);
	/* Members other than root find the socket here, whatever the umask was. */
	if ((made && chmod(parent, 0755)) || chmod(s->run, 0711))
		return diag_fail_errno(d, -errno, "%s", s->run);
	json_t *j = json_pack("{s:s, s:s, s:i}", "store", s->store, "mountpoint", mountpoint, "pid",
			      (int)getpid());
	snprintf(path, sizeof(path), "%s/where", s->run);
	int err = j && json_dump_file(j, path, JSON_COMPACT) == 0 ? 0 : -EIO;
	json_decref(j);
	if (err == 0 && chmod(path, 0644) != 0)
		err = -errno;
	return err ? diag_fail_errno(d, err, "%s", path) : 0;
}

static void remove_run_dir(struct server *s)
{
	char path[PATH_MAX + 16];

	snprintf(path, sizeof(path), "%s/where", s->run);
	unlink(path);
	snprintf(path, sizeof(path), "%s/control", s->run);
	unlink(path);
	rmdir(s->run);
}

static int open_charter_and_trail(struct server *s, struct diag *d)
{
	struct keyring_fresh fresh;
	struct trail_head anchored;

	keyring_fresh_get(s->kr, &fresh);
	int err = charter_load(s->store_fd, fresh.charter_head, keyring_header(s->kr)->charter_first,
			       &s->charter, d);
	if (err)
		return err;
	anchored.size = fresh.trail_size;
	memcpy(anchored.root, fresh.trail_root, sizeof(anchored.root));
	return trail_open(s->store_fd, s->kr, &anchored, &s->trail, d);
}

static int open_volume(struct server *s, const struct serve_options *o, struct diag *d)
{
	struct volume_config cfg = {.store = s->store, .kr = s->kr, .cache_bytes = o->cache_bytes,
				    .read_only = o->read_only, .alarm = on_alarm, .alarm_arg = s};

	return volume_open(&cfg, &s->volume, d);
}

static int mount(struct server *s, const struct serve_options *o, struct diag *d)
{
	struct front_config cfg = {.volume = s->volume, .mountpoint = s->mountpoint,
				   .fsname = keyring_header(s->kr)->name,
				   .io_flusher = s->io_flusher, .allow_other = o->allow_other,
				   .read_only = o->read_only, .options = o->mount_options};

	return front_new(&cfg, &s->front, d);
}

static void push_heads(struct server *s)
{
	struct trail_head head;

	trail_head_get(s->trail, &head);
	volume_set_heads(s->volume, s->charter->digest, head.size, head.root);
}

/* Every second: a trail checkpoint when due, and its head on the way to the anchor. */
static void *tick(void *arg)
{
	struct server *s = arg;

	pthread_mutex_lock(&s->lock);
	while (!s->stopping) {
		struct timespec until;

		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec += TICK_SECONDS;
		pthread_cond_timedwait(&s->idle, &s->lock, &until);
		pthread_mutex_unlock(&s->lock);
		int err = trail_tick(s->trail);
		if (err)
			diag_log(DIAG_ERROR, "trail: no checkpoint: %s", diag_errno(err));
		push_heads(s);
		pthread_mutex_lock(&s->lock);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

static void wait_connections(struct server *s)
{
	pthread_mutex_lock(&s->lock);
	s->stopping = true;
	pthread_cond_broadcast(&s->idle);
	while (s->n_connections || s->n_strangers)
		pthread_cond_wait(&s->idle, &s->lock);
	pthread_mutex_unlock(&s->lock);
}

/* Mounted, with every descriptor it needs: what only starting needed is given up. A kernel built without the filter serves all the
 * same, and `coffer status` says so. */
static void confine(struct server *s)
{
	int err = confine_system_calls();

	s->confined = err == 0 && geteuid() == 0;
	if (err)
		diag_log(DIAG_ERROR, "%s: serving without a filter of system calls: %s", s->mountpoint, diag_errno(err));
}

/* Mounted and reachable: serves until unmounted. */
static int serve_mounted(struct server *s, const struct serve_options *o, struct diag *d)
{
	pthread_t control, ticker, stopper;
	int err = serve_control_start(s, &control, d);

	if (err)
		return err;
	confine(s);
	sem_init(&signalled, 0, 0);
	err = -pthread_create(&ticker, NULL, tick, s);
	if (err == 0) {
		bool stoppable = pthread_create(&stopper, NULL, stop_on_signal, s) == 0;
		if (stoppable)
			catch_signals();
		serve_trail(s, NULL, "mount", s->mountpoint, NULL, "ok",
			    keyring_slot_label(s->kr), true);
		push_heads(s);
		background_tell(o->ready_fd, NULL);
		front_serve(s->front);
		wait_connections(s);
		sem_post(&signalled);
		if (stoppable)
			pthread_join(stopper, NULL);
		pthread_join(ticker, NULL);
	}
	shutdown(s->listen_fd, SHUT_RDWR);
	pthread_join(control, NULL);
	close(s->listen_fd);
	return err ? diag_fail_errno(d, err, "starting threads") : 0;
}

static int close_all(struct server *s)
{
	int err = 0;

	front_free(s->front);
	if (s->trail && s->volume) {
		serve_trail(s, NULL, "unmount", s->mountpoint, NULL, "ok", NULL, true);
		push_heads(s);
	}
	if (s->volume)
		err = volume_close(s->volume);
	if (s->trail)
		trail_close(s->trail);
	free(s->charter);
	return err;
}

static int serve_up(struct server *s, const struct serve_options *o, struct diag *d)
{
	/* First the volume: it takes the store's lock, and only its owner may touch the trail and the run folder. It also
	 * tells an older copy of the whole store for what it is, before a trail that is merely too short is seen. */
	int err = open_volume(s, o, d);

	if (err == 0)
		err = open_charter_and_trail(s, d);
	if (err == 0)
		err = conf_load(s->store_fd, &s->conf, d);
	if (err == 0)
		err = make_run_dir(s, s->mountpoint, d);
	if (err == 0)
		err = mount(s, o, d);
	if (err == 0)
		err = serve_mounted(s, o, d);
	return err;
}

int serve_run(struct keyring *kr, const struct serve_options *o)
{
	struct diag d = {0};
	struct server *s = calloc(1, sizeof(*s));
	int err;

	if (!s) {
		diag_fail_errno(&d, -ENOMEM, "%s", o->store);
		background_tell(o->ready_fd, &d);
		keyring_close(kr);
		return DIAG_EXIT_FAILED;
	}
	bound_memory();
	s->io_flusher = join_writeback();
	s->kr = kr;
	s->allow_other = o->allow_other;
	s->started = time(NULL);
	pthread_mutex_init(&s->orders, NULL);
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->idle, NULL);
	snprintf(s->store, sizeof(s->store), "%s", o->store);
	snprintf(s->mountpoint, sizeof(s->mountpoint), "%s", o->mountpoint);
	locate_run_dir(keyring_volume_id(kr), s->run);
	s->store_fd = open(s->store, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	err = confine_capabilities();
	if (err)
		diag_log(DIAG_ERROR, "%s: capabilities stay: %s", s->store, diag_errno(err));
	err = s->store_fd < 0 ? diag_fail_errno(&d, -errno, "%s", s->store) : serve_up(s, o, &d);
	bool was_up = s->volume != NULL;
	if (err)
		background_tell(o->ready_fd, &d);
	int closed = close_all(s);
	if (was_up)
		remove_run_dir(s);
	if (closed)
		diag_log(DIAG_ERROR, "%s: the last commit failed: %s", s->store, diag_errno(closed));
	if (s->store_fd >= 0)
		close(s->store_fd);
	keyring_close(kr);
	pthread_cond_destroy(&s->idle);
	pthread_mutex_destroy(&s->lock);
	pthread_mutex_destroy(&s->orders);
	free(s);
	return err ? (int)diag_exit_code(d.id) : closed ? DIAG_EXIT_FAILED : DIAG_EXIT_DONE;
}
