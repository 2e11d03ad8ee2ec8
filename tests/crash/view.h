/*
 * All that a volume shows, read at once, and whether it is what a reference, or any state that a
 * power cut may leave of a history of them, has.
 */
#ifndef COFFER_TESTS_CRASH_VIEW_H
#define COFFER_TESTS_CRASH_VIEW_H

#include "tests/crash/drive.h"

struct view;
/* The whole tree with names, attributes, xattrs and content. NULL: d->why says what is wrong. */
struct view *view_read(struct driver *d);
void view_free(struct view *w);

/*
 * What may be seen: history[i] is the state after step i; acked steps had been acknowledged when
 * the power went, begun ones (one more at most) may have taken place.
 *
 * The names are those of one state k, not older than what the last acknowledged sync made durable.
 * The attributes of each inode are those of state k or of a later one; its content is one that it
 * had, as a whole: not older than its last acknowledged fsync, nor than its content when it was
 * renamed over another.
 */
struct claim {
	const struct reference *history;
	unsigned acked, begun;
	bool live; /* no cut: all that was acknowledged shows, synced or not */
};
bool view_fits(struct driver *d, const struct view *w, const struct claim *c);
/* Exactly this. */
bool view_is(struct driver *d, const struct view *w, const struct reference *r);

/* One node of d->ref, a file with its content, as the volume has it. */
bool view_file_fits(struct driver *d, unsigned node);
/* The snapshot d->snap has what d->at_snap has. If not, d->got is the error that it ended with,
 * -EBADMSG when it shows something else. */
bool view_snapshot_fits(struct driver *d);

#endif
