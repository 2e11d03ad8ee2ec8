/*
 * Building and checking a certificate of destruction (docs/format.md "Certificate").
 *
 * Everything in it is either from the order and its approvals, which carry signatures of their own,
 * or what this run saw.
 */
#include "shred/certificate.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/bytes.h"
#include "core/cleanup.h"
#include "core/kdf.h"
#include "core/note.h"
#include "shred/certificate_internal.h"
#include "shred/execute_internal.h"
#include "shred/media.h"

#define PLACE_MAX (HEADER_PATH_MAX + 256)

struct building {
	const struct shred_context *ctx;
	const struct order *o;
	const struct inventory *inv;
	const struct shred_verdict *verdict;
	const struct shred_result *result;
	struct keyring *kr;
	struct charter *old; /* when the order's charter is not the one in force any more */
	const struct charter *charter; /* the order's */
	int64_t began;
	bool overwriting;
	struct keyring_escrow_status escrows[KEYRING_ESCROWS_MAX];
	size_t n_escrows, n_pending;
	char medium[MEDIA_TEXT_MAX];
	struct trail_head trail;
};

/* --- figures in the journal --- */

static bool figure(const char *step, const char *what, const char **ret)
{
	size_t n = strlen(what);

	*ret = step + n;
	return strncmp(step, what, n) == 0;
}

int64_t journal_quorum_at(char (*steps)[STEP_LEN], size_t n)
{
	const char *value;
	int64_t at = 0;

	for (size_t i = 0; i < n; i++)
		if (figure(steps[i], STEP_QUORUM_AT, &value))
			at = strtoll(value, NULL, 10);
	return at;
}

uint64_t journal_overwritten(char (*steps)[STEP_LEN], size_t n)
{
	const char *value;
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++) {
		if (!figure(steps[i], STEP_OVERWRITTEN, &value))
			continue;
		value = strchr(value, ' ');
		sum += value ? strtoull(value, NULL, 10) : 0;
	}
	return sum;
}

/* --- parts of the body --- */

/* Paths, URLs and texts of the system may hold bytes that a note does not: they come out as '?'. */
static void put_place(struct bytes_w *w, const char *key, const char *value)
{
	char text[PLACE_MAX];

	snprintf(text, sizeof(text), "%s", value);
	for (char *p = text; *p && !note_value_valid(text, strlen(text)); p++)
		if (*p <= ' ' || *p > '~')
			*p = '?';
	note_put(w, key, text);
}

static void put_order(struct bytes_w *w, const struct building *b)
{
	const struct header *h = keyring_header(b->kr);
	const struct order *o = b->o;

	note_put(w, "number", o->number);
	note_put_hex(w, "volume", o->volume_id, sizeof(o->volume_id));
	put_place(w, "volume-name", h->name);
	note_put_hex(w, "charter", o->charter, sizeof(o->charter));
	note_put_hex(w, "charter-first", h->charter_first, sizeof(h->charter_first));
	note_put_hex(w, "order-digest", o->digest, sizeof(o->digest));
	note_put(w, "unit", o->unit);
	note_put(w, "description", o->description);
	note_put(w, "reason", o->reason);
	note_put(w, "legal-basis", o->legal_basis);
	note_put(w, "requested-method", o->method);
	note_put(w, "backups", o->backups_kept ? "kept" : "destroyed");
}

static void put_people(struct bytes_w *w, const struct building *b,
		       const struct order_statement *st, size_t n)
{
	const struct charter_member *m = charter_find_key(b->charter, b->o->requester_pk);
	char when[NOTE_TIME_LEN + 1];

	note_put_time(w, "requested", b->o->created);
	note_put_fmt(w, "requester", "%s|%s", b->o->requester, m ? m->card.number : "?");
	for (size_t i = 0; i < n; i++) {
		if (!st[i].counts || st[i].decision != ORDER_APPROVE)
			continue;
		m = charter_find_key(b->charter, st[i].signer_pk);
		if (!m || note_time_format(st[i].created, when) != 0)
			continue;
		note_put_fmt(w, "approver", "%s|%s|%s|%s", m->card.name, m->card.number,
			     charter_role_name(st[i].role), when);
	}
}

static void put_method(struct bytes_w *w, const struct building *b)
{
	char medium[MEDIA_TEXT_MAX], place[PLACE_MAX];

	note_put_time(w, "began", b->began);
	note_put_time(w, "completed", (int64_t)time(NULL));
	note_put(w, "method",
		 "NIST SP 800-88 Rev. 1: Purge, cryptographic erase (keys of the ids punctured, "
		 "tree key "
		 "replaced)");
	if (b->overwriting)
		note_put(w, "method",
			 "NIST SP 800-88 Rev. 1: Clear, live objects overwritten, 1 pass");
	note_put(w, "tool", "coffer " COFFER_VERSION);
	snprintf(place, sizeof(place), "store: %s", b->medium);
	put_place(w, "medium", place);
	media_describe_path(keyring_header(b->kr)->anchor, medium);
	snprintf(place, sizeof(place), "anchor: %s", medium);
	put_place(w, "medium", place);
}

static int put_extent(struct bytes_w *w, const struct building *b)
{
	CLEANUP_FREE uint64_t *ids = NULL;
	CLEANUP_FREE struct keyring_range *ranges = NULL;
	CLEANUP_BYTES struct bytes_w enc = {0};
	uint8_t digest[32];
	size_t n, n_ranges;
	int r = inventory_ids(b->inv, &ids, &n);

	if (r == 0)
		r = inventory_ranges(ids, n, &ranges, &n_ranges);
	for (size_t i = 0; r == 0 && i < n_ranges; i++) {
		bytes_w_u64(&enc, ranges[i].first);
		bytes_w_u64(&enc, ranges[i].last);
		r = enc.err;
	}
	if (r)
		return r;
	kdf_sha256(digest, enc.buf ? enc.buf : (const uint8_t *)"", enc.len);
	note_put_u64(w, "ids", n);
	note_put_u64(w, "kept", b->inv->n_kept);
	note_put_u64(w, "ranges", n_ranges);
	note_put_hex(w, "ranges-digest", digest, sizeof(digest));
	note_put_u64(w, "bytes", b->inv->n_bytes);
	note_put_u64(w, "bytes-overwritten", b->result->bytes_overwritten);
	note_put_u64(w, "generation", keyring_generation(b->kr));
	return 0;
}

static void put_verdict(struct bytes_w *w, const struct shred_verdict *v)
{
	note_put_u64(w, "live-open", v->n_live_open);
	note_put_u64(w, "set-records", v->n_set_records);
	note_put_u64(w, "set-open", v->n_set_open);
	note_put_u64(w, "sets", v->n_sets);
	note_put_u64(w, "sets-unread", v->n_sets_unread);
	note_put_u64(w, "raw-samples", v->n_raw_samples);
	note_put_u64(w, "raw-open", v->n_raw_open);
}

static void put_places(struct bytes_w *w, const struct building *b)
{
	char text[PLACE_MAX];

	note_put_u64(w, "escrows-pending", b->n_pending);
	for (size_t i = 0; i < b->n_escrows; i++) {
		const struct keyring_escrow_status *e = &b->escrows[i];

		snprintf(text, sizeof(text), "%.*s|%s%s", HEADER_PATH_MAX, e->dir,
			 e->confirmed ? "confirmed" : "pending: ", e->confirmed ? "" : e->why);
		put_place(w, "escrow", text);
	}
	for (size_t i = 0; i < b->ctx->n_repos; i++)
		put_place(w, "repository", repo_url(b->ctx->repos[i]));
}

/* --- limits --- */

static const struct limit {
	enum { ALWAYS, NO_OVERWRITING, OVERWRITING, KEPT, PENDING, UNREAD, NO_REPOSITORY } when;
	const char *zh, *en;
} limits[] = {
    {ALWAYS,
     "销毁依赖密钥穿刺：凡持有完成之前的树密钥副本（锚点镜像、未更新的托管、挂载主机的内存或交换区"
     "）者，仍可"
     "打开同期的旧密文。",
     "Destruction rests on the puncture of keys: whoever holds a copy of the tree key from before "
     "completion (an image of "
     "the anchor, an escrow not rewritten, memory or swap of the mounting host) can still open "
     "ciphertext of that age."},
    {ALWAYS, "完成之前已导出为明文、打印或由应用程序另存于本卷之外的数据不在本证书范围内。",
     "Data that was exported in the clear, printed, or stored outside of this volume by programs "
     "before completion is not "
     "covered."},
    {ALWAYS, "密文的数量、长度、时间和编号，以及本单中的说明文字，继续可见。",
     "Counts, padded sizes, times and ids of ciphertext, and the words of this form, stay "
     "visible."},
    {ALWAYS,
     "锚点和托管是就地覆写的；闪存、写时复制、快照、网络或虚拟磁盘可能保留旧字节，请按介质一栏判断"
     "，必要时销毁介质。",
     "Anchor and escrows are overwritten in place; flash, copy-on-write, snapshots, network and "
     "virtual disks may keep old "
     "bytes: judge by the media named here and destroy the medium where it matters."},
    {OVERWRITING, "在线密文已覆写一遍；设备重映射的扇区不可达。",
     "Live ciphertext was overwritten once; sectors that the device has remapped are out of "
     "reach."},
    {NO_OVERWRITING,
     "存储介质上的覆写不能到达旧字节，因此未作覆写；旧密文可能残留，但无密钥可打开。",
     "Overwriting does not reach the old bytes on the store's medium, so none was done; old "
     "ciphertext may remain, without "
     "a key that opens it."},
    {KEPT, "按申请保留备份：备份中的副本仍可恢复，本证书只证明在线数据已销毁。",
     "Backups are kept as requested: what they hold can still be restored; this certificate covers "
     "the live data only."},
    {PENDING, "有密钥托管尚未确认改写：在其改写之前，持有该托管及恢复密钥者仍可打开旧密文。",
     "Escrows have not confirmed: until they are rewritten, whoever holds one and the recovery "
     "secret can open old "
     "ciphertext."},
    {UNREAD, "有备份集的清单或索引无法读取，未逐条核验；其记录使用同样已穿刺的密钥。",
     "Sets whose manifest or index does not read were not tried record by record; their records "
     "need the same punctured "
     "keys."},
    {NO_REPOSITORY, "没有可通告的备份库：从早于本次销毁的托管恢复时，须再次执行本单。",
     "No repository was there to announce to: a recovery from an escrow older than this "
     "destruction must execute the "
     "order again."},
};

static bool applies(const struct building *b, const struct limit *l)
{
	switch (l->when) {
	case ALWAYS:
		return true;
	case NO_OVERWRITING:
		return !b->overwriting;
	case OVERWRITING:
		return b->overwriting;
	case KEPT:
		return b->o->backups_kept;
	case PENDING:
		return b->n_pending > 0;
	case UNREAD:
		return b->verdict->n_sets_unread > 0;
	case NO_REPOSITORY:
		return b->ctx->n_repos == 0;
	}
	return true;
}

static void put_limits(struct bytes_w *w, const struct building *b)
{
	size_t n = sizeof(limits) / sizeof(limits[0]);

	for (size_t i = 0; i < n; i++)
		if (applies(b, &limits[i]))
			note_put(w, "limit-zh", limits[i].zh);
	for (size_t i = 0; i < n; i++)
		if (applies(b, &limits[i]))
			note_put(w, "limit-en", limits[i].en);
}

/* --- the whole --- */

static int body(const struct building *b, const struct order_statement *st, size_t n, char **ret)
{
	CLEANUP_BYTES struct bytes_w w = {0};
	int r;

	note_begin(&w, CERTIFICATE_TYPE, CERTIFICATE_VERSION);
	put_order(&w, b);
	put_people(&w, b, st, n);
	put_method(&w, b);
	r = put_extent(&w, b);
	if (r)
		return r;
	put_verdict(&w, b->verdict);
	put_places(&w, b);
	note_put_u64(&w, "trail-size", b->trail.size);
	note_put_hex(&w, "trail-root", b->trail.root, sizeof(b->trail.root));
	put_limits(&w, b);
	return note_end(&w, ret);
}

/* Who approved is told by the charter that the order names, as of when the quorum was found. */
static int gather(struct building *b, const char *checkpoint, struct diag *d)
{
	const struct header *h = keyring_header(b->kr);
	CLEANUP_FREE char(*steps)[STEP_LEN] = NULL;
	size_t n = 0;
	int r = trail_checkpoint_parse(checkpoint, h->volume_id, h->sign_pk, &b->trail);

	if (r)
		return diag_fail(d, DIAG_TRAIL_DAMAGED, r, "checkpoint for order %s", b->o->number);
	r = order_journal_get(b->ctx->store_fd, b->o, h->sign_pk, &steps, &n, d);
	if (r)
		return r;
	b->began = journal_quorum_at(steps, n);
	b->charter = b->ctx->charter;
	if (memcmp(b->charter->digest, b->o->charter, sizeof(b->o->charter)) != 0) {
		r = charter_load(b->ctx->store_fd, b->o->charter, h->charter_first, &b->old, d);
		b->charter = b->old;
	}
	b->n_escrows = keyring_escrow_list(b->kr, b->escrows);
	for (size_t i = 0; i < b->n_escrows; i++)
		b->n_pending += !b->escrows[i].confirmed;
	media_describe(b->ctx->store_fd, b->medium);
	b->overwriting = media_overwriting_reaches(b->medium);
	return r;
}

int certificate_build(const struct shred_context *ctx, const struct order *o,
		      const struct inventory *inv, const struct shred_verdict *verdict,
		      const struct shred_result *result, const char *checkpoint, char **ret_text,
		      struct diag *d)
{
	struct building b = {.ctx = ctx,
			     .o = o,
			     .inv = inv,
			     .verdict = verdict,
			     .result = result,
			     .kr = volume_keyring(ctx->volume)};
	CLEANUP_FREE struct order_statement *st = calloc(ORDER_STATEMENTS_MAX, sizeof(*st));
	CLEANUP_FREE char *text = NULL;
	size_t n;

	if (!st)
		return diag_fail_errno(d, -ENOMEM, "certificate of order %s", o->number);
	int r = gather(&b, checkpoint, d);
	if (r == 0)
		r = order_statements(ctx->store_fd, b.charter, o, b.began, st, &n, d);
	if (r == 0) {
		r = body(&b, st, n, &text);
		if (r == 0)
			r = note_sign_volume(text, keyring_volume_id(b.kr), keyring_sign_seed(b.kr), ret_text);
		if (r)
			diag_fail_errno(d, r, "certificate of order %s", o->number);
	}
	free(b.old);
	return r;
}

int certificate_check(const char *text, const uint8_t volume_id[16], const uint8_t sign_pk[32],
		      const uint8_t *charter_first, struct diag *d)
{
	CLEANUP_NOTE struct note n = {0};
	char name[NOTE_KEY_NAME_MAX + 1];
	uint8_t id[16], first[32];
	int r;

	note_volume_key_name(volume_id, name);
	r = note_verify(text, name, sign_pk);
	if (r == -EBADMSG)
		return diag_fail(d, DIAG_NOTE_UNSIGNED, r, "certificate");
	if (r == 0)
		r = certificate_parse(text, &n);
	if (r == 0)
		r = note_get_hex(&n, "volume", id, sizeof(id));
	if (r == 0)
		r = note_get_hex(&n, "charter-first", first, sizeof(first));
	if (r == -EPROTONOSUPPORT)
		return diag_fail(d, DIAG_VERSION, r, "certificate");
	if (r)
		return diag_fail(d, DIAG_NOTE_MALFORMED, r, "certificate");
	if (memcmp(id, volume_id, sizeof(id)) != 0)
		return diag_fail(d, DIAG_NOTE_UNSIGNED, -EBADMSG, "certificate of another volume");
	if (charter_first && memcmp(first, charter_first, sizeof(first)) != 0)
		return diag_fail(d, DIAG_NOTE_UNSIGNED, -EBADMSG,
				 "certificate under another first charter");
	return 0;
}
