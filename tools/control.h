/*
 * The control protocol: how a tool talks to the process that serves a mounted volume.
 *
 * A Unix stream socket, one request a connection. Request: one line of JSON {"op": "..", ..}. Answer: any number of lines
 * {"progress": {..}}, then one line {"ok": {..}} or {"error": {"name": "wrong-secret", "errno": 5, "object": ".."}}. The
 * serving side takes the peer's uid and pid from the socket: root and the process's own user may ask for anything;
 * others whose uid the charter names may do what their role allows; the rest are refused. No quorum act rests on a uid: orders
 * carry signatures. charters is the chain of signed notes up to the one in force, first (hex) the digest of its first. Lines are at most 16 MiB.
 *
 *   op                  fields                                   answer
 *   status              -                                        volume figures, repositories, trail, escrows, orders
 *   sync                -                                        txn
 *   check               data                                     counts, findings (array of texts)
 *   unmount             -                                        ok; the process then ends
 *   escrow.sync         -                                        pending
 *   escrow.add          place (absolute; trusted peers only)     pending (of all; the new place is written)
 *   backup.run          tiers ("daily weekly"), full, repository manifest figures, verified_percent (of its records; 0: none)
 *   backup.drill        repository, files, to                    counts, drill (id of its record). `to`: for root and the server's user
 *   backup.hold         set, reason, repository                  set, by
 *   backup.holds        -                                        holds: repository, set, time, by, reason, hold (digest), verified
 *   backup.release      order (approved, of action hold-release) order, set, released
 *   backup.merge        sets or older_than_days, min, dry_run,   merged: sets, set (the new one), kept, dropped, stored
 *                       repository
 *   backup.medium       label, kept, sets, bytes, digest,        id, note (signed; it lies in the repository)
 *                       reason, forgotten, repository
 *   restore             set|at, paths or all, to, in_place,      counts. `to` lies inside the mount point; a new folder for
 *                       resume, repository                       who is neither owner nor trusted
 *   destroy.inventory   paths, destroy_moved, destroy_linked     inventory (text), sealed (hex), bytes, n_destroy, n_kept, listing
 *   destroy.describe    order                                    listing (names where they open), drift (bool)
 *   destroy.execute     order                                    state, counts
 *   destroy.verify      order                                    counts
 *   order.submit        order (signed note), inventory (text)    order (number)
 *   statement.submit    order (number), note (signed)            order, decision, role
 *   order.read          order                                    files (name: text; of the order's folder), charters, first
 *   orders.list         -                                        orders, next (free number), now, charters, first
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
/* Of at most max bytes, all of it within seconds (0: however long it takes). -ETIMEDOUT. */
int control_read_within(int fd, size_t max, unsigned seconds, json_t **ret);
/* Writes j as a line; does not release it. A peer that takes nothing for as long as SO_SNDTIMEO says is hung up on. */
int control_write(int fd, const json_t *j);

/* Names are any bytes, and JSON takes only UTF-8: a string, or else {"hex": ".."}. */
json_t *control_name(const char *name);
/* And back; the caller frees. -EINVAL for everything else. */
int control_name_get(const json_t *j, char **ret);
/* To be read by people: what is not UTF-8 as '?'. */
json_t *control_text(const char *text);

/*
 * Client: sends req (which it releases) to RUN/control and waits. progress (may be NULL) is called for progress lines. *ret is the "ok" object, owned
 * by the caller. An error answer becomes the same diagnosis on this side. DIAG_NOT_MOUNTED when nobody listens.
 */
int control_call(const char *run_dir, json_t *req, void (*progress)(void *arg, const json_t *p), void *arg,
		 json_t **ret, struct diag *d);

#endif
