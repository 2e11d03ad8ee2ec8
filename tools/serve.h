/*
 * The process that serves a mounted volume: engine, front end, trail and control socket under one roof.
 *
 * serve_run goes through its phases in order (unlock done by the caller): run folder and lock, volume, trail, mount, control
 * socket, "ready" on ready_fd, loop, then everything in reverse. Threads: front's loop threads, one accepting thread, one thread a
 * control connection (at most 16), a ticking thread for trail checkpoints and anchor heads. Signals: SIGTERM and SIGINT stop. coffer.conf's repositories are those of the time of the mount.
 */
#ifndef COFFER_TOOLS_SERVE_H
#define COFFER_TOOLS_SERVE_H

#include <pthread.h>

#include <jansson.h>

#include "backup/repo.h"
#include "core/charter.h"
#include "core/conf.h"
#include "core/keyring.h"
#include "core/order.h"
#include "core/trail.h"
#include "fs/front.h"
#include "fs/volume.h"
#include "tools/locate.h"

struct serve_options {
	const char *store, *mountpoint;
	const char *mount_options;
	bool allow_other, read_only;
	size_t cache_bytes;
	int ready_fd; /* gets one byte 0 when mounted, or a JSON error line; -1 none */
};

struct server {
	char store[PATH_MAX], mountpoint[PATH_MAX], run[PATH_MAX];
	int store_fd, listen_fd;
	struct keyring *kr;
	struct volume *volume;
	struct trail *trail;
	struct front *front;
	struct charter *charter;
	struct conf conf;
	time_t started;
	bool allow_other;
	bool io_flusher; /* join_writeback was granted */
	bool confined; /* the filter of system calls is loaded; set before the first other thread reads it */

	pthread_mutex_t orders; /* held by who writes to STORE/orders, and while an execution begins; before lock */
	pthread_mutex_t lock; /* guards everything below */
	pthread_cond_t idle;
	unsigned n_connections, n_strangers;
	bool stopping;
	bool busy_backup, busy_destroy; /* one of each at a time */
	char executing[ORDER_NUMBER_MAX + 1]; /* order; "" none */
	uint64_t n_alarms;
	char last_alarm[300];
};

/* Takes over kr (closes it). Returns an exit code; the diagnosis went to ready_fd or to the log. */
int serve_run(struct keyring *kr, const struct serve_options *o);

/* --- inside: serve_control.c and serve_ops*.c --- */
struct peer {
	uint32_t uid;
	int32_t pid;
	char member[65]; /* "" when the charter knows no such uid */
	unsigned roles;	 /* of the member */
	bool trusted;	 /* root or the serving user */
};
int serve_control_start(struct server *s, pthread_t *ret, struct diag *d);
/* One operation: fills *ret_ok or returns an error with d. fd is for progress lines. */
int serve_op(struct server *s, const struct peer *p, const json_t *req, int fd, json_t **ret_ok,
	     struct diag *d);
/*
 * A repository of coffer.conf, or an offline medium of it by label, opened; DIAG_NO_REPOSITORY. name NULL: the first. The caller closes it after the operation, so that its medium can be
 * taken away and brought back while the volume is mounted.
 */
int serve_repo(struct server *s, const char *name, struct repo **ret, struct diag *d);
/* The same; a trusted peer may also name the absolute folder of a copy. */
int serve_repo_for(struct server *s, const struct peer *p, const char *name, struct repo **ret, struct diag *d);
static inline void serve_repo_closep(struct repo **r)
{
	repo_close(*r);
}
#define CLEANUP_REPO __attribute__((cleanup(serve_repo_closep)))
/* A trail record of an operation by a peer. When durable it is checkpointed as well before this returns. */
int serve_trail(struct server *s, const struct peer *p, const char *operation, const char *object,
		const char *purpose, const char *result, const char *detail, bool durable);

#endif
