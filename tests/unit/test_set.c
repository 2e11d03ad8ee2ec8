/*
 * The formats of a set: records, index, pack table, manifest, catalogue; and the writer that makes
 * them.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "backup/repo_internal.h"
#include "backup/set_body.h"
#include "backup/set_writer.h"
#include "core/note.h"
#include "tests/unit/backup_fixture.h"

#define BOX_OVERHEAD 40

/* ---- records ---- */

static struct set_entry data_entry(void)
{
	return (struct set_entry){
	    .kind = SET_DATA, .flags = SET_OVERLAY, .id = 100, .range = 3, .version = 55};
}

static void seal(struct backup_fixture *b, struct set_entry *e, const void *body, size_t len,
		 struct bytes_w *out)
{
	bytes_w_reset(out);
	assert_int_equal(
	    set_record_seal(keys(b), e, e->kind == SET_NAME ? e->child : 54, body, len, out), 0);
	assert_int_equal(e->len, out->len);
}

static int open_bytes(struct backup_fixture *b, const struct set_entry *e, const void *p,
		      size_t len)
{
	CLEANUP_BYTES struct bytes_w out = {0};
	int err = set_record_open(keys(b), e, p, len, &out);

	if (err)
		assert_int_equal(out.len, 0); /* nothing of what failed is handed on */
	return err;
}

/* Bodies of every size come back, compressed or not; the length that shows is one of few. */
static void records_come_back(void **state)
{
	static const size_t sizes[] = {0, 1, 5, 31, 4096, 70000, SET_RANGE + 600, SET_RECORD_MAX};
	struct backup_fixture *b = *state;
	CLEANUP_BYTES struct bytes_w stored = {0};

	for (size_t i = 0; i < 2 * sizeof(sizes) / sizeof(*sizes); i++) {
		CLEANUP_BYTES struct bytes_w out = {0};
		size_t len = sizes[i / 2];
		CLEANUP_FREE uint8_t *p = noise(i, len);
		struct set_entry e = data_entry();

		if (i % 2)
			memset(p, 'a', len);
		seal(b, &e, p, len, &stored);
		assert_true(stored.len <= set_record_room(len));
		assert_true(stored.len < SET_FRAME_MAX);
		assert_int_equal(set_record_open(keys(b), &e, stored.buf, stored.len, &out), 0);
		assert_int_equal(out.len, len);
		if (len)
			assert_memory_equal(out.buf, p, len);
		if (i % 2 && len > 4000)
			assert_true(stored.len < 1000);
	}
	CLEANUP_FREE uint8_t *p = calloc(1, SET_RECORD_MAX + 1);
	struct set_entry e = data_entry();
	assert_int_equal(set_record_seal(keys(b), &e, 0, p, SET_RECORD_MAX + 1, &stored), -E2BIG);
}

/* Promise 1: lengths are padded (PADME): of 5000 neighbouring lengths around 100 kB no more than a
 * handful show. */
static void lengths_are_few(void **state)
{
	(void)state;
	size_t last = 0, n = 0;

	for (size_t len = 100000; len < 105000; len++) {
		size_t room = set_record_room(len);

		assert_true(room >= len + SET_FRAME_LEN + BOX_OVERHEAD &&
			    room < len + len / 8 + 200);
		n += room != last;
		last = room;
	}
	assert_true(n <= 4);
	/* A whole range that does not compress is padded by no more than its head. */
	assert_true(set_record_room(SET_RANGE + 4) <= SET_RANGE + SET_FRAME_LEN + BOX_OVERHEAD + 64);
	for (size_t len = SET_RANGE - 100; len < SET_RANGE + 100; len++)
		assert_true(set_record_room(len) <= set_record_room(len + 1));
}

/* Promise 2: no record opens that differs in a bit or is cut short. */
static void changed_records(void **state)
{
	struct backup_fixture *b = *state;
	CLEANUP_BYTES struct bytes_w stored = {0};
	struct set_entry e = data_entry();

	seal(b, &e, "some content", 12, &stored);
	assert_int_equal(open_bytes(b, &e, stored.buf, stored.len), 0);
	for (size_t i = 0; i < stored.len * 8; i++) {
		stored.buf[i / 8] ^= (uint8_t)(1u << i % 8);
		assert_int_equal(open_bytes(b, &e, stored.buf, stored.len), -EBADMSG);
		stored.buf[i / 8] ^= (uint8_t)(1u << i % 8);
	}
	for (size_t len = 0; len < stored.len; len++) {
		struct set_entry shorter = e;
		shorter.len = (uint32_t)len;
		assert_int_equal(open_bytes(b, &shorter, stored.buf, len), -EBADMSG);
	}
}

/*
 * Promise 2: no authentic record stands in for another: of another file, name, kind, version, range
 * or basis, even when its frame is rewritten to say so.
 */
static void records_have_their_place(void **state)
{
	struct backup_fixture *b = *state;
	CLEANUP_BYTES struct bytes_w stored = {0}, frame = {0};
	struct set_entry e = {.kind = SET_NAME, .id = 100, .link = 7, .child = 101, .version = 55};
	struct set_entry other[] = {e, e, e, e, e, e};

	seal(b, &e, "some content", 12, &stored);
	for (size_t i = 0; i < 6; i++)
		other[i].len = e.len;
	other[0].id = 102;
	other[1].link = 8;
	other[2].child = 102;
	other[3].version = 54;
	other[4].flags = SET_OVERLAY;
	other[5] = (struct set_entry){
	    .kind = SET_DATA, .id = 100, .range = 7, .version = 55, .len = e.len};
	for (size_t i = 0; i < 6; i++) {
		CLEANUP_BYTES struct bytes_w moved = {0};
		struct set_entry again = other[i];

		assert_int_equal(open_bytes(b, &other[i], stored.buf, stored.len), -EBADMSG);
		seal(b, &again, "some content", 12, &frame);
		assert_int_equal(again.len, e.len);
		bytes_w_raw(&moved, frame.buf, SET_FRAME_LEN);
		bytes_w_raw(&moved, stored.buf + SET_FRAME_LEN, stored.len - SET_FRAME_LEN);
		assert_int_equal(open_bytes(b, &other[i], moved.buf, moved.len), -EBADMSG);
	}
	/* The basis is the frame's own word, and sealed with it. */
	struct set_entry d = data_entry();
	seal(b, &d, "some content", 12, &stored);
	bytes_put64(stored.buf + 40, 53);
	assert_int_equal(open_bytes(b, &d, stored.buf, stored.len), -EBADMSG);
}

/* A box opened by hand, from a key that was derived by hand. */
static void open_by_hand(struct backup_fixture *b, const uint8_t key[KDF_KEY_LEN],
			 const uint8_t *ad, size_t ad_len, const uint8_t *box, size_t box_len,
			 uint8_t *plain)
{
	assert_int_equal(suite_open(keyring_suite(keys(b)), key, ad, ad_len, box, box_len, plain),
			 0);
}

/*
 * The format as docs/format.md has it, without the code that writes it: frame, associated data,
 * keys, plaintext. A name's key holds both file keys, so that each of them is needed.
 */
static void record_format(void **state)
{
	struct backup_fixture *b = *state;
	CLEANUP_BYTES struct bytes_w stored = {0};
	struct set_entry e = {
	    .kind = SET_NAME, .id = 0x100, .link = 0x7, .child = 0x101, .version = 0x55};
	struct set_entry d = data_entry();
	uint8_t parent[32], child[32], key[32], ad[13 + 16 + 48], plain[64], body[32] = "name";
	static const uint8_t frame[48] = {
	    'C',  'F', 'R', '1', 2, 0, 0, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0,
	    0x55, 0,   0,   0,   0, 0, 0, 0, 7,  0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0};

	seal(b, &e, body, sizeof(body), &stored); /* 5 + 32 bytes, padded to 40 */
	assert_int_equal(stored.len, 48 + 24 + 40 + 16);
	assert_memory_equal(stored.buf, frame, 48);
	assert_int_equal(keyring_file_key(keys(b), KEYRING_BACKUP, e.id, parent), 0);
	assert_int_equal(keyring_file_key(keys(b), KEYRING_BACKUP, e.child, child), 0);
	kdf_derive(key, parent, "name", child, 32);
	memcpy(ad, "coffer-record", 13);
	memcpy(ad + 13, keyring_volume_id(keys(b)), 16);
	memcpy(ad + 29, stored.buf, 48);
	open_by_hand(b, key, ad, sizeof(ad), stored.buf + 48, stored.len - 48, plain);
	assert_memory_equal(plain, ((uint8_t[]){0, 32, 0, 0, 0}), 5);
	assert_memory_equal(plain + 5, body, 32);
	assert_memory_equal(plain + 37, "\0\0\0", 3);

	seal(b, &d, "abc", 3, &stored);
	assert_int_equal(bytes_get64(stored.buf + 32), d.range);
	assert_int_equal(bytes_get64(stored.buf + 40), 54);
	assert_int_equal(keyring_file_key(keys(b), KEYRING_BACKUP, d.id, parent), 0);
	kdf_derive(key, parent, "pack", NULL, 0);
	memcpy(ad + 29, stored.buf, 48);
	open_by_hand(b, key, ad, sizeof(ad), stored.buf + 48, stored.len - 48, plain);
	assert_memory_equal(plain + 5, "abc", 3);
}

/* Promise 5: the end of either side of a name ends the name; nothing new can be sealed under what
 * is gone. */
static void names_need_both(void **state)
{
	struct backup_fixture *b = *state;
	CLEANUP_BYTES struct bytes_w stored = {0}, out = {0};
	struct set_entry by_child = {.kind = SET_NAME, .id = 100, .link = 7, .child = 101},
			 by_parent = by_child;

	by_parent.id = 102;
	by_parent.child = 103;
	seal(b, &by_parent, "name", 4, &stored);
	puncture(b, KEYRING_MASK(KEYRING_BACKUP), 102, "D-1");
	assert_int_equal(open_bytes(b, &by_parent, stored.buf, stored.len), -EKEYREVOKED);
	seal(b, &by_child, "name", 4, &stored);
	puncture(b, KEYRING_MASK(KEYRING_LIVE), 101, "D-2");
	assert_int_equal(open_bytes(b, &by_child, stored.buf, stored.len), 0);
	puncture(b, KEYRING_MASK(KEYRING_BACKUP), 101, "D-3");
	assert_int_equal(open_bytes(b, &by_child, stored.buf, stored.len), -EKEYREVOKED);
	assert_int_equal(set_record_seal(keys(b), &by_child, 101, "name", 4, &out), -EKEYREVOKED);
	assert_int_equal(out.len, 0);
}

/* ---- bodies ---- */

/* Every field of a node comes back; every shorter text of one is refused, and so is what
 * contradicts itself. */
static void nodes(void **state)
{
	static const uint8_t xattrs[] = {6, 'u', 's', 'e', 'r', '.', 'a', 0, 2, 0, 0, 0, 'v', 'w'};
	CLEANUP_BYTES struct bytes_w w = {0};
	const struct set_node n = {.attr = {.mode = S_IFREG | 04755,
					    .nlink = 3,
					    .uid = 70000,
					    .gid = 80000,
					    .size = 4,
					    .atime = {-1, 999999999},
					    .mtime = {1, 2},
					    .ctime = {3, 4},
					    .btime = {5, 6}},
				   .inline_data = (const uint8_t *)"data",
				   .inline_len = 4,
				   .xattrs = xattrs,
				   .xattrs_len = sizeof(xattrs)};
	struct set_node got, bad;

	(void)state;
	set_node_encode(&n, &w);
	assert_int_equal(set_node_decode(w.buf, w.len, &got), 0);
	assert_memory_equal(&got.attr, &n.attr, sizeof(n.attr));
	assert_memory_equal(got.inline_data, "data", 4);
	assert_int_equal(got.xattrs_len, sizeof(xattrs));
	assert_memory_equal(got.xattrs, xattrs, sizeof(xattrs));
	for (size_t len = 0; len < w.len; len++)
		assert_int_equal(set_node_decode(w.buf, len, &got), -EUCLEAN);

	for (unsigned i = 0; i < 8; i++) {
		bad = n;
		switch (i) {
		case 0:
			bad.attr.mode = 0755;
			break;
		case 1:
			bad.attr.size = 5;
			break;
		case 2:
			bad.in_blocks = true;
			break;
		case 3:
			bad.attr.mtime.tv_nsec = 1000000000;
			break;
		case 4:
			bad.xattrs_len = sizeof(xattrs) - 1;
			break;
		case 5:
			bad.attr.mode = S_IFDIR | 0755;
			break;
		case 6:
			bad.attr.mode = S_IFLNK | 0777;
			bad.inline_data = (const uint8_t *)"a\0bc";
			break;
		case 7:
			bad.n_mapped = 1;
			break;
		}
		bytes_w_reset(&w);
		set_node_encode(&bad, &w);
		assert_int_equal(set_node_decode(w.buf, w.len, &got), -EUCLEAN);
	}
}

/* Names come back padded; what could not be a name is refused. */
static void names(void **state)
{
	static const struct {
		const char *p;
		size_t len;
	} bad[] = {{"", 0},      {"\0", 1},  {".\0", 2}, {"..\0", 3},
		   {"a/b\0", 4}, {"/\0", 2}, {"abc", 3}, {"a\0b\0", 4}};
	CLEANUP_BYTES struct bytes_w w = {0};
	char longest[VOLUME_NAME_MAX + 2], got[VOLUME_NAME_MAX + 1];

	(void)state;
	memset(longest, 'x', VOLUME_NAME_MAX + 1);
	longest[VOLUME_NAME_MAX] = 0;
	set_name_encode(longest, &w);
	assert_int_equal(w.len, 256);
	assert_int_equal(set_name_decode(w.buf, w.len, got), 0);
	assert_string_equal(got, longest);
	bytes_w_reset(&w);
	longest[VOLUME_NAME_MAX] = 'x';
	longest[VOLUME_NAME_MAX + 1] = 0;
	set_name_encode(longest, &w);
	assert_int_equal(set_name_decode(w.buf, w.len, got), -EUCLEAN);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(set_name_decode(bad[i].p, bad[i].len, got), -EUCLEAN);
}

/* Runs cover the range exactly, and bring exactly their blocks. */
static void runs(void **state)
{
	CLEANUP_BYTES struct bytes_w w = {0};
	uint8_t what[SET_RANGE_BLOCKS], got[SET_RANGE_BLOCKS];
	const uint8_t *bytes;
	size_t n, head;

	(void)state;
	for (size_t i = 0; i < SET_RANGE_BLOCKS; i++)
		what[i] = (uint8_t)(i * i % 3);
	what[SET_RANGE_BLOCKS - 1] = SET_BLOCK_DATA;
	set_data_encode_runs(what, &w);
	head = w.len;
	for (size_t i = 0; i < SET_RANGE_BLOCKS; i++)
		if (what[i] == SET_BLOCK_DATA)
			memset(bytes_w_room(&w, MAP_BLOCK), (int)i, MAP_BLOCK);
	assert_int_equal(set_data_decode(w.buf, w.len, got, &bytes, &n), 0);
	assert_memory_equal(got, what, sizeof(what));
	assert_ptr_equal(bytes, w.buf + head);
	assert_int_equal(n * MAP_BLOCK, w.len - head);
	assert_int_equal(set_data_decode(w.buf, w.len - 1, got, &bytes, &n), -EUCLEAN);
	bytes_w_u8(&w, 0);
	assert_int_equal(set_data_decode(w.buf, w.len, got, &bytes, &n), -EUCLEAN);
	static const uint8_t bad[][4] = {
	    {1, 0x81, 2, 0}, {3, 0x80, 2, 0}, {1, 0, 1, 0}, {1, 0xff, 1, 0}};
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(set_data_decode(bad[i], 3, got, &bytes, &n), -EUCLEAN);
	assert_int_equal(set_data_decode((const uint8_t[]){1, 0x80, 2}, 3, got, &bytes, &n), 0);
}

/* ---- what an index holds ---- */

struct collected {
	struct set_entry *e;
	size_t n, cap;
};

static int collect(void *arg, const struct set_entry *e)
{
	struct collected *c = arg;

	if (c->n == c->cap)
		return -ENOSPC;
	c->e[c->n++] = *e;
	return 0;
}

/* ---- manifest ---- */

static const uint8_t volume[16] = {0xab, 0xcd}, seed[32] = {0x11};

static struct set_manifest sample(const char *id)
{
	struct set_manifest m = {.full = true,
				 .tiers = "daily weekly",
				 .timeline = 17,
				 .time = 1795857300,
				 .from_txn = 0,
				 .to_txn = 40,
				 .next_id = 99,
				 .next_link = 98,
				 .n_nodes = 1,
				 .n_names = 2,
				 .n_data = 3,
				 .n_gone = 4,
				 .n_bytes = 5,
				 .generation = 6,
				 .charter = {7},
				 .trail = {8, {9}},
				 .index = {10, {11}, {12}},
				 .pack_table = {13, {14}, {15}}};

	strcpy(m.id, id);
	memcpy(m.volume_id, volume, 16);
	return m;
}

static int parse(const char *text, struct set_manifest *ret)
{
	uint8_t pk[32];

	identity_sign_pk_from_seed(seed, pk);
	return set_manifest_parse(text, volume, pk, ret);
}

/* n ids, each with a blank behind it but the last. */
static char *ids_list(size_t n)
{
	char *list = calloc(n, SET_ID_MAX + 2), *at = list;

	assert_non_null(list);
	for (size_t i = 0; i < n; i++)
		at += sprintf(at, "%s20261127T091500Z-%08zx", i ? " " : "", i);
	return list;
}

/* Sets go because a merged one takes their place: one that nobody could read is not written. */
static void manifest_lists_fit(void **state)
{
	struct set_manifest m = sample("20261128T091500Z-1a2b3c4d"), got;
	CLEANUP_FREE char *most = ids_list(SET_LIST_MAX), *more = ids_list(SET_LIST_MAX + 1), *text = NULL;

	(void)state;
	m.merged = most;
	m.stands_for = most;
	assert_int_equal(set_manifest_build(&m, seed, &text), 0);
	assert_int_equal(parse(text, &got), 0);
	assert_string_equal(got.merged, most);
	set_manifest_free(&got);
	free(STEAL_PTR(text));
	m.merged = more;
	assert_int_equal(set_manifest_build(&m, seed, &text), -E2BIG);
	m.merged = most;
	m.stands_for = more;
	assert_int_equal(set_manifest_build(&m, seed, &text), -E2BIG);
}

/* What was stated comes back; nobody else's signature, volume or changed byte is taken. */
static void manifest_comes_back(void **state)
{
	struct set_manifest m = sample("20261128T091500Z-1a2b3c4d"), got;
	CLEANUP_FREE char *text = NULL;
	uint8_t pk[32], other_volume[16] = {1};

	(void)state;
	identity_sign_pk_from_seed(seed, pk);
	assert_int_equal(set_manifest_build(&m, seed, &text), 0);
	assert_int_equal(parse(text, &got), 0);
	assert_memory_equal(&got, &m, sizeof(m));
	assert_int_equal(set_manifest_parse(text, other_volume, pk, &got), -EBADMSG);
	assert_int_equal(set_manifest_parse(text, volume, seed, &got), -EBADMSG);
	for (size_t i = 0; text[i]; i++) {
		text[i] ^= 2;
		assert_int_not_equal(parse(text, &got), 0);
		text[i] ^= 2;
	}
	free(STEAL_PTR(text));
	char merged[] = "20261127T091500Z-1a2b3c4d 20261127T101500Z-1a2b3c4e", stands_for[] = "20261127T101500Z-1a2b3c4e";
	m.merged = merged;
	m.stands_for = stands_for;
	assert_int_equal(set_manifest_build(&m, seed, &text), 0);
	assert_int_equal(parse(text, &got), 0);
	assert_string_equal(got.merged, merged);
	assert_string_equal(got.stands_for, stands_for);
	assert_true(set_merged_from(&got, "20261127T091500Z-1a2b3c4d"));
	assert_false(set_merged_from(&got, "20261127T091500Z-1a2b3c4"));
	assert_false(set_merged_from(&got, ""));
	assert_true(set_stands_for(&got, got.id) && set_stands_for(&got, stands_for));
	assert_false(set_stands_for(&got, "20261127T091500Z-1a2b3c4d"));
	set_manifest_free(&got);
	m.merged = m.stands_for = NULL;
	free(STEAL_PTR(text));
	m.full = false;
	strcpy(m.parent, "20261127T091500Z-1a2b3c4d");
	m.from_txn = 30;
	assert_int_equal(set_manifest_build(&m, seed, &text), 0);
	assert_int_equal(parse(text, &got), 0);
	assert_memory_equal(&got, &m, sizeof(m));
}

/* Replaces the first occurrence of a in the signed text, and signs anew. */
static char *resigned(const char *text, const char *a, const char *b)
{
	CLEANUP_FREE char *body = NULL;
	char key_name[NOTE_KEY_NAME_MAX + 1], *ret = NULL;
	const char *at = strstr(text, a);
	size_t len;

	assert_non_null(at);
	assert_int_equal(note_split(text, &len), 0);
	assert_int_not_equal(asprintf(&body, "%.*s%s%.*s", (int)(at - text), text, b,
				      (int)(len - (size_t)(at - text) - strlen(a)), at + strlen(a)),
			     -1);
	note_volume_key_name(volume, key_name);
	assert_int_equal(note_sign_seed(body, key_name, seed, &ret), 0);
	return ret;
}

/* Even the volume's own signature does not make good what is not exactly the form: one state has
 * one text. */
static void manifest_form(void **state)
{
	static const struct {
		const char *from, *to;
		int err;
	} cases[] = {
	    {"coffer-manifest/1", "coffer-manifest/2", -EPROTONOSUPPORT},
	    {"coffer-manifest/1", "coffer-journal/1", -EUCLEAN},
	    {"kind: full", "kind: other", -EUCLEAN},
	    {"kind: full", "kind: incremental", -EUCLEAN},                   /* without a parent */
	    {"parent: none", "parent: 20261127T091500Z-1a2b3c4d", -EUCLEAN}, /* full with one */
	    {"parent: none", "parent: ../../etc", -EUCLEAN},
	    {"set: 20261128T091500Z-1a2b3c4d", "set: ../20261128T091500Z-1a2b", -EUCLEAN},
	    {"set: 20261128T091500Z-1a2b3c4d", "set: 20261128T091500Z-1A2B3C4D", -EUCLEAN},
	    {"timeline: 17", "timeline: 017", -EUCLEAN},
	    {"index: 10 ", "index: +10 ", -EUCLEAN},
	    {"index: 10 ", "index: 10  ", -EUCLEAN},
	    {"nodes: 1\n", "nodes: 1\nnodes: 1\n", -EUCLEAN},
	    {"nodes: 1\n", "", -EUCLEAN},
	    {"nodes: 1\nnames: 2\n", "names: 2\nnodes: 1\n", -EUCLEAN},
	    {"gone: 4\n", "gone: 4\nfurther: line\n", -EUCLEAN},
	    {"volume: abcd", "volume: abce", -EUCLEAN},
	    {"gone: 4\n", "gone: 5\n", 0},
	};
	struct set_manifest m = sample("20261128T091500Z-1a2b3c4d"), got;
	CLEANUP_FREE char *text = NULL;

	(void)state;
	assert_int_equal(set_manifest_build(&m, seed, &text), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		CLEANUP_FREE char *changed = resigned(text, cases[i].from, cases[i].to);
		assert_int_equal(parse(changed, &got), cases[i].err);
	}
}

/* ---- catalogue ---- */

/* A set of no packs in the repository, with what the caller changes. */
static void put_set(struct backup_fixture *b, const struct set_manifest *m)
{
	CLEANUP_FREE char *text = NULL;
	char name[SET_NAME_LEN];
	struct set_manifest copy = *m;

	memcpy(copy.volume_id, keyring_volume_id(keys(b)), 16);
	copy.pack_table = (struct set_pack){0};
	kdf_hash(copy.pack_table.digest, "", 0);
	assert_int_equal(set_manifest_build(&copy, keyring_sign_seed(keys(b)), &text), 0);
	set_object(m->id, "packs", name);
	assert_int_equal(repo_put(b->repo, name, NULL, 0), 0);
	set_object(m->id, "manifest", name);
	assert_int_equal(repo_put(b->repo, name, text, strlen(text)), 0);
}

static struct set_manifest dated(const char *id, uint64_t to_txn, const char *parent,
				 uint64_t from_txn)
{
	struct set_manifest m = sample(id);

	m.to_txn = to_txn;
	m.from_txn = from_txn;
	m.time = 1000 + (int64_t)to_txn;
	m.full = !*parent;
	strcpy(m.parent, parent);
	return m;
}

#define SET_A "20261101T000000Z-aaaaaaaa"
#define SET_B "20261102T000000Z-bbbbbbbb"
#define SET_C "20261102T000000Z-cccccccc"

/* Sets are found by id, by what an id begins with, as the latest, and by time. */
static void finds_sets(void **state)
{
	struct backup_fixture *b = *state;
	struct set_manifest a = dated(SET_A, 30, "", 0), m = dated(SET_B, 10, "", 0),
			    n = dated(SET_C, 20, "", 0);
	struct set_catalog c;
	size_t i;

	load(b, &c);
	assert_int_equal(set_catalog_find(&c, "latest", 0, &i, &b->d), -ENOENT);
	assert_int_equal(b->d.id, DIAG_SET_MISSING);
	set_catalog_free(&c);
	put_set(b, &a);
	put_set(b, &m);
	put_set(b, &n);
	load(b, &c);
	assert_int_equal(c.n_sets, 3);
	assert_string_equal(c.sets[0].id, SET_B); /* by transaction */
	assert_string_equal(c.sets[2].id, SET_A);
	assert_int_equal(set_catalog_find(&c, NULL, 0, &i, &b->d), 0);
	assert_int_equal(i, 2);
	assert_int_equal(set_catalog_find(&c, "latest", 0, &i, &b->d), 0);
	assert_int_equal(i, 2);
	assert_int_equal(set_catalog_find(&c, SET_C, 0, &i, &b->d), 0);
	assert_int_equal(i, 1);
	assert_int_equal(set_catalog_find(&c, "20261101", 0, &i, &b->d), 0);
	assert_int_equal(i, 2);
	assert_int_equal(set_catalog_find(&c, "20261102", 0, &i, &b->d), -EINVAL);
	assert_int_equal(set_catalog_find(&c, "20261103", 0, &i, &b->d), -ENOENT);
	assert_int_equal(set_catalog_find(&c, NULL, 1020, &i, &b->d), 0);
	assert_int_equal(i, 1);
	assert_int_equal(set_catalog_find(&c, NULL, 1029, &i, &b->d), 0);
	assert_int_equal(i, 1);
	assert_int_equal(set_catalog_find(&c, NULL, 1009, &i, &b->d), -ENOENT);
	set_catalog_free(&c);
}

static int chain_of(struct backup_fixture *b, const char *id, size_t *ret_n)
{
	CLEANUP_FREE size_t *chain = NULL;
	struct set_catalog c;
	size_t i;

	load(b, &c);
	int err = set_catalog_find(&c, id, 0, &i, &b->d);
	if (err == 0)
		err = set_catalog_chain(&c, i, &chain, ret_n, &b->d);
	if (err == 0)
		assert_true(c.sets[chain[0]].full && chain[*ret_n - 1] == i);
	set_catalog_free(&c);
	return err;
}

/* A chain is whole or none: each link continues exactly where its parent ended, on the same
 * timeline. */
static void chains(void **state)
{
	struct backup_fixture *b = *state;
	struct set_manifest a = dated(SET_A, 10, "", 0), m = dated(SET_B, 20, SET_A, 10),
			    n = dated(SET_C, 30, SET_B, 20);
	char name[SET_NAME_LEN], path[PATH_MAX];
	size_t count;

	put_set(b, &a);
	put_set(b, &m);
	put_set(b, &n);
	assert_int_equal(chain_of(b, SET_C, &count), 0);
	assert_int_equal(count, 3);
	assert_int_equal(chain_of(b, SET_A, &count), 0);
	assert_int_equal(count, 1);

	m.from_txn = 9; /* a gap */
	put_set(b, &m);
	assert_int_equal(chain_of(b, SET_C, &count), -ENOENT);
	assert_int_equal(b->d.id, DIAG_SET_MISSING);
	m.from_txn = 10;
	m.timeline++;
	put_set(b, &m);
	assert_int_equal(chain_of(b, SET_C, &count), -ENOENT);
	m = dated(SET_B, 20, SET_C, 30); /* a circle */
	m.from_txn = m.to_txn = n.from_txn = n.to_txn = 20;
	put_set(b, &m);
	put_set(b, &n);
	assert_int_equal(chain_of(b, SET_C, &count), -EBADMSG);
	assert_int_equal(b->d.id, DIAG_SET_DAMAGED);

	m = dated(SET_B, 20, SET_A, 10);
	put_set(b, &m);
	object_path(b, SET_A, "manifest", path);
	flip_raw(path, 40, 1);
	assert_int_equal(chain_of(b, SET_B, &count), -EBADMSG);
	set_object(SET_A, "manifest", name);
	assert_int_equal(repo_delete(b->repo, name), 0);
	assert_int_equal(chain_of(b, SET_B, &count), -ENOENT);
	assert_int_equal(b->d.id, DIAG_SET_MISSING);
}

/* Promise 2: a manifest in another set's place, one with a tail behind a zero, a changed pack
 * table: damaged, named, and no set. */
static void damaged_sets(void **state)
{
	struct backup_fixture *b = *state;
	struct set_manifest a = dated(SET_A, 10, "", 0);
	CLEANUP_FREE uint8_t *p = NULL;
	struct set_catalog c;
	char path[PATH_MAX], name[SET_NAME_LEN];
	size_t i;

	put_set(b, &a);
	object_path(b, SET_A, "manifest", path);
	size_t len = read_raw(path, &p);
	set_object(SET_B, "manifest", name);
	assert_int_equal(repo_put(b->repo, name, p, len), 0);
	load(b, &c);
	assert_int_equal(c.n_sets, 1);
	assert_int_equal(c.n_damaged, 1);
	assert_string_equal(c.damaged[0], SET_B);
	assert_int_equal(set_catalog_find(&c, SET_B, 0, &i, &b->d), -EBADMSG);
	assert_int_equal(b->d.id, DIAG_SET_DAMAGED);
	set_catalog_free(&c);

	write_raw(path, p, len + 1);
	load(b, &c);
	assert_int_equal(c.n_damaged, 2);
	set_catalog_free(&c);
	write_raw(path, p, len);

	object_path(b, SET_A, "packs", path);
	write_raw(path, "0123456789012345678901234567890123456789012345678901234", 56);
	load(b, &c);
	assert_int_equal(c.n_sets, 0);
	assert_int_equal(c.n_damaged, 2);
	set_catalog_free(&c);
	assert_int_equal(unlink(path), 0);
	load(b, &c);
	assert_int_equal(c.n_damaged, 2);
	set_catalog_free(&c);
}

/* ---- writer ---- */

static struct set_writer *begin(struct backup_fixture *b)
{
	struct set_manifest m = sample(SET_A);
	struct set_writer *w = NULL;

	memcpy(m.volume_id, keyring_volume_id(keys(b)), 16);
	assert_int_equal(set_writer_new(b->repo, keys(b), &m, &w), 0);
	return w;
}

static void put_noise(struct set_writer *w, uint64_t i, size_t len)
{
	CLEANUP_FREE uint8_t *p = noise(i, len);
	struct set_entry e = {.kind = SET_DATA, .id = 100 + i};

	assert_int_equal(set_writer_record(w, &e, 0, p, len), 0);
}

/* Packs stay within their size, and every record is found where the index says. */
static void packs_are_bounded(void **state)
{
	struct backup_fixture *b = *state;
	struct set_writer *w = begin(b);
	struct set_manifest m;
	CLEANUP_FREE struct set_entry *e = calloc(40, sizeof(*e));
	struct collected c = {.e = e, .cap = 40};

	for (uint64_t i = 0; i < 40; i++)
		put_noise(w, i, SET_RANGE + 3);
	assert_int_equal(set_writer_finish(w, keyring_sign_seed(keys(b)), &m), 0);
	set_writer_free(w);
	assert_int_equal(m.n_packs, 3);
	for (size_t i = 0; i < m.n_packs; i++)
		assert_true(m.packs[i].len <= SET_PACK_MAX);
	assert_int_equal(set_index_read(b->repo, keys(b), &m, collect, &c, &b->d), 0);
	assert_int_equal(c.n, 40);
	for (size_t i = 0; i < 40; i++) {
		CLEANUP_BYTES struct bytes_w out = {0};
		CLEANUP_FREE uint8_t *p = noise(i, SET_RANGE + 3);
		assert_int_equal(set_record_read(b->repo, keys(b), &m, &e[i], &out), 0);
		assert_memory_equal(out.buf, p, out.len);
	}
	set_manifest_free(&m);
}

/* A repository that does not keep what it is given, from the n-th object on. */
static const struct repo_ops *honest;
static unsigned n_honest;

static int forgetful_put(void *self, const char *name, const void *p, size_t len, bool exclusive)
{
	CLEANUP_FREE uint8_t *copy = malloc(len + 1);

	if (n_honest) {
		n_honest--;
		return honest->put(self, name, p, len, exclusive);
	}
	memcpy(copy, p, len);
	if (len)
		copy[len / 2] ^= 1;
	return honest->put(self, name, copy, len, exclusive);
}

/* A set counts only when the repository gives back what it was given: pack, index and pack table
 * are read again. */
static void read_back(void **state)
{
	struct backup_fixture *b = *state;
	struct set_manifest m;
	struct repo_ops lying = *b->repo->ops;

	honest = b->repo->ops;
	lying.put = forgetful_put;
	for (unsigned i = 1; i <= 3; i++) { /* after the mark: the pack, the index, the table */
		n_honest = i;
		b->repo->ops = &lying;
		struct set_writer *w = begin(b);
		put_noise(w, 1, 5000);
		assert_int_equal(set_writer_finish(w, keyring_sign_seed(keys(b)), &m), -EIO);
		set_writer_abort(w);
		b->repo->ops = honest;
		struct set_catalog c;
		load(b, &c);
		assert_int_equal(c.n_sets + c.n_damaged, 0);
		set_catalog_free(&c);
	}
}

static size_t n_set_folders(struct backup_fixture *b)
{
	char **names_;
	size_t n;

	assert_int_equal(repo_list(b->repo, "sets/", &names_, &n), 0);
	repo_list_free(names_, n);
	return n;
}

/* Until it is finished there is no set; one that is given up leaves nothing. */
static void aborted(void **state)
{
	struct backup_fixture *b = *state;
	struct set_writer *w = begin(b);
	struct set_catalog c;

	for (uint64_t i = 0; i < 40; i++)
		put_noise(w, i, SET_RANGE);
	load(b, &c);
	assert_int_equal(c.n_sets, 0);
	assert_int_equal(c.n_damaged, 0);
	set_catalog_free(&c);
	assert_int_equal(n_set_folders(b), 1);
	set_writer_abort(w);
	assert_int_equal(n_set_folders(b), 0);
}

/* What a killed run left is removed after a day, not sooner; a set that is finished, or being
 * pruned, is not touched. */
static void killed_runs(void **state)
{
	struct backup_fixture *b = *state;
	struct set_manifest finished = dated(SET_A, 10, "", 0);
	struct set_writer *w = begin(b);
	char recent[SET_ID_MAX + 1], name[SET_NAME_LEN];
	struct set_catalog c;

	put_noise(w, 1, 100);
	set_writer_free(w); /* this moment's run dies */
	set_id_stamp(time(NULL) - 23 * 3600, recent);
	strcat(recent, "-12345678");
	set_object(recent, SET_UNFINISHED, name);
	assert_int_equal(repo_put(b->repo, name, NULL, 0), 0);
	set_object("20200101T000000Z-12345678", SET_UNFINISHED, name);
	assert_int_equal(repo_put(b->repo, name, NULL, 0), 0);
	set_object("20200101T000000Z-12345678", "pack-00000", name);
	assert_int_equal(repo_put(b->repo, name, "x", 1), 0);
	set_object("20200101T000000Z-87654321", "pack-00000", name); /* a prune's: no mark */
	assert_int_equal(repo_put(b->repo, name, "x", 1), 0);
	strcpy(finished.id, "20200102T000000Z-12345678");
	put_set(b, &finished);
	set_object(finished.id, SET_UNFINISHED, name);
	assert_int_equal(repo_put(b->repo, name, NULL, 0), 0);
	assert_int_equal(n_set_folders(b), 5);

	set_remove_unfinished(b->repo);
	assert_int_equal(n_set_folders(b), 4);
	assert_int_equal(repo_size(b->repo, name, &finished.to_txn), -ENOENT);
	load(b, &c);
	assert_int_equal(c.n_sets, 1);
	set_catalog_free(&c);
	assert_int_equal(set_remove(b->repo, finished.id), 0);
	assert_int_equal(n_set_folders(b), 3);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, backup_setup, backup_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(records_come_back),
	    cmocka_unit_test(lengths_are_few),
	    TEST(changed_records),
	    TEST(records_have_their_place),
	    TEST(record_format),
	    TEST(names_need_both),
	    cmocka_unit_test(nodes),
	    cmocka_unit_test(names),
	    cmocka_unit_test(runs),
	    cmocka_unit_test(manifest_comes_back),
	    cmocka_unit_test(manifest_lists_fit),
	    cmocka_unit_test(manifest_form),
	    TEST(finds_sets),
	    TEST(chains),
	    TEST(damaged_sets),
	    TEST(packs_are_bounded),
	    TEST(read_back),
	    TEST(aborted),
	    TEST(killed_runs),
	};

	return secret_process_init() ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
