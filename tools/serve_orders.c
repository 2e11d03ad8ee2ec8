/*
 * Control operations of orders: what members say, signed where their identities are, is examined and stored here.
 *
 * The right to say it comes from the signature and the charter, never from the uid. Writing is always: examine
 * everything, the trail, the file. A crash between the last two leaves a statement that is recorded and missing, which
 * stops an order (shred/execute_begin.c) and never permits one. s->orders makes one writer at a time, and none while an
 * execution begins.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backup/hold.h"
#include "core/bytes.h"
#include "core/cleanup.h"
#include "core/kdf.h"
#include "core/note.h"
#include "core/order.h"
#include "shred/inventory.h"
#include "tools/control.h"
#include "tools/serve_ops.h"

#define ORDER_MAX (64u << 10)
#define STATEMENT_MAX (8u << 10)
#define NUMBER_CHARACTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"
#define EXPIRY_MAX (366 * 86400)
/* With order, statements and charters beside it, an inventory must fit in one line of the protocol. */
#define INVENTORY_MAX (CONTROL_LINE_MAX / 4 * 3)

/* --- the record --- */

static int record(struct server *s, const struct peer *p, const char *operation, const char *number,
		  const char *signer, struct diag *d)
{
	char object[ORDER_NUMBER_MAX + 16];

	snprintf(object, sizeof(object), "order %s", number);
	int err = serve_trail(s, p, operation, object, signer, "ok", NULL, true);
	return err ? diag_fail(d, DIAG_TRAIL, err, "%s", s->store) : 0;
}

/* An attempt that failed is told as well; why it failed stays the answer. */
static int refused(struct server *s, const struct peer *p, const char *operation, const char *number,
		   const char *signer, int err, const struct diag *d)
{
	char object[ORDER_NUMBER_MAX + 16];
	/* What is no number is not repeated: it came from anybody. */
	bool valid = strlen(number) <= ORDER_NUMBER_MAX && strspn(number, NUMBER_CHARACTERS) == strlen(number);

	snprintf(object, sizeof(object), "order %s", valid ? number : "");
	serve_trail(s, p, operation, object, signer, "refused", diag_name(d->id), false);
	return err;
}

/* --- a request --- */

static int check_requester(struct server *s, const struct order *o, struct diag *d)
{
	const struct charter_member *m = charter_find_key(s->charter, o->requester_pk);

	if (!m || strcmp(m->card.name, o->requester) != 0)
		return diag_fail(d, DIAG_NOT_MEMBER, -EPERM, "%s", o->requester);
	if ((strcmp(o->action, "destroy") != 0 && strcmp(o->action, HOLD_ACTION) != 0) || !charter_quorum(s->charter, o->action))
		return diag_fail(d, DIAG_QUORUM, -EPERM, "the charter names none for %s", o->action);
	if (memcmp(o->volume_id, s->charter->volume_id, sizeof(o->volume_id)) != 0)
		return diag_fail(d, DIAG_ORDER_STATE, -EPERM, "order %s of another volume", o->number);
	if (memcmp(o->charter, s->charter->digest, sizeof(o->charter)) != 0)
		return diag_fail(d, DIAG_ORDER_STATE, -EPERM, "order %s under another charter than the one in force",
				 o->number);
	return 0;
}

/* The next number of the day on which it was made: nobody takes the last ones and leaves none to others. */
static int check_number(struct server *s, const struct order *o, struct diag *d)
{
	int64_t now = time(NULL);
	char next[ORDER_NUMBER_MAX + 1];

	if (o->created > now + ORDER_CLOCK_SKEW || o->created < now - ORDER_CLOCK_SKEW || o->expires <= now ||
	    o->expires - o->created > EXPIRY_MAX)
		return diag_fail(d, DIAG_ORDER_STATE, -EPERM, "order %s: its times", o->number);
	int err = order_next_number(s->store_fd, o->created, next);
	if (err)
		return diag_fail_errno(d, err, "%s, orders", s->store);
	return strcmp(next, o->number) == 0
		       ? 0 : diag_fail(d, DIAG_EXISTS, -EEXIST, "order %s; the next number is %s", o->number, next);
}

static bool covers_ids(const struct order *o, const char *text, size_t len)
{
	CLEANUP_WITH(inventory_free) struct inventory inv = {0};

	return inventory_decode(text, len, &inv) == 0 && inv.n_destroy == o->n_ids && inv.n_bytes == o->n_bytes &&
	       memcmp(inv.sealed, o->sealed, sizeof(inv.sealed)) == 0;
}

/* A hold that is released ends nothing: no ids, no bytes. */
static bool covers_hold(const struct order *o, const char *text)
{
	static const uint8_t none[32];
	char set[SET_ID_MAX + 1];
	uint8_t hold[32];

	return hold_release_parse(text, o->volume_id, set, hold) == 0 && o->n_ids == 0 && o->n_bytes == 0 &&
	       memcmp(none, o->sealed, sizeof(none)) == 0;
}

/* That the form says of the inventory what the inventory says: an approver reads the form. */
static int check_inventory(const struct order *o, const char *text, struct diag *d)
{
	uint8_t digest[32];
	size_t len = strlen(text);

	if (len > INVENTORY_MAX)
		return diag_fail_errno(d, -EFBIG, "order %s: the inventory; divide it into several orders", o->number);
	kdf_sha256(digest, text, len);
	bool destroys = strcmp(o->action, "destroy") == 0;
	if (memcmp(digest, o->inventory, sizeof(digest)) != 0 ||
	    !(destroys ? covers_ids(o, text, len) : covers_hold(o, text)))
		return diag_fail(d, DIAG_NOTE_MALFORMED, -EUCLEAN, "order %s: form and inventory do not belong together",
				 o->number);
	return 0;
}

int serve_op_order_submit(struct server *s, const struct peer *p, const json_t *req, int fd, json_t **ret,
			  struct diag *d)
{
	static const char operation[] = "destroy.request";
	const char *text = json_string_value(json_object_get(req, "order"));
	const char *inventory = json_string_value(json_object_get(req, "inventory"));
	struct order o = {0};
	(void)fd;

	if (!text || !inventory)
		return diag_fail(d, DIAG_USAGE, -EINVAL, "order.submit");
	int err = order_parse(text, &o, d);
	if (err)
		return refused(s, p, operation, "", "", err, d);
	pthread_mutex_lock(&s->orders);
	err = check_requester(s, &o, d);
	if (err == 0)
		err = check_number(s, &o, d);
	if (err == 0)
		err = check_inventory(&o, inventory, d);
	if (err)
		refused(s, p, operation, o.number, o.requester, err, d);
	if (err == 0)
		err = record(s, p, operation, o.number, o.requester, d);
	if (err == 0)
		err = order_store(s->store_fd, &o, text, inventory, strlen(inventory), d);
	pthread_mutex_unlock(&s->orders);
	if (err)
		return err;
	*ret = json_pack("{s:s}", "order", o.number);
	return *ret ? 0 : -ENOMEM;
}

/* --- a statement --- */

static bool is_executing(struct server *s, const char *number)
{
	pthread_mutex_lock(&s->lock);
	bool yes = strcmp(s->executing, number) == 0;
	pthread_mutex_unlock(&s->lock);
	return yes;
}

static int check_statement(struct server *s, const char *number, const char *text, int64_t now, struct order *ret,
			   struct diag *d)
{
	int err = order_load(s->store_fd, number, ret, NULL, NULL, d);

	/* Its journal says so only from some point on; what is said from here on would come too late. */
	if (err == 0 && is_executing(s, number))
		err = diag_fail(d, DIAG_ORDER_STATE, -EPERM, "order %s is %s", number,
				order_state_name(ORDER_EXECUTING));
	return err ? err : order_statement_check(s->store_fd, s->charter, ret, text, now, d);
}

int serve_op_statement_submit(struct server *s, const struct peer *p, const json_t *req, int fd, json_t **ret,
			      struct diag *d)
{
	const char *number = json_string_value(json_object_get(req, "order"));
	const char *text = json_string_value(json_object_get(req, "note"));
	struct order_statement st;
	int64_t now = time(NULL);
	char operation[32];
	struct order o;
	(void)fd;

	if (!number || !text)
		return diag_fail(d, DIAG_USAGE, -EINVAL, "statement.submit");
	int err = order_statement_parse(text, &st, d);
	if (err)
		return refused(s, p, "destroy.statement", number, "", err, d);
	snprintf(operation, sizeof(operation), "destroy.%s", order_decision_name(st.decision));
	pthread_mutex_lock(&s->orders);
	err = check_statement(s, number, text, now, &o, d);
	if (err)
		refused(s, p, operation, number, st.signer, err, d);
	if (err == 0)
		err = record(s, p, operation, number, st.signer, d);
	if (err == 0)
		err = order_statement_store(s->store_fd, s->charter, &o, text, now, d);
	pthread_mutex_unlock(&s->orders);
	if (err)
		return err;
	*ret = json_pack("{s:s, s:s, s:s}", "order", o.number, "decision", order_decision_name(st.decision), "role",
			 charter_role_name(st.role));
	return *ret ? 0 : -ENOMEM;
}

/* --- reading --- */

/* The chain up to the charter in force, and the digest it starts with: a reader follows it by himself. */
static int add_charters(struct server *s, json_t *answer, struct diag *d)
{
	json_t *chain = json_array();
	char first[65];
	int err = 0;

	bytes_hex(first, keyring_header(s->kr)->charter_first, 32);
	json_object_set_new(answer, "first", json_string(first));
	json_object_set_new(answer, "charters", chain);
	for (uint64_t i = 1; err == 0 && i <= s->charter->number; i++) {
		CLEANUP_FREE char *text = NULL;
		char name[32];

		snprintf(name, sizeof(name), "charter/%" PRIu64, i);
		err = note_file_read(s->store_fd, name, NOTE_TEXT_MAX, &text);
		if (err == 0 && json_array_append_new(chain, json_string(text)) != 0)
			err = -EUCLEAN;
	}
	return err ? diag_fail_errno(d, err, "%s, charters", s->store) : 0;
}

/* A file that is not there is left out. */
static int add_file(json_t *to, int dirfd, const char *name, size_t max)
{
	CLEANUP_FREE char *text = NULL;
	int err = note_file_read(dirfd, name, max, &text);

	if (err)
		return err == -ENOENT ? 0 : err;
	return json_object_set_new(to, name, json_string(text)) == 0 ? 0 : -EUCLEAN;
}

/* Rubbish that lies beside them is not passed on; no more than members can have written is. */
static int add_statements(json_t *files, int dirfd)
{
	CLEANUP_FD int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CLEANUP_DIR DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!dir)
		return -errno;
	fd = -1; /* the stream owns it */
	while ((e = readdir(dir)) && json_object_size(files) < 3 * ORDER_STATEMENTS_MAX)
		if (order_statement_name(e->d_name))
			add_file(files, dirfd, e->d_name, STATEMENT_MAX);
	return 0;
}

int serve_op_order_read(struct server *s, const struct peer *p, const json_t *req, int fd, json_t **ret,
			struct diag *d)
{
	const char *number = json_string_value(json_object_get(req, "order"));
	CLEANUP_FD int dirfd = number ? order_folder_open(s->store_fd, number) : -EINVAL;
	json_t *answer, *files;
	(void)p, (void)fd;

	if (!number)
		return diag_fail(d, DIAG_USAGE, -EINVAL, "no order given");
	if (dirfd == -ENOENT || dirfd == -EINVAL)
		return diag_fail(d, DIAG_NOT_FOUND, -ENOENT, "order %s", number);
	if (dirfd < 0)
		return diag_fail_errno(d, dirfd, "order %s", number);
	files = json_object();
	answer = json_pack("{s:o}", "files", files);
	int err = add_file(files, dirfd, ORDER_FILE_ORDER, ORDER_MAX);
	if (err == 0)
		err = add_file(files, dirfd, ORDER_FILE_INVENTORY, INVENTORY_MAX);
	if (err == 0)
		err = add_file(files, dirfd, ORDER_FILE_JOURNAL, NOTE_TEXT_MAX);
	if (err == 0)
		err = add_file(files, dirfd, ORDER_FILE_CERTIFICATE, NOTE_TEXT_MAX);
	if (err == 0)
		err = add_statements(files, dirfd);
	err = err ? diag_fail_errno(d, err, "order %s", number) : add_charters(s, answer, d);
	if (err)
		json_decref(answer);
	else
		*ret = answer;
	return err;
}

/* --- the list --- */

static json_t *figures(struct server *s, const char *number)
{
	enum order_state state = ORDER_REQUESTED;
	struct diag d = {0};
	struct order o;
	unsigned missing = 0;
	char roles[64];

	if (order_load(s->store_fd, number, &o, NULL, NULL, &d) != 0 ||
	    order_judge(s->store_fd, s->charter, &o, time(NULL), &state, &missing, &d) != 0)
		return json_pack("{s:s, s:s}", "order", number, "state", "damaged");
	charter_roles_text(missing, roles);
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:I}", "order", number, "state", order_state_name(state), "missing",
			 roles, "requester", o.requester, "description", o.description, "created",
			 (json_int_t)o.created);
}

json_t *serve_orders_figures(struct server *s)
{
	CLEANUP_FREE char(*numbers)[ORDER_NUMBER_MAX + 1] = NULL;
	json_t *a = json_array();
	size_t n = 0;

	if (order_list(s->store_fd, &numbers, &n) != 0)
		return a;
	for (size_t i = 0; i < n; i++)
		json_array_append_new(a, figures(s, numbers[i]));
	return a;
}

int serve_op_orders_list(struct server *s, const struct peer *p, const json_t *req, int fd, json_t **ret,
			 struct diag *d)
{
	int64_t now = time(NULL);
	char next[ORDER_NUMBER_MAX + 1];
	(void)p, (void)req, (void)fd;

	int err = order_next_number(s->store_fd, now, next);
	if (err)
		return diag_fail_errno(d, err, "%s, orders", s->store);
	json_t *answer = json_pack("{s:o, s:s, s:I}", "orders", serve_orders_figures(s), "next", next, "now",
				   (json_int_t)now);
	if (!answer)
		return diag_fail_errno(d, -ENOMEM, "orders");
	err = add_charters(s, answer, d);
	if (err)
		json_decref(answer);
	else
		*ret = answer;
	return err;
}
