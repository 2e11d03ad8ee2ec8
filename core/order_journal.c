/* The executor's journal: which steps of an order are done, in a note that only the volume can
 * sign. */
#include "core/order.h"
#include "core/order_internal.h"

#include <errno.h>
#include <string.h>

#include "core/bytes.h"
#include "core/cleanup.h"
#include "core/durable.h"
#include "core/note.h"

#define JOURNAL_TYPE "journal"
#define JOURNAL_VERSION 1
#define STEP_MAX 63
#define STEPS_MAX 4096

/* more may be NULL. */
static int journal_body(const struct order *o, char (*steps)[STEP_MAX + 1], size_t n,
			const char *more, char **ret_body)
{
	CLEANUP_BYTES struct bytes_w w = {0};

	note_begin(&w, JOURNAL_TYPE, JOURNAL_VERSION);
	note_put_hex(&w, "volume", o->volume_id, sizeof(o->volume_id));
	note_put_hex(&w, "charter", o->charter, sizeof(o->charter));
	note_put(&w, "order", o->number);
	note_put_hex(&w, "order-digest", o->digest, sizeof(o->digest));
	for (size_t i = 0; i < n; i++)
		note_put(&w, "step", steps[i]);
	if (more)
		note_put(&w, "step", more);
	return note_end(&w, ret_body);
}

/* The steps of a verified text; -EBADMSG when what the volume signed is another order's journal. */
static int journal_parse(const char *text, const struct order *o, char (**ret)[STEP_MAX + 1],
			 size_t *ret_n)
{
	CLEANUP_FREE char(*steps)[STEP_MAX + 1] = NULL;
	CLEANUP_FREE char *again = NULL;
	CLEANUP_NOTE struct note n = {0};
	size_t n_steps = 0;
	int r;

	r = note_parse(text, &n);
	if (r < 0)
		return r;
	if (strcmp(n.type, JOURNAL_TYPE) == 0 && n.version > JOURNAL_VERSION)
		return -EPROTONOSUPPORT;
	steps = calloc(STEPS_MAX, sizeof(*steps));
	if (!steps)
		return -ENOMEM;
	for (const char *s; (s = note_get_nth(&n, "step", n_steps)); n_steps++) {
		if (n_steps == STEPS_MAX || strlen(s) > STEP_MAX)
			return -EUCLEAN;
		strcpy(steps[n_steps], s);
	}
	r = journal_body(o, steps, n_steps, NULL, &again);
	if (r < 0)
		return r;
	if (!note_body_is(text, again))
		return -EBADMSG;
	*ret = STEAL_PTR(steps);
	*ret_n = n_steps;
	return 0;
}

static int journal_read(int dirfd, const struct order *o, const uint8_t sign_pk[32],
			char (**ret)[STEP_MAX + 1], size_t *ret_n)
{
	CLEANUP_FREE char *text = NULL;
	char name[NOTE_KEY_NAME_MAX + 1];
	int r;

	r = note_file_read(dirfd, ORDER_FILE_JOURNAL, NOTE_TEXT_MAX, &text);
	if (r == -ENOENT) {
		*ret = NULL;
		*ret_n = 0;
		return 0;
	}
	if (r < 0)
		return r;
	note_volume_key_name(o->volume_id, name);
	r = note_verify(text, name, sign_pk);
	return r < 0 ? r : journal_parse(text, o, ret, ret_n);
}

int order_journal_get(int store_fd, const struct order *o, const uint8_t sign_pk[32],
		      char (**ret)[STEP_MAX + 1], size_t *ret_n, struct diag *d)
{
	CLEANUP_FD int dirfd = order_folder_open(store_fd, o->number);
	int r = dirfd < 0 ? dirfd : journal_read(dirfd, o, sign_pk, ret, ret_n);

	switch (r) {
	case 0:
		return 0;
	case -ENOENT:
		return diag_fail(d, DIAG_NOT_FOUND, r, "order %s", o->number);
	case -EPROTONOSUPPORT:
		return diag_fail(d, DIAG_VERSION, r, "journal of order %s", o->number);
	case -EBADMSG:
	case -EUCLEAN: /* no text that is cut short or replaced ever was the volume's */
	case -EFBIG:
	case -ELOOP:
	case -EINVAL:
		return diag_fail(d, DIAG_NOTE_UNSIGNED, -EBADMSG, "journal of order %s", o->number);
	default:
		return diag_fail_errno(d, r, "journal of order %s", o->number);
	}
}

int order_journal_add(int store_fd, const struct order *o, const uint8_t sign_seed[32],
		      const char *step, struct diag *d)
{
	CLEANUP_FREE char(*steps)[STEP_MAX + 1] = NULL;
	CLEANUP_FREE char *body = NULL, *text = NULL;
	uint8_t pk[IDENTITY_KEY_LEN];
	CLEANUP_FD int dirfd = -1;
	size_t n;
	int r;

	if (step[0] == '\0' || strlen(step) > STEP_MAX)
		return diag_fail(d, DIAG_NOTE_MALFORMED, -EINVAL, "step of order %s", o->number);
	identity_sign_pk_from_seed(sign_seed, pk);
	r = order_journal_get(store_fd, o, pk, &steps, &n, d);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++)
		if (strcmp(steps[i], step) == 0)
			return 0;
	r = n == STEPS_MAX ? -ENOSPC : journal_body(o, steps, n, step, &body);
	if (r == -EINVAL)
		return diag_fail(d, DIAG_NOTE_MALFORMED, r, "step of order %s", o->number);
	if (r == 0)
		r = note_sign_volume(body, o->volume_id, sign_seed, &text);
	if (r == 0) {
		dirfd = order_folder_open(store_fd, o->number);
		r = dirfd < 0 ? dirfd
			      : durable_replace(dirfd, ORDER_FILE_JOURNAL, text, strlen(text),
						ORDER_FILE_MODE);
	}
	return r < 0 ? diag_fail_errno(d, r, "journal of order %s", o->number) : 0;
}
