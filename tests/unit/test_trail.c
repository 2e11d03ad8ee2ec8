/*
 * The trail's promises to who writes and reads it: what goes in comes out, names end with their
 * files, checkpoints come when they are due and say what they should.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/note.h"
#include "core/trail_internal.h"
#include "tests/unit/trail_fixture.h"

/* --- records --- */

static int take_first(uint64_t index, const struct trail_event *ev, void *arg)
{
	(void)index;
	*(struct trail_event *)arg = *ev;
	return 1;
}

static struct trail_event entry_at(struct fixture *fx, uint64_t index)
{
	struct trail_event ev = {0};

	assert_int_equal(trail_read(fx->t, index, take_first, &ev, &fx->d), 1);
	return ev;
}

static struct trail_event named(uint64_t parent, uint64_t child, const char *name)
{
	struct trail_event ev = {.parent = parent, .child = child};

	snprintf(ev.operation, sizeof(ev.operation), "file.open");
	snprintf(ev.name, sizeof(ev.name), "%s", name);
	return ev;
}

/*
 * Every field of an event is on record as it was given, also at its greatest length, before and
 * after a checkpoint.
 */
static void every_field_comes_back(void **state)
{
	struct fixture *fx = *state;
	struct trail_event ev = {
	    .time_ns = -5, .uid = UINT32_MAX, .pid = 1, .parent = 10, .child = 11};
	char *const text[] = {ev.member,  ev.program, ev.operation, ev.object,
			      ev.purpose, ev.result,  ev.detail,    ev.name};
	const size_t size[] = {sizeof(ev.member), sizeof(ev.program), sizeof(ev.operation),
			       sizeof(ev.object), sizeof(ev.purpose), sizeof(ev.result),
			       sizeof(ev.detail), sizeof(ev.name)};

	for (size_t i = 0; i < 8; i++)
		memset(text[i], (int)('a' + i), size[i] - 1);
	assert_int_equal(trail_append(fx->t, &ev, true), 0);
	for (int checkpointed = 0; checkpointed < 2; checkpointed++) {
		struct trail_event got = entry_at(fx, 0);
		for (size_t i = 0; i < 8; i++)
			assert_string_equal((char *)&got + (text[i] - (char *)&ev), text[i]);
		assert_int_equal(got.time_ns, -5);
		assert_int_equal(got.uid, UINT32_MAX);
		assert_int_equal(got.pid, 1);
		assert_int_equal(got.parent, 10);
		assert_int_equal(got.child, 11);
		assert_false(got.name_gone);
		assert_int_equal(reopen(fx), 0);
	}
	ev.detail[TRAIL_DETAIL_MAX] = 'x';
	assert_int_equal(trail_append(fx->t, &ev, true), -EINVAL);
	assert_int_equal(reopen(fx), 0);
	struct trail_head head;
	trail_head_get(fx->t, &head);
	assert_int_equal(head.size, 1);
}

/* An entry read back says when: the time given, or now. */
static void time_zero_is_now(void **state)
{
	struct fixture *fx = *state;
	struct trail_event ev = {0};
	int64_t before = trail_clock(CLOCK_REALTIME);

	assert_int_equal(trail_append(fx->t, &ev, false), 0);
	ev = entry_at(fx, 0);
	assert_in_range(ev.time_ns, before, trail_clock(CLOCK_REALTIME));
}

/*
 * Reading yields every entry once and in order: bundles, the partial bundle and the tail; from
 * anywhere on.
 */
static void read_in_order(void **state)
{
	struct fixture *fx = *state;

	append_numbers(fx, 0, 600);
	assert_int_equal(trail_checkpoint(fx->t, NULL, NULL), 0);
	append_numbers(fx, 600, 610);
	assert_int_equal(read_numbers(fx, 0), 610);
	assert_int_equal(read_numbers(fx, 255), 610);
	assert_int_equal(read_numbers(fx, 256), 610);
	assert_int_equal(read_numbers(fx, 599), 610);
	assert_int_equal(read_numbers(fx, 605), 610);
	assert_int_equal(read_numbers(fx, 610), 610);
	assert_sound(fx, 600, 10);
	assert_int_equal(reopen(fx), 0);
	assert_int_equal(read_numbers(fx, 0), 610);
	assert_sound(fx, 610, 0);
}

/* --- names --- */

static void puncture(struct fixture *fx, uint64_t id)
{
	struct keyring_range range = {id, id};
	size_t pending;

	assert_int_equal(keyring_puncture(fx->kr, KEYRING_BOTH, &range, 1, "D-1", &pending, &fx->d),
			 0);
}

/*
 * A name ends with its file and with its folder, in entries of any age; the rest of the record
 * stays.
 */
static void names_end_with_either_key(void **state)
{
	struct fixture *fx = *state;
	struct trail_event ev[] = {named(100, 101, "by child"), named(102, 103, "by parent"),
				   named(104, 105, "stays")};

	for (size_t i = 0; i < 3; i++)
		assert_int_equal(trail_append(fx->t, &ev[i], false), 0);
	for (size_t i = 0; i < 3; i++)
		assert_string_equal(entry_at(fx, i).name, ev[i].name);
	puncture(fx, 101);
	puncture(fx, 102);
	for (int checkpointed = 0; checkpointed < 2; checkpointed++) {
		for (size_t i = 0; i < 3; i++) {
			struct trail_event got = entry_at(fx, i);
			assert_string_equal(got.name, i == 2 ? "stays" : "");
			assert_int_equal(got.name_gone, i != 2);
			assert_int_equal(got.parent, ev[i].parent);
			assert_int_equal(got.child, ev[i].child);
			assert_string_equal(got.operation, "file.open");
		}
		assert_int_equal(reopen(fx), 0);
	}
	assert_sound(fx, 3, 0);
}

/*
 * A name's key is made of both file keys, as docs/format.md says: it is the cryptography that
 * ends the name, not the reader's refusal.
 */
static void name_key_is_of_both(void **state)
{
	struct fixture *fx = *state;
	struct trail_event ev = named(140, 141, "secret plan");
	uint8_t parent[32], child[32], key[32], ad[51], plain[64];
	struct trail_name name;

	assert_int_equal(trail_name_seal(&fx->t->keys, &ev, &name), 0);
	assert_int_equal(name.len, 64 + SUITE_BOX_OVERHEAD);
	assert_int_equal(keyring_file_key(fx->kr, KEYRING_LIVE, 140, parent), 0);
	assert_int_equal(keyring_file_key(fx->kr, KEYRING_LIVE, 141, child), 0);
	kdf_derive(key, parent, "coffer trail name 1", child, 32);
	memcpy(ad, "coffer trail name 1", 19);
	memcpy(ad + 19, fx->volume_id, 16);
	bytes_put64(ad + 35, 140);
	bytes_put64(ad + 43, 141);
	assert_int_equal(suite_open(keyring_suite(fx->kr), key, ad, 51, name.box, name.len, plain),
			 0);
	assert_int_equal(plain[0], 11);
	assert_memory_equal(plain + 1, "secret plan", 11);
	kdf_derive(key, parent, "coffer trail name 1", parent, 32);
	assert_int_equal(suite_open(keyring_suite(fx->kr), key, ad, 51, name.box, name.len, plain),
			 -EBADMSG);
}

/* Late events about a destroyed file are recorded, but never with its name. */
static void name_of_destroyed_is_not_recorded(void **state)
{
	struct fixture *fx = *state;
	struct trail_event ev = named(110, 111, "too late");

	puncture(fx, 111);
	assert_int_equal(trail_append(fx->t, &ev, true), 0);
	ev = entry_at(fx, 0);
	assert_string_equal(ev.name, "");
	assert_true(ev.name_gone);
}

/* A name that cannot be sealed under both keys is refused, not stored under fewer. */
static void name_needs_both_ids(void **state)
{
	struct fixture *fx = *state;
	struct trail_event ev = named(0, 121, "orphan");

	assert_int_equal(trail_append(fx->t, &ev, true), -EINVAL);
	ev = named(120, 0, "orphan");
	assert_int_equal(trail_append(fx->t, &ev, true), -EINVAL);
	assert_int_equal(read_numbers(fx, 0), 0);
}

/*
 * The store's operator sees no text of an event, neither in the tail nor in bundles; lengths of
 * names are padded.
 */
static void nothing_readable_on_disk(void **state)
{
	struct fixture *fx = *state;
	struct trail_event a = named(130, 131, "x"), b = named(130, 131, "a name of some length");

	assert_int_equal(trail_append(fx->t, &a, true), 0);
	assert_int_equal(trail_append(fx->t, &b, true), 0);
	struct taken tail = take(fx, "tail");
	assert_null(memmem(tail.buf, tail.len, "file.open", 9));
	assert_null(memmem(tail.buf, tail.len, "a name of", 9));
	assert_int_equal(bytes_get32(tail.buf), bytes_get32(tail.buf + tail.len / 2));
	free(tail.buf);
	assert_int_equal(trail_checkpoint(fx->t, NULL, NULL), 0);
	struct taken bundle = take(fx, "tile/entries/000.p/2");
	assert_null(memmem(bundle.buf, bundle.len, "file.open", 9));
	assert_null(memmem(bundle.buf, bundle.len, "a name of", 9));
	free(bundle.buf);
}

/* --- the account --- */

/* The account only grows, over reopening too, and the events' own times do not move it. */
static void account_carries_on(void **state)
{
	struct fixture *fx = *state;
	struct trail_event ev = {.time_ns = INT64_MAX};

	assert_int_equal(trail_append(fx->t, &ev, false), 0);
	int64_t a = entry_at(fx, 0).account_ns;
	assert_in_range(a, 0, INT64_C(60000000000));
	assert_int_equal(reopen(fx), 0); /* carried on by the bundle */
	assert_true(trail_account(fx->t) >= a);
	/* as if the volume had been open for an hour */
	fx->t->opened_ns -= INT64_C(3600000000000);
	ev.time_ns = 1;
	assert_int_equal(trail_append(fx->t, &ev, true), 0);
	int64_t b = entry_at(fx, 1).account_ns;
	assert_true(b >= a + INT64_C(3600000000000));
	/* carried on by the tail: a crash came before the checkpoint */
	keep(fx, "crashed");
	put_kept(fx, "crashed");
	assert_int_equal(reopen(fx), 0);
	assert_true(trail_account(fx->t) >= b);
}

/* --- checkpoints --- */

/*
 * A checkpoint is due after 1024 entries whoever appends them, and after a minute by the
 * background thread.
 */
static void checkpoints_when_due(void **state)
{
	struct fixture *fx = *state;
	struct trail_head head;

	append_numbers(fx, 0, TRAIL_DUE_ENTRIES - 1);
	assert_int_equal(trail_tick(fx->t), 0);
	trail_head_get(fx->t, &head);
	assert_int_equal(head.size, 0);
	append_numbers(fx, TRAIL_DUE_ENTRIES - 1, TRAIL_DUE_ENTRIES + 1);
	trail_head_get(fx->t, &head);
	assert_int_equal(head.size, TRAIL_DUE_ENTRIES);
	assert_int_equal(trail_tick(fx->t), 0);
	trail_head_get(fx->t, &head);
	assert_int_equal(head.size, TRAIL_DUE_ENTRIES);
	fx->t->oldest_ns -= TRAIL_DUE_NS;
	assert_int_equal(trail_tick(fx->t), 0);
	trail_head_get(fx->t, &head);
	assert_int_equal(head.size, TRAIL_DUE_ENTRIES + 1);
	assert_sound(fx, TRAIL_DUE_ENTRIES + 1, 0);
}

/* What was appended without waiting is synced by the background thread soon after. */
static void tick_syncs(void **state)
{
	struct fixture *fx = *state;

	append_numbers(fx, 0, 3);
	assert_int_equal(fx->t->synced, 0);
	fx->t->unsynced_ns -= TRAIL_SYNC_NS;
	assert_int_equal(trail_tick(fx->t), 0);
	assert_int_equal(fx->t->synced, 3);
	assert_int_equal(fx->t->unsynced_ns, 0);
}

/* A checkpoint says what was appended before it, and its note stands on its own. */
static void checkpoint_is_a_signed_note(void **state)
{
	struct fixture *fx = *state;
	struct trail_head head, parsed;
	uint8_t other[32] = {0};
	char *text, *again;

	append_numbers(fx, 0, 5);
	assert_int_equal(trail_checkpoint(fx->t, &head, &text), 0);
	assert_int_equal(head.size, 5);
	assert_int_equal(trail_checkpoint_parse(text, fx->volume_id, fx->sign_pk, &parsed), 0);
	assert_int_equal(parsed.size, head.size);
	assert_memory_equal(parsed.root, head.root, 32);
	assert_int_not_equal(trail_checkpoint_parse(text, other, fx->sign_pk, &parsed), 0);
	assert_int_equal(trail_checkpoint_parse(text, fx->volume_id, other, &parsed), -EBADMSG);
	*strchr(text, '5') = '6';
	assert_int_not_equal(trail_checkpoint_parse(text, fx->volume_id, fx->sign_pk, &parsed), 0);
	free(text);
	/* nothing new: the same note */
	assert_int_equal(trail_checkpoint(fx->t, &head, &text), 0);
	assert_int_equal(trail_checkpoint(fx->t, &parsed, &again), 0);
	assert_string_equal(text, again);
	free(text);
	free(again);
}

/* Bodies that the volume's key signed but that are no checkpoint are refused. */
static void checkpoint_grammar(void **state)
{
	struct fixture *fx = *state;
	static const char root[] = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
	static const char *const bad[] = {
	    "coffer/%s\n0%s\n",
	    "coffer/%s\n00\n%s\n",
	    "coffer/%s\n0\n%s\nmore\n",
	    "coffer/%s\n\n%s\n",
	    "coffer/%s\n99999999999999999999\n%s\n",
	    "other/%s\n0\n%s\n",
	    "coffer/%s\n-1\n%s\n",
	    "coffer/%s\n0\n%.43s\n",
	    "coffer/%s\n0\n=%s\n",
	};
	char id[33], name[64], body[256], *text;
	struct trail_head head = {.size = 77};

	bytes_hex(id, fx->volume_id, 16);
	snprintf(name, sizeof(name), "coffer-volume/%s", id);
	snprintf(body, sizeof(body), "coffer/%s\n0\n%s\n", id, root);
	assert_int_equal(note_sign_seed(body, name, fx->sign_seed, &text), 0);
	assert_int_equal(trail_checkpoint_parse(text, fx->volume_id, fx->sign_pk, &head), 0);
	assert_int_equal(head.size, 0);
	free(text);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(body, sizeof(body), bad[i], id, root);
#pragma GCC diagnostic pop
		head.size = 77;
		if (note_sign_seed(body, name, fx->sign_seed, &text) != 0)
			continue;
		assert_int_not_equal(
		    trail_checkpoint_parse(text, fx->volume_id, fx->sign_pk, &head), 0);
		assert_int_equal(head.size, 77);
		free(text);
	}
}

/* Partial files of an older checkpoint do not pile up. */
static void superseded_files_go(void **state)
{
	struct fixture *fx = *state;
	struct stat st;

	for (uint64_t size = 100; size <= 300; size += 100) {
		append_numbers(fx, size - 100, size);
		assert_int_equal(trail_checkpoint(fx->t, NULL, NULL), 0);
	}
	assert_int_equal(fstatat(fx->store_fd, "trail/tile/entries/000.p", &st, 0), -1);
	assert_int_equal(fstatat(fx->store_fd, "trail/tile/0/000.p", &st, 0), -1);
	assert_int_equal(fstatat(fx->store_fd, "trail/tile/0/000", &st, 0), 0);
	assert_int_equal(fstatat(fx->store_fd, "trail/tile/0/001.p/44", &st, 0), 0);
	assert_int_equal(fstatat(fx->store_fd, "trail/tile/1/000.p/1", &st, 0), 0);
}

/* A second trail is never made over the first. */
static void create_refuses_existing(void **state)
{
	struct fixture *fx = *state;

	append_numbers(fx, 0, 3);
	assert_int_equal(trail_create(fx->store_fd, fx->kr, &fx->d), -EEXIST);
	assert_int_equal(fx->d.id, DIAG_STORE_EXISTS);
	assert_int_equal(read_numbers(fx, 0), 3);
	assert_int_equal(reopen(fx), 0);
	assert_int_equal(read_numbers(fx, 0), 3);
}

#define TRAIL_TEST(f) cmocka_unit_test_setup_teardown(f, test_setup, test_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TRAIL_TEST(every_field_comes_back),
	    TRAIL_TEST(time_zero_is_now),
	    TRAIL_TEST(read_in_order),
	    TRAIL_TEST(names_end_with_either_key),
	    TRAIL_TEST(name_key_is_of_both),
	    TRAIL_TEST(name_of_destroyed_is_not_recorded),
	    TRAIL_TEST(name_needs_both_ids),
	    TRAIL_TEST(nothing_readable_on_disk),
	    TRAIL_TEST(account_carries_on),
	    TRAIL_TEST(checkpoints_when_due),
	    TRAIL_TEST(tick_syncs),
	    TRAIL_TEST(checkpoint_is_a_signed_note),
	    TRAIL_TEST(checkpoint_grammar),
	    TRAIL_TEST(superseded_files_go),
	    TRAIL_TEST(create_refuses_existing),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
