/* Manifests: what a set consists of, signed by the volume. Text, so that it can be read and
 * verified without keys. */
#include "backup/set_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/cleanup.h"
#include "core/note.h"

#define MANIFEST_VERSION 1
#define PACKS_MAX (1u << 20)
#define TABLE_ENTRY_LEN (8 + 32 + SET_CHECKSUM_LEN)

void set_object(const char *id, const char *what, char out[SET_NAME_LEN])
{
	snprintf(out, SET_NAME_LEN, "sets/%s/%s", id, what);
}

void set_object_pack(const char *id, uint32_t pack, char out[SET_NAME_LEN])
{
	snprintf(out, SET_NAME_LEN, "sets/%s/pack-%05" PRIu32, id, pack);
}

/* "20261128T091500Z-1a2b3c4d" */
bool set_id_valid(const char *id)
{
	static const char form[] = "ddddddddTddddddZ-xxxxxxxx";
	size_t n = strlen(id);

	if (n != sizeof(form) - 1)
		return false;
	for (size_t i = 0; i < n; i++) {
		bool digit = id[i] >= '0' && id[i] <= '9';
		bool ok = form[i] == 'd'   ? digit
			  : form[i] == 'x' ? digit || (id[i] >= 'a' && id[i] <= 'f')
					   : id[i] == form[i];
		if (!ok)
			return false;
	}
	return true;
}

void set_id_stamp(int64_t unix_seconds, char out[SET_ID_MAX + 1])
{
	time_t t = (time_t)unix_seconds;
	struct tm tm;

	gmtime_r(&t, &tm);
	strftime(out, SET_ID_MAX + 1, "%Y%m%dT%H%M%SZ", &tm);
}

void set_id_new(int64_t unix_seconds, char out[SET_ID_MAX + 1])
{
	char stamp[SET_ID_MAX + 1], hex[9];
	uint8_t salt[4];

	set_id_stamp(unix_seconds, stamp);
	kdf_random(salt, sizeof(salt));
	bytes_hex(hex, salt, sizeof(salt));
	snprintf(out, SET_ID_MAX + 1, "%.16s-%s", stamp, hex);
}

/* "LENGTH BLAKE2B XXH3" */
static void put_pack(struct bytes_w *w, const char *key, const struct set_pack *p)
{
	char digest[65], sum[33];

	bytes_hex(digest, p->digest, 32);
	bytes_hex(sum, p->sum, SET_CHECKSUM_LEN);
	note_put_fmt(w, key, "%" PRIu64 " %s %s", p->len, digest, sum);
}

static int get_pack(const char *value, struct set_pack *ret)
{
	char digest[65], sum[33];
	int end = 0;

	if (!value ||
	    sscanf(value, "%" SCNu64 " %64[0-9a-f] %32[0-9a-f]%n", &ret->len, digest, sum, &end) !=
		3 ||
	    value[end])
		return -EUCLEAN;
	if (bytes_unhex(digest, ret->digest, 32) || bytes_unhex(sum, ret->sum, SET_CHECKSUM_LEN))
		return -EUCLEAN;
	return 0;
}

static void put_fields(struct bytes_w *w, const struct set_manifest *m)
{
	note_put_hex(w, "volume", m->volume_id, 16);
	note_put(w, "set", m->id);
	note_put(w, "kind", m->full ? "full" : "incremental");
	note_put(w, "tiers", m->tiers);
	note_put(w, "parent", *m->parent ? m->parent : "none");
	note_put(w, "merged", m->merged ? m->merged : "none");
	note_put(w, "stands-for", m->stands_for ? m->stands_for : "none");
	note_put_u64(w, "timeline", m->timeline);
	note_put_time(w, "time", m->time);
	note_put_u64(w, "from-transaction", m->from_txn);
	note_put_u64(w, "to-transaction", m->to_txn);
	note_put_u64(w, "next-id", m->next_id);
	note_put_u64(w, "next-link", m->next_link);
	note_put_u64(w, "nodes", m->n_nodes);
	note_put_u64(w, "names", m->n_names);
	note_put_u64(w, "data-records", m->n_data);
	note_put_u64(w, "signatures", m->n_sign);
	note_put_u64(w, "gone", m->n_gone);
	note_put_u64(w, "bytes", m->n_bytes);
	note_put_u64(w, "key-generation", m->generation);
	note_put_hex(w, "charter", m->charter, 32);
	note_put_u64(w, "trail-size", m->trail.size);
	note_put_hex(w, "trail-root", m->trail.root, 32);
	put_pack(w, "index", &m->index);
	put_pack(w, "packs", &m->pack_table);
}

static int body(const struct set_manifest *m, char **ret)
{
	struct bytes_w w = {0};

	note_begin(&w, "manifest", MANIFEST_VERSION);
	put_fields(&w, m);
	int err = note_end(&w, ret);
	bytes_w_free(&w);
	return err;
}

static bool list_fits(const char *list)
{
	size_t n = 1;

	for (const char *p = list; p && *p; p++)
		n += *p == ' ';
	return n <= SET_LIST_MAX;
}

int set_manifest_build(const struct set_manifest *m, const uint8_t sign_seed[32], char **ret_text)
{
	CLEANUP_FREE char *text = NULL;
	/* Sets are removed because this one takes their place: better none than one that nobody can read. */
	int err = list_fits(m->merged) && list_fits(m->stands_for) ? body(m, &text) : -E2BIG;

	return err ? err : note_sign_volume(text, m->volume_id, sign_seed, ret_text);
}

/* Ids separated by single blanks; "none" is no list. */
static int get_ids(const struct note *n, const char *key, char **ret)
{
	const char *v = note_get(n, key);
	const size_t len = v ? strlen(v) : 0;
	char id[SET_ID_MAX + 1];
	size_t count = 0;

	if (!v)
		return -EUCLEAN;
	if (!strcmp(v, "none"))
		return 0;
	for (size_t at = 0, next; at <= len; at = next + 1, count++) {
		next = at + strcspn(v + at, " ");
		if (next - at > SET_ID_MAX || count == SET_LIST_MAX)
			return -EUCLEAN;
		memcpy(id, v + at, next - at);
		id[next - at] = 0;
		if (!set_id_valid(id))
			return -EUCLEAN;
	}
	*ret = strdup(v);
	return *ret ? 0 : -ENOMEM;
}

static int get_lists(const struct note *n, struct set_manifest *m)
{
	int err = get_ids(n, "merged", &m->merged);

	if (err == 0)
		err = get_ids(n, "stands-for", &m->stands_for);
	return err ? err : !m->merged == !m->stands_for ? 0 : -EUCLEAN;
}

static bool in_list(const char *list, const char *id)
{
	size_t n = strlen(id);

	for (const char *p = list; p && n; p = strchr(p, ' ') ? strchr(p, ' ') + 1 : NULL)
		if (!strncmp(p, id, n) && (p[n] == ' ' || !p[n]))
			return true;
	return false;
}

bool set_stands_for(const struct set_manifest *m, const char *id)
{
	return !strcmp(m->id, id) || in_list(m->stands_for, id);
}

bool set_merged_from(const struct set_manifest *m, const char *id)
{
	return in_list(m->merged, id);
}

static int get_kind(const struct note *n, struct set_manifest *m)
{
	const char *kind = note_get(n, "kind");
	int err = note_get_text(n, "parent", m->parent, sizeof(m->parent));

	if (err || !kind || (strcmp(kind, "full") != 0 && strcmp(kind, "incremental") != 0))
		return -EUCLEAN;
	m->full = !strcmp(kind, "full");
	if (!strcmp(m->parent, "none"))
		memset(m->parent, 0, sizeof(m->parent));
	/* Full sets have no parent, the others have one. */
	return m->full == !*m->parent && (m->full || set_id_valid(m->parent)) ? 0 : -EUCLEAN;
}

static int get_fields(const struct note *n, struct set_manifest *m)
{
	const struct {
		const char *key;
		uint64_t *out;
	} numbers[] = {
	    {"timeline", &m->timeline},
	    {"from-transaction", &m->from_txn},
	    {"to-transaction", &m->to_txn},
	    {"next-id", &m->next_id},
	    {"next-link", &m->next_link},
	    {"nodes", &m->n_nodes},
	    {"names", &m->n_names},
	    {"data-records", &m->n_data},
	    {"signatures", &m->n_sign},
	    {"gone", &m->n_gone},
	    {"bytes", &m->n_bytes},
	    {"key-generation", &m->generation},
	    {"trail-size", &m->trail.size},
	};
	int err = get_kind(n, m);

	for (size_t i = 0; err == 0 && i < sizeof(numbers) / sizeof(*numbers); i++)
		err = note_get_u64(n, numbers[i].key, numbers[i].out);
	if (err == 0)
		err = note_get_text(n, "set", m->id, sizeof(m->id));
	if (err == 0)
		err = note_get_text(n, "tiers", m->tiers, sizeof(m->tiers));
	if (err == 0)
		err = note_get_time(n, "time", &m->time);
	if (err == 0)
		err = note_get_hex(n, "volume", m->volume_id, 16);
	if (err == 0)
		err = note_get_hex(n, "charter", m->charter, 32);
	if (err == 0)
		err = note_get_hex(n, "trail-root", m->trail.root, 32);
	if (err == 0)
		err = get_pack(note_get(n, "index"), &m->index);
	if (err == 0)
		err = get_pack(note_get(n, "packs"), &m->pack_table);
	return err ? err : get_lists(n, m);
}

/* Written anew it must be the same text: nothing stood there that was not understood. */
static int check_form(const char *text, const struct set_manifest *m)
{
	CLEANUP_FREE char *again = NULL;
	int err = body(m, &again);

	if (err)
		return err == -EINVAL ? -EUCLEAN : err;
	return note_body_is(text, again) ? 0 : -EUCLEAN;
}

int set_manifest_parse(const char *text, const uint8_t volume_id[16], const uint8_t sign_pk[32],
		       struct set_manifest *ret)
{
	CLEANUP_NOTE struct note n = {0};
	struct set_manifest m = {0};
	int err = note_open_volume(text, volume_id, sign_pk, "manifest", MANIFEST_VERSION, &n);

	if (err == 0)
		err = get_fields(&n, &m);
	if (err == 0 && (memcmp(m.volume_id, volume_id, 16) != 0 || !set_id_valid(m.id)))
		err = -EUCLEAN;
	if (err == 0)
		err = check_form(text, &m);
	if (err == 0)
		*ret = m;
	else
		set_manifest_free(&m);
	return err;
}

/* --- the table of packs --- */

int set_pack_table_encode(const struct set_manifest *m, struct bytes_w *out)
{
	if (m->n_packs > PACKS_MAX)
		return -EFBIG;
	for (size_t i = 0; i < m->n_packs; i++) {
		bytes_w_u64(out, m->packs[i].len);
		bytes_w_raw(out, m->packs[i].digest, 32);
		bytes_w_raw(out, m->packs[i].sum, SET_CHECKSUM_LEN);
	}
	return out->err;
}

/* A set without packs has an object of no bytes: nothing changed. */
int set_pack_table_read(struct repo *r, struct set_manifest *m)
{
	CLEANUP_FREE uint8_t *p = NULL;
	char name[SET_NAME_LEN];
	uint8_t digest[32];
	size_t len;

	set_object(m->id, "packs", name);
	int err = set_damage(repo_get(r, name, PACKS_MAX * TABLE_ENTRY_LEN, &p, &len));
	if (err)
		return err;
	kdf_hash(digest, p, len);
	if (len != m->pack_table.len || len % TABLE_ENTRY_LEN ||
	    memcmp(digest, m->pack_table.digest, 32) != 0)
		return -EBADMSG;
	struct set_pack *packs = calloc(len / TABLE_ENTRY_LEN + 1, sizeof(*packs));
	if (!packs)
		return -ENOMEM;
	for (size_t i = 0; i < len / TABLE_ENTRY_LEN; i++) {
		const uint8_t *e = p + i * TABLE_ENTRY_LEN;
		packs[i].len = bytes_get64(e);
		memcpy(packs[i].digest, e + 8, 32);
		memcpy(packs[i].sum, e + 40, SET_CHECKSUM_LEN);
	}
	free(m->packs);
	m->packs = packs;
	m->n_packs = len / TABLE_ENTRY_LEN;
	return 0;
}

static int object_present(struct repo *r, const char *name, uint64_t len)
{
	uint64_t size;
	int err = set_damage(repo_size(r, name, &size));

	return err == 0 && size != len ? -EBADMSG : err;
}

int set_objects_present(struct repo *r, const struct set_manifest *m)
{
	char name[SET_NAME_LEN];
	uint64_t size;

	/* What repair could not bring back is as good as not there. */
	set_object(m->id, SET_DAMAGED, name);
	if (repo_size(r, name, &size) == 0)
		return -EBADMSG;
	set_object(m->id, "index", name);
	int err = object_present(r, name, m->index.len);
	for (size_t i = 0; err == 0 && i < m->n_packs; i++) {
		set_object_pack(m->id, (uint32_t)i, name);
		err = object_present(r, name, m->packs[i].len);
	}
	return err;
}

void set_manifest_free(struct set_manifest *m)
{
	free(m->packs);
	free(m->merged);
	free(m->stands_for);
	m->packs = NULL;
	m->merged = m->stands_for = NULL;
	m->n_packs = 0;
}
