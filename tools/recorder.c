/* See recorder.h. */
#include "tools/recorder.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "tools/control.h"
#include "tools/store_lock.h"

static bool secret_given(const struct cli_unlock *u)
{
	return u->passphrase_file || u->identity_file || u->key_file ||
	       getenv("CREDENTIALS_DIRECTORY");
}

int recorder_open(struct recorder *r, const struct located *l, struct cli_unlock *secrets, struct diag *d)
{
	struct header_unlock with;
	struct keyring_fresh fresh;
	struct trail_head head;

	*r = (struct recorder){.l = l};
	if (l->mounted)
		return 0;
	if (!secret_given(secrets))
		return diag_fail(d, DIAG_TRAIL, -ENOKEY,
				 "%s is not mounted, and no unlock secret was given", l->store);
	int err = cli_unlock_get(secrets, "Passphrase of the volume: ", &with, d);
	if (err == 0)
		err = keyring_open(l->store, &with, 0, &r->kr, d);
	if (err)
		return err;
	keyring_fresh_get(r->kr, &fresh);
	head.size = fresh.trail_size;
	memcpy(head.root, fresh.trail_root, 32);
	return trail_open(l->store_fd, r->kr, &head, &r->trail, d);
}

int recorder_close(struct recorder *r, int err, struct diag *d)
{
	struct keyring_fresh fresh;
	struct trail_head head;

	if (r->trail) {
		int signed_ = trail_checkpoint(r->trail, &head, NULL);

		if (signed_ == 0) {
			keyring_fresh_get(r->kr, &fresh);
			fresh.trail_size = head.size;
			memcpy(fresh.trail_root, head.root, 32);
			signed_ = keyring_fresh_put(r->kr, &fresh);
		}
		if (signed_ && err == 0)
			err = diag_fail(d, DIAG_TRAIL, signed_, "%s", r->l->store);
	}
	trail_close(r->trail);
	if (r->kr)
		keyring_close(r->kr);
	*r = (struct recorder){0};
	return err;
}

int recorder_put(struct recorder *r, const char *operation, const char *object, const char *purpose,
		 const char *result, const char *detail, struct diag *d)
{
	struct trail_event ev = {.uid = (uint32_t)getuid(), .pid = (uint32_t)getpid()};
	json_t *ok = NULL;
	int err;

	snprintf(ev.operation, sizeof(ev.operation), "%s", operation);
	snprintf(ev.object, sizeof(ev.object), "%s", object);
	snprintf(ev.purpose, sizeof(ev.purpose), "%s", purpose);
	snprintf(ev.result, sizeof(ev.result), "%s", result);
	snprintf(ev.detail, sizeof(ev.detail), "%s", detail);
	if (r->trail) {
		err = trail_append(r->trail, &ev, true);
		return err ? diag_fail(d, DIAG_TRAIL, err, "%s", r->l->store) : 0;
	}
	json_t *req = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "op", "trail.append", "operation",
				ev.operation, "object", ev.object, "purpose", ev.purpose, "result",
				ev.result, "detail", ev.detail);
	err = control_call(r->l->run, req, NULL, NULL, &ok, d);
	json_decref(ok);
	return err;
}

int recorder_note(const struct located *l, struct keyring *kr, const char *operation, const char *object,
		  const char *detail, struct diag *d)
{
	struct recorder r = {.l = l, .kr = kr};
	CLEANUP_FD int lock = -1; /* the trail has one writer */

	if (l->mounted)
		return recorder_put(&r, operation, object, "", "ok", detail, d);
	int err = store_lock(l->store_fd, l->store, &lock, d);
	if (err == 0)
		err = trail_open(l->store_fd, kr, NULL, &r.trail, d);
	if (err)
		return err;
	err = recorder_put(&r, operation, object, "", "ok", detail, d);
	if (err == 0) {
		err = trail_checkpoint(r.trail, NULL, NULL);
		if (err)
			diag_fail(d, DIAG_TRAIL, err, "%s", l->store);
	}
	trail_close(r.trail);
	return err;
}
