/* The records of a set: sealed to their place, padded, and ended with what they are about. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "backup/set_body.h"
#include "tests/unit/backup_fixture.h"

#define BOX_OVERHEAD 40

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
	assert_true(set_record_room(SET_RANGE + 4) <=
		    SET_RANGE + SET_FRAME_LEN + BOX_OVERHEAD + 64);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH_REPOSITORY(records_come_back), cmocka_unit_test(lengths_are_few),
	    WITH_REPOSITORY(changed_records),   WITH_REPOSITORY(records_have_their_place),
	    WITH_REPOSITORY(record_format),     WITH_REPOSITORY(names_need_both),
	};

	return secret_process_init() ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
