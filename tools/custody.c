/* See custody.h. */
#include "tools/custody.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "tools/store_lock.h"

int custody_open(const char *volume, struct cli_unlock *secrets, struct custody *ret, struct diag *d)
{
	struct header_unlock with = {0};
	int err = locate(volume, &ret->l, d);

	if (err)
		return err;
	if (ret->l.mounted)
		return diag_fail(d, DIAG_MOUNTED, -EBUSY, "%s is mounted at %s", ret->l.store, ret->l.mountpoint);
	err = cli_unlock_get(secrets, "Passphrase of the volume: ", &with, d);
	if (err == 0)
		err = store_lock(ret->l.store_fd, ret->l.store, &ret->lock_fd, d);
	if (err == 0)
		err = keyring_open(ret->l.store, &with, 0, &ret->kr, d);
	if (err == 0)
		err = trail_open(ret->l.store_fd, ret->kr, NULL, &ret->trail, d);
	if (err == 0 && with.identity)
		snprintf(ret->member, sizeof(ret->member), "%s", identity_card(with.identity)->name);
	return err;
}

int custody_record(struct custody *c, const char *operation, const char *object, const char *result,
		   const char *detail, struct diag *d)
{
	struct trail_event ev = {.uid = (uint32_t)getuid(), .pid = (uint32_t)getpid()};

	snprintf(ev.member, sizeof(ev.member), "%s", c->member);
	snprintf(ev.operation, sizeof(ev.operation), "%s", operation);
	snprintf(ev.object, sizeof(ev.object), "%s", object);
	snprintf(ev.result, sizeof(ev.result), "%s", result);
	snprintf(ev.detail, sizeof(ev.detail), "%s", detail);
	int err = trail_append(c->trail, &ev, true);
	if (err == 0)
		err = trail_checkpoint(c->trail, NULL, NULL);
	return err ? diag_fail(d, DIAG_TRAIL, err, "%s", c->l.store) : 0;
}

int custody_change(struct custody *c, const char *operation, const char *object,
		   int (*change)(struct custody *c, void *arg, struct diag *d), void *arg, struct diag *d)
{
	struct diag unrecorded = {0};
	int err = custody_record(c, operation, object, "begun", "", d), recorded;

	if (err)
		return err;
	err = change(c, arg, d);
	recorded = custody_record(c, operation, object, err ? "failed" : "ok", err ? diag_name(d->id) : "", &unrecorded);
	if (err == 0 && recorded) {
		*d = unrecorded;
		return recorded;
	}
	return err;
}

void custody_close(struct custody *c)
{
	struct keyring_fresh f;
	struct trail_head head;

	if (c->trail) {
		trail_head_get(c->trail, &head);
		keyring_fresh_get(c->kr, &f);
		f.trail_size = head.size;
		memcpy(f.trail_root, head.root, sizeof(f.trail_root));
		/* Without it the anchor knows an older head of the same trail, which it extends. */
		keyring_fresh_put(c->kr, &f);
		trail_close(c->trail);
	}
	keyring_close(c->kr);
	cleanup_fd(&c->lock_fd);
	locate_free(&c->l);
	*c = (struct custody)CUSTODY_NONE;
}
