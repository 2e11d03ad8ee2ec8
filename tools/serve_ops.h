/*
 * Control operations of the serving process, by file. Each fills *ret (a new JSON object) or returns an error with d.
 */
#ifndef COFFER_TOOLS_SERVE_OPS_H
#define COFFER_TOOLS_SERVE_OPS_H

#include <jansson.h>

#include "tools/serve.h"

#define SERVE_OP(name)                                                                             \
	int name(struct server *s, const struct peer *p, const json_t *req, int fd, json_t **ret,  \
		 struct diag *d)

/* serve_backup.c */
SERVE_OP(serve_op_backup_run);
SERVE_OP(serve_op_restore);
/* serve_backup_drill.c */
SERVE_OP(serve_op_backup_drill);
/* serve_backup_hold.c */
SERVE_OP(serve_op_backup_hold);
SERVE_OP(serve_op_backup_holds);
SERVE_OP(serve_op_backup_release);
/* serve_backup_media.c */
SERVE_OP(serve_op_backup_medium);
/* serve_backup_merge.c */
SERVE_OP(serve_op_backup_merge);
/* serve_custody.c */
SERVE_OP(serve_op_escrow_sync);
SERVE_OP(serve_op_escrow_add);
/* serve_destroy.c */
SERVE_OP(serve_op_inventory);
SERVE_OP(serve_op_describe);
SERVE_OP(serve_op_execute);
SERVE_OP(serve_op_verify);

/* serve_orders.c */
SERVE_OP(serve_op_order_submit);
SERVE_OP(serve_op_statement_submit);
SERVE_OP(serve_op_order_read);
SERVE_OP(serve_op_orders_list);
/* Every order with its state, as a new array. */
json_t *serve_orders_figures(struct server *s);

/* One at a time: true when flag (busy_backup ..) was free and is now the caller's. */
bool serve_claim(struct server *s, bool *flag);
void serve_unclaim(struct server *s, bool *flag);
/*
 * Progress of a long operation: a line for the client on fd, at most one a second; *io_told (0 at first) is when. Takes progress over.
 * True: the server stops, and so must the operation. A client that left stops nothing.
 */
bool serve_progress(struct server *s, int fd, time_t *io_told, json_t *progress);
/*
 * The durable record of how an operation has ended: "ok" with detail (may be NULL), or that it failed with d's name. Returns err; what
 * went well but is not on the trail has not: DIAG_TRAIL.
 */
int serve_trail_end(struct server *s, const struct peer *p, const char *operation, const char *object, const char *purpose,
		    int err, const char *detail, struct diag *d);

#endif
