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

#endif
