/* Control operations of custody: the escrow places. Slots need a secret, and change while the volume is not mounted. */
#include "tools/serve_ops.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/escrow.h"
#include "tools/control.h"

int serve_op_escrow_sync(struct server *s, const struct peer *p, const json_t *req, int fd, json_t **ret, struct diag *d)
{
	size_t pending = 0;
	(void)req, (void)fd;

	int err = keyring_escrow_sync(s->kr, &pending);
	serve_trail(s, p, "escrow.sync", s->store, NULL, err || pending ? "failed" : "ok", NULL, false);
	if (err)
		return diag_fail(d, DIAG_ESCROW, err, "%s", s->store);
	*ret = json_pack("{s:I}", "pending", (json_int_t)pending);
	return 0;
}

static int check_place(struct server *s, const char *place, struct diag *d)
{
	const char *forbidden[CONF_REPOSITORIES_MAX + 1] = {s->store};

	if (!place || *place != '/' || strlen(place) > HEADER_PATH_MAX)
		return diag_fail(d, DIAG_USAGE, -EINVAL, "escrow.add: an absolute path is needed");
	if (access(place, F_OK) != 0)
		return diag_fail(d, DIAG_ESCROW, -errno, "%s", place);
	for (size_t i = 0; i < s->conf.n_repositories; i++)
		forbidden[i + 1] = s->conf.repositories[i].url;
	return escrow_place_check(place, forbidden, s->conf.n_repositories + 1, d);
}

static bool is_confirmed(struct server *s, const char *place)
{
	struct keyring_escrow_status e[KEYRING_ESCROWS_MAX];
	size_t n = keyring_escrow_list(s->kr, e);

	for (size_t i = 0; i < n; i++)
		if (!strcmp(e[i].dir, place))
			return e[i].confirmed;
	return false;
}

int serve_op_escrow_add(struct server *s, const struct peer *p, const json_t *req, int fd, json_t **ret, struct diag *d)
{
	const char *place = json_string_value(json_object_get(req, "place"));
	size_t pending = 0;
	(void)fd;

	int err = check_place(s, place, d);
	if (err)
		return err;
	/* No trail, no privileged action. */
	err = serve_trail(s, p, "escrow.add", s->store, NULL, "begun", place, true);
	if (err)
		return diag_fail(d, DIAG_TRAIL, err, "%s", s->store);
	err = keyring_escrow_add(s->kr, place, &pending, d);
	if (err == 0 && !is_confirmed(s, place))
		err = diag_fail(d, DIAG_ESCROW, -EIO, "%s is registered, but not written", place);
	serve_trail(s, p, "escrow.add", s->store, NULL, err ? "failed" : "ok", place, true);
	if (err)
		return err;
	/* A place more is a generation more, which the others need as well. */
	*ret = json_pack("{s:I}", "pending", (json_int_t)pending);
	return *ret ? 0 : -ENOMEM;
}
