/*
 * The serving side of the control socket: accepting, who the peer is, one request a connection.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "tools/control.h"
#include "tools/serve.h"

#define CONNECTIONS_MAX 16
#define REQUEST_SECONDS 10

struct connection {
	struct server *s;
	int fd;
};

static int who(struct server *s, int fd, struct peer *ret)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) != 0)
		return -errno;
	*ret = (struct peer){.uid = cred.uid, .pid = cred.pid};
	ret->trusted = cred.uid == 0 || cred.uid == getuid();
	const struct charter_member *m = charter_find_uid(s->charter, cred.uid);
	if (m) {
		snprintf(ret->member, sizeof(ret->member), "%s", m->card.name);
		ret->roles = m->roles;
	}
	return 0;
}

static json_t *error_answer(const struct diag *d, int err)
{
	enum diag_id id = d->id == DIAG_NONE ? DIAG_SYSTEM : d->id;

	return json_pack("{s:{s:s, s:i, s:s}}", "error", "name", diag_name(id), "errno",
			 d->err ? -d->err : -err, "object", d->object);
}

static void answer(struct connection *c)
{
	struct diag d = {0};
	struct peer p;
	json_t *req = NULL, *ok = NULL, *out;
	int err = who(c->s, c->fd, &p);

	if (err == 0)
		err = control_read(c->fd, &req);
	if (err == 0)
		err = serve_op(c->s, &p, req, c->fd, &ok, &d);
	if (err == 0)
		out = json_pack("{s:o}", "ok", ok ? ok : json_object());
	else
		out = error_answer(&d, err);
	if (out)
		control_write(c->fd, out);
	json_decref(out);
	json_decref(req);
}

static void *connection(void *arg)
{
	struct connection *c = arg;
	struct server *s = c->s;

	answer(c);
	close(c->fd);
	free(c);
	pthread_mutex_lock(&s->lock);
	s->n_connections--;
	pthread_cond_broadcast(&s->idle);
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

/* Takes a place among the connections; false when there is none. */
static bool take_place(struct server *s)
{
	pthread_mutex_lock(&s->lock);
	bool ok = !s->stopping && s->n_connections < CONNECTIONS_MAX;
	if (ok)
		s->n_connections++;
	pthread_mutex_unlock(&s->lock);
	return ok;
}

static void give_place(struct server *s)
{
	pthread_mutex_lock(&s->lock);
	s->n_connections--;
	pthread_cond_broadcast(&s->idle);
	pthread_mutex_unlock(&s->lock);
}

static void start_connection(struct server *s, int fd)
{
	/* A peer that connects and says nothing must not hold a place for long. */
	struct timeval patience = {.tv_sec = REQUEST_SECONDS};
	struct connection *c = malloc(sizeof(*c));
	pthread_attr_t attr;
	pthread_t t;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (!c || !take_place(s)) {
		free(c);
		close(fd);
		return;
	}
	*c = (struct connection){.s = s, .fd = fd};
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&t, &attr, connection, c) != 0) {
		give_place(s);
		close(fd);
		free(c);
	}
	pthread_attr_destroy(&attr);
}

static void *accepting(void *arg)
{
	struct server *s = arg;

	for (;;) {
		int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC);

		if (fd >= 0)
			start_connection(s, fd);
		else if (errno != EINTR && errno != ECONNABORTED)
			return NULL; /* shut down */
	}
}

int serve_control_start(struct server *s, pthread_t *ret, struct diag *d)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	CLEANUP_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int err = 0;

	if (fd < 0 ||
	    snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/control", s->run) >= (int)sizeof(sa.sun_path))
		return diag_fail_errno(d, fd < 0 ? -errno : -ENAMETOOLONG, "%s", s->run);
	unlink(sa.sun_path);
	/* Anyone may connect; what they may ask for is decided by who they are. */
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) || chmod(sa.sun_path, 0666) || listen(fd, 16))
		err = -errno;
	s->listen_fd = fd;
	if (err == 0)
		err = -pthread_create(ret, NULL, accepting, s);
	if (err)
		return diag_fail_errno(d, err, "%s", sa.sun_path);
	fd = -1;
	return 0;
}
