/*
 * The control protocol: how a tool talks to the process that serves a mounted volume.
 *
 * A Unix stream socket, one request a connection. Request: one line of JSON {"op": "..", ..}. Answer: any number of lines
 * {"progress": {..}}, then one line {"ok": {..}} or {"error": {"name": "wrong-secret", "errno": 5, "object": ".."}}. The
 * serving side takes the peer's uid and pid from the socket: root and the process's own user may ask for anything;
 * others whose uid the charter names may do what their role allows; the rest are refused. No quorum act rests on a uid: orders
 * carry signatures. Lines are at most 16 MiB.
 *
 *   op                  fields                                   answer
 *   status              -                                        volume figures, repositories, trail, escrows, orders
 *   sync                -                                        txn
 *   check               data                                     counts, findings (array of texts)
 *   unmount             -                                        ok; the process then ends
 *   escrow.sync         -                                        pending
 *   backup.run          tiers ("daily weekly"), full, repository manifest figures, verified
 *   restore             set|at, paths, to, in_place, repository  counts. `to` lies inside the mount point
 *   destroy.inventory   paths, destroy_moved, destroy_linked     inventory (text), sealed (hex), bytes, n_destroy, n_kept, listing
 *   destroy.describe    order                                    listing (names where they open), drift (bool)
 *   destroy.execute     order                                    state, counts
 *   destroy.verify      order                                    counts
 *   trail.append        operation, object, purpose, result       ok (tools' own privileged acts: exports, refusals)
 *   trail.checkpoint    -                                        size, checkpoint
 *   trail.read          from, max                                entries (array)
 */
#ifndef COFFER_TOOLS_CONTROL_H
#define COFFER_TOOLS_CONTROL_H

#include <jansson.h>

#include "core/diag.h"

#define CONTROL_LINE_MAX (16u << 20)

/* A line (without newline) from a descriptor; caller frees. -EPIPE at the end, -EFBIG. */
int control_read(int fd, json_t **ret);
/* Writes j as a line; does not release it. */
int control_write(int fd, const json_t *j);

/*
 * Client: sends req (which it releases) to RUN/control and waits. progress (may be NULL) is called for progress lines. *ret is the "ok" object, owned
 * by the caller. An error answer becomes the same diagnosis on this side. DIAG_NOT_MOUNTED when nobody listens.
 */
int control_call(const char *run_dir, json_t *req, void (*progress)(void *arg, const json_t *p), void *arg,
		 json_t **ret, struct diag *d);

#endif
