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

/* Whoever the charter does not know is refused whatever he asks: he gets few places, none of which others need. */
#define CONNECTIONS_MAX 16
#define STRANGERS_MAX 4
#define STRANGER_LINE_MAX 4096
#define REQUEST_SECONDS 10
#define STRANGER_SECONDS 2
#define AGAIN_US 100000

struct connection {
	struct server *s;
	int fd;
	struct peer peer;
};

static bool is_stranger(const struct peer *p)
{
	return !p->trusted && !p->roles;
}

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

	return json_pack("{s:{s:s, s:i, s:o}}", "error", "name", diag_name(id), "errno",
			 d->err ? -d->err : -err, "object", control_text(d->object));
}

static unsigned patience_with(const struct peer *p)
{
	return is_stranger(p) ? STRANGER_SECONDS : REQUEST_SECONDS;
}

static void answer(struct connection *c)
{
	const size_t max = is_stranger(&c->peer) ? STRANGER_LINE_MAX : CONTROL_LINE_MAX;
	json_t *req = NULL, *ok = NULL, *out;
	struct diag d = {0};

	int err = control_read_within(c->fd, max, patience_with(&c->peer), &req);
	if (err == 0)
		err = serve_op(c->s, &c->peer, req, c->fd, &ok, &d);
	if (err == 0)
		out = json_pack("{s:o}", "ok", ok ? ok : json_object());
	else
		out = error_answer(&d, err);
	if (out)
		control_write(c->fd, out);
	json_decref(out);
	json_decref(req);
}

/* Takes a place among the connections; false when there is none. */
static bool take_place(struct server *s, bool stranger)
{
	pthread_mutex_lock(&s->lock);
	unsigned *n = stranger ? &s->n_strangers : &s->n_connections;
	bool ok = !s->stopping && *n < (stranger ? STRANGERS_MAX : CONNECTIONS_MAX);
	*n += ok;
	pthread_mutex_unlock(&s->lock);
	return ok;
}

static void give_place(struct server *s, bool stranger)
{
	pthread_mutex_lock(&s->lock);
	(*(stranger ? &s->n_strangers : &s->n_connections))--;
	pthread_cond_broadcast(&s->idle);
	pthread_mutex_unlock(&s->lock);
}

static void *connection(void *arg)
{
	struct connection *c = arg;
	struct server *s = c->s;
	bool stranger = is_stranger(&c->peer);

	answer(c);
	close(c->fd);
	free(c);
	give_place(s, stranger);
	return NULL;
}

static void start_connection(struct server *s, int fd)
{
	struct connection *c = malloc(sizeof(*c));
	pthread_attr_t attr;
	struct peer p;
	pthread_t t;

	if (!c || who(s, fd, &p) != 0 || !take_place(s, is_stranger(&p))) {
		free(c);
		close(fd);
		return;
	}
	/*
	 * A peer that connects and says nothing must not hold a place for long, nor one that does not read hold up what it
	 * asked for, and with it the end of this process.
	 */
	const struct timeval patience = {.tv_sec = patience_with(&p)};
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	*c = (struct connection){.s = s, .fd = fd, .peer = p};
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&t, &attr, connection, c) != 0) {
		give_place(s, is_stranger(&p));
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
		else if (errno == EINVAL || errno == EBADF)
			return NULL; /* shut down */
		else if (errno != EINTR && errno != ECONNABORTED)
			usleep(AGAIN_US); /* no descriptor or memory left: not for ever */
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
