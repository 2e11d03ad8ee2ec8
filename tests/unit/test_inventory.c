/* Inventories: what belongs to a destruction by every account, and a text that says nothing else.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/shred_fixture.h"

#define KEEP                                                                                       \
	(struct wish)                                                                              \
	{                                                                                          \
		0                                                                                  \
	}

/* Everything that ever stood under the target belongs to it: nested, deleted, saved over, and
 * removed with its folder. */
static void holds_history(void **state)
{
	struct stage *s = *state;
	struct volume *v = s->fx.v;
	uint64_t t = make(v, VOLUME_ROOT_ID, "t", S_IFDIR | 0755),
		 sub = make(v, t, "sub", S_IFDIR | 0755);
	uint64_t deep = make_file(v, sub, "deep", 'd', 5000),
		 deleted = make_file(v, t, "deleted", 'x', 10);
	uint64_t old = make_file(v, t, "doc", '1', 9000), new_id;
	uint64_t gone_dir = make(v, t, "gone", S_IFDIR | 0755),
		 in_gone = make_file(v, gone_dir, "f", 'f', 3);
	uint64_t other = make_file(v, VOLUME_ROOT_ID, "other", 'o', 10);

	save_over(s, t, "doc", '2', 9001, &new_id);
	assert_int_equal(volume_unlink(v, t, "deleted"), 0);
	assert_int_equal(volume_unlink(v, gone_dir, "f"), 0);
	assert_int_equal(volume_rmdir(v, t, "gone"), 0);
	struct inventory inv = take_inventory(s, &t, 1, KEEP);
	const uint64_t all[] = {t, sub, deep, deleted, old, new_id, gone_dir, in_gone};
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		assert_true(goes(&inv, all[i]));
	assert_null(item(&inv, other));
	assert_null(item(&inv, VOLUME_ROOT_ID));
	assert_int_equal(inv.n_destroy, 8);
	assert_int_equal(inv.n_bytes, 5000 + 9001);
	assert_int_equal(item(&inv, t)->flags,
			 INVENTORY_TARGET | INVENTORY_PRESENT | INVENTORY_DIR);
	assert_int_equal(item(&inv, deleted)->flags, INVENTORY_HISTORY);
	assert_true(item(&inv, new_id)->flags & INVENTORY_PRESENT);
	inventory_free(&inv);
}

/* What was moved out and lives elsewhere is shown and kept, its descendants untouched; destroyed
 * only when the request says so. */
static void decides_on_moved(void **state)
{
	struct stage *s = *state;
	struct volume *v = s->fx.v;
	uint64_t t = make(v, VOLUME_ROOT_ID, "t", S_IFDIR | 0755),
		 away = make(v, VOLUME_ROOT_ID, "away", S_IFDIR | 0755);
	uint64_t file = make_file(v, t, "file", 'f', 100), dir = make(v, t, "dir", S_IFDIR | 0755);
	uint64_t inner = make_file(v, dir, "inner", 'i', 200),
		 stays = make_file(v, t, "stays", 's', 300);
	uint64_t later;

	assert_int_equal(volume_rename(v, t, "file", away, "file", 0), 0);
	assert_int_equal(volume_rename(v, t, "dir", away, "dir", 0), 0);
	save_over(s, away, "file", 'g', 101, &later);
	struct inventory inv = take_inventory(s, &t, 1, KEEP);
	assert_true(goes(&inv, t) && goes(&inv, stays));
	assert_true(goes(&inv, file)); /* replaced: it lives nowhere any more */
	assert_int_equal(item(&inv, later)->flags &
			     (INVENTORY_MOVED | INVENTORY_KEPT | INVENTORY_LINEAGE),
			 INVENTORY_MOVED | INVENTORY_KEPT | INVENTORY_LINEAGE);
	assert_int_equal(item(&inv, dir)->flags & (INVENTORY_MOVED | INVENTORY_KEPT),
			 INVENTORY_MOVED | INVENTORY_KEPT);
	assert_false(goes(&inv, inner));
	inventory_free(&inv);

	inv = take_inventory(s, &t, 1, (struct wish){.moved = true});
	const uint64_t all[] = {t, file, dir, inner, stays, later};
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		assert_true(goes(&inv, all[i]));
	assert_false(goes(&inv, away));
	inventory_free(&inv);
}

/* A file with a further link outside is shown and kept unless the request says otherwise; with both
 * links inside it goes. */
static void decides_on_linked(void **state)
{
	struct stage *s = *state;
	struct volume *v = s->fx.v;
	struct volume_attr a;
	uint64_t t = make(v, VOLUME_ROOT_ID, "t", S_IFDIR | 0755);
	uint64_t out = make_file(v, t, "out", 'o', 10), in = make_file(v, t, "in", 'i', 20);

	assert_int_equal(volume_link(v, out, VOLUME_ROOT_ID, "elsewhere", &a), 0);
	volume_forget(v, out, 1);
	assert_int_equal(volume_link(v, in, t, "twice", &a), 0);
	volume_forget(v, in, 1);
	struct inventory inv = take_inventory(s, &t, 1, KEEP);
	assert_int_equal(item(&inv, out)->flags & (INVENTORY_LINKED | INVENTORY_KEPT),
			 INVENTORY_LINKED | INVENTORY_KEPT);
	assert_true(goes(&inv, in));
	assert_int_equal(inv.n_kept, 1);
	inventory_free(&inv);
	inv = take_inventory(s, &t, 1, (struct wish){.linked = true});
	assert_true(goes(&inv, out));
	inventory_free(&inv);
	/* Named as the target itself it goes, whatever links it has. */
	inv = take_inventory(s, &out, 1, KEEP);
	assert_true(goes(&inv, out));
	assert_int_equal(inv.n_destroy, 1);
	inventory_free(&inv);
}

/* A lineage is destroyed whole: a copy outside, and a copy of the copy. */
static void follows_copies(void **state)
{
	struct stage *s = *state;
	struct volume *v = s->fx.v;
	uint64_t t = make(v, VOLUME_ROOT_ID, "t", S_IFDIR | 0755),
		 orig = make_file(v, t, "orig", 'o', 8192);
	uint64_t copy = make(v, VOLUME_ROOT_ID, "copy", S_IFREG | 0644),
		 again = make(v, VOLUME_ROOT_ID, "again", S_IFREG | 0644);
	uint64_t restored = make_file(v, VOLUME_ROOT_ID, "restored", 'r', 10),
		 other = make_file(v, VOLUME_ROOT_ID, "other", 'o', 10);

	assert_int_equal(volume_copy(v, orig, 0, copy, 0, 8192), 8192);
	assert_int_equal(volume_copy(v, copy, 0, again, 0, 8192), 8192);
	assert_int_equal(volume_add_edge(v, again, restored, VOLUME_EDGE_RESTORED), 0);
	struct inventory inv = take_inventory(s, &t, 1, KEEP);
	assert_true(goes(&inv, copy) && goes(&inv, again) && goes(&inv, restored));
	assert_true(item(&inv, again)->flags & INVENTORY_LINEAGE);
	assert_null(item(&inv, other));
	inventory_free(&inv);
}

/* Promise 5: a folder that a restore brought back goes with the one it was, and with what that one held; a restored
 * folder that stands elsewhere is not dragged in. */
static void follows_restored_folders(void **state)
{
	struct stage *s = *state;
	struct volume *v = s->fx.v;
	uint64_t was = make(v, VOLUME_ROOT_ID, "t", S_IFDIR | 0755), held = make_file(v, was, "x", 'x', 5000);

	assert_int_equal(volume_unlink(v, was, "x"), 0);
	assert_int_equal(volume_rmdir(v, VOLUME_ROOT_ID, "t"), 0);
	uint64_t t = make(v, VOLUME_ROOT_ID, "t", S_IFDIR | 0755),
		 beside = make(v, VOLUME_ROOT_ID, "beside", S_IFDIR | 0755),
		 since = make_file(v, beside, "since", 's', 10);
	assert_int_equal(volume_add_edge(v, was, t, VOLUME_EDGE_RESTORED), 0);
	assert_int_equal(volume_add_edge(v, was, beside, VOLUME_EDGE_RESTORED), 0);
	struct inventory inv = take_inventory(s, &t, 1, KEEP);
	assert_true(goes(&inv, t) && goes(&inv, was) && goes(&inv, held));
	assert_false(goes(&inv, beside));
	assert_null(item(&inv, since));
	inventory_free(&inv);
}

/* A set remembers what the live records no longer tell: its names and lineages count, too. */
static void asks_sets(void **state)
{
	struct stage *s = *state;
	struct volume *v = s->fx.v;
	uint64_t t = make(v, VOLUME_ROOT_ID, "t", S_IFDIR | 0755),
		 f = make_file(v, t, "f", 'f', 5000);

	backup(s, true);
	assert_int_equal(volume_unlink(v, t, "f"), 0);
	backup(s, false);
	struct inventory inv = take_inventory(s, &t, 1, KEEP);
	assert_int_equal(item(&inv, f)->flags, INVENTORY_HISTORY | INVENTORY_SET);
	inventory_free(&inv);
}

/* An index that does not read could hold anything: no inventory is made without it. */
static void refuses_damaged_sets(void **state)
{
	struct stage *s = *state;
	uint64_t t = make(s->fx.v, VOLUME_ROOT_ID, "t", S_IFDIR | 0755);
	struct inventory_request in = {
	    .volume = s->fx.v, .repos = &s->repo, .n_repos = 1, .targets = &t, .n_targets = 1};
	char **ids, name[96];
	struct inventory inv;
	struct diag d = {0};
	uint8_t *p;
	size_t n, len;

	backup(s, true);
	assert_int_equal(repo_list(s->repo, "sets/", &ids, &n), 0);
	snprintf(name, sizeof(name), "sets/%s/index", ids[0]);
	repo_list_free(ids, n);
	assert_int_equal(repo_get(s->repo, name, 1 << 20, &p, &len), 0);
	p[len / 2] ^= 1;
	assert_int_equal(repo_put(s->repo, name, p, len), 0);
	free(p);
	assert_true(inventory_build(&in, &inv, &d) < 0);
	assert_int_equal(d.id, DIAG_SET_DAMAGED);
}

/* The root is no target. */
static void refuses_the_root(void **state)
{
	struct stage *s = *state;
	uint64_t root = VOLUME_ROOT_ID;
	struct inventory_request in = {.volume = s->fx.v, .targets = &root, .n_targets = 1};
	struct inventory inv;
	struct diag d = {0};

	assert_true(inventory_build(&in, &inv, &d) < 0);
	assert_int_equal(d.id, DIAG_DENIED);
}

/* --- text --- */

static struct inventory sample(struct inventory_item items[3])
{
	items[0] =
	    (struct inventory_item){17, INVENTORY_TARGET | INVENTORY_PRESENT | INVENTORY_DIR, 0};
	items[1] = (struct inventory_item){18, INVENTORY_HISTORY, 0};
	items[2] = (struct inventory_item){
	    UINT64_MAX, INVENTORY_PRESENT | INVENTORY_LINKED | INVENTORY_KEPT, 99};
	return (struct inventory){.items = items,
				  .n_items = 3,
				  .n_destroy = 2,
				  .n_kept = 1,
				  .destroy_moved = true,
				  .sealed = {0xab}};
}

/* What is encoded comes back, and the text names no file. */
static void text_round_trip(void **state)
{
	struct inventory_item items[3];
	struct inventory inv = sample(items), back;
	char *text;
	size_t len;
	(void)state;

	assert_int_equal(inventory_encode(&inv, &text, &len), 0);
	assert_non_null(strstr(text, "\n17 tpd 0\n18 h 0\n18446744073709551615 pxk 99\n"));
	assert_int_equal(inventory_decode(text, len, &back), 0);
	assert_int_equal(back.n_items, 3);
	assert_memory_equal(back.sealed, inv.sealed, 32);
	assert_true(back.destroy_moved && !back.destroy_linked);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(back.items[i].id, items[i].id);
		assert_int_equal(back.items[i].flags, items[i].flags);
		assert_int_equal(back.items[i].bytes, items[i].bytes);
	}
	inventory_free(&back);
	free(text);
}

/* Any flipped bit and any truncation either is refused or still is a text that says exactly what it
 * decodes to. */
static void text_tampered(void **state)
{
	struct inventory_item items[3];
	struct inventory inv = sample(items), back;
	char *text, *again;
	size_t len, again_len;
	(void)state;

	assert_int_equal(inventory_encode(&inv, &text, &len), 0);
	for (size_t cut = 0; cut < len; cut++)
		assert_int_equal(inventory_decode(text, cut, &back), -EUCLEAN);
	for (size_t bit = 0; bit < len * 8; bit++) {
		text[bit / 8] ^= (char)(1 << bit % 8);
		if (inventory_decode(text, len, &back) == 0) {
			assert_int_equal(inventory_encode(&back, &again, &again_len), 0);
			assert_int_equal(again_len, len);
			assert_memory_equal(again, text, len);
			free(again);
			inventory_free(&back);
		}
		text[bit / 8] ^= (char)(1 << bit % 8);
	}
	free(text);
}

/* Another way to write the same, wrong totals, order or ids are no inventory. */
static void text_refused(void **state)
{
	static const char head[] =
	    "coffer-inventory/1\nmoved: keep\nlinked: keep\nsealed: "
	    "0000000000000000000000000000000000000000000000000000000000000000\n";
	static const char *const tails[] = {
	    "ids: 1\nkept: 0\nbytes: 0\n017 t 0\n",
	    "ids: 1\nkept: 0\nbytes: 0\n17 pt 0\n",
	    "ids: 2\nkept: 0\nbytes: 0\n17 t 0\n",
	    "ids: 2\nkept: 0\nbytes: 0\n18 t 0\n17 t 0\n",
	    "ids: 2\nkept: 0\nbytes: 0\n17 t 0\n17 t 0\n",
	    "ids: 1\nkept: 0\nbytes: 0\n1 t 0\n",
	    "ids: 1\nkept: 0\nbytes: 0\n17 t 0",
	    "ids: 1\nkept: 0\nbytes: 5\n17 t 0\n",
	    "ids: 1\nkept: 0\nbytes: 0\n17 t 0 \n",
	    "ids: 1\nkept: 0\nbytes: 0\n17 tz 0\n",
	    "ids: 1\nkept: 0\nbytes: 0\n18446744073709551616 t 0\n",
	};
	struct inventory back;
	char text[512];
	(void)state;

	for (size_t i = 0; i < sizeof(tails) / sizeof(*tails); i++) {
		snprintf(text, sizeof(text), "%s%s", head, tails[i]);
		assert_int_equal(inventory_decode(text, strlen(text), &back), -EUCLEAN);
	}
	snprintf(text, sizeof(text), "%sids: 1\nkept: 0\nbytes: 0\n17 t 0\n", head);
	assert_int_equal(inventory_decode(text, strlen(text), &back), 0);
	inventory_free(&back);
}

/* Ranges join only neighbours: no id that is not listed is ever punctured. */
static void ranges_are_exact(void **state)
{
	const uint64_t ids[] = {16, 17, 19, UINT64_MAX - 1, UINT64_MAX};
	struct keyring_range *r;
	size_t n;
	(void)state;

	assert_int_equal(inventory_ranges(ids, 5, &r, &n), 0);
	assert_int_equal(n, 3);
	assert_true(r[0].first == 16 && r[0].last == 17);
	assert_true(r[1].first == 19 && r[1].last == 19);
	assert_true(r[2].first == UINT64_MAX - 1 && r[2].last == UINT64_MAX);
	free(r);
}

/* A backup taken meanwhile is no drift; a new item, a changed decision and other sealed bytes are.
 */
static void tells_drift(void **state)
{
	struct inventory_item a[3], b[3];
	struct inventory then = sample(a), now = sample(b);
	struct inventory_drift x;
	(void)state;

	b[1].flags |= INVENTORY_SET;
	assert_false(inventory_differs(&then, &now, &x));
	b[2].flags &= ~(unsigned)INVENTORY_KEPT;
	assert_true(inventory_differs(&then, &now, &x));
	assert_int_equal(x.n_changed, 1);
	now = sample(b);
	now.sealed[31] = 1;
	assert_true(inventory_differs(&then, &now, &x));
	assert_true(x.sealed);
	now = sample(b);
	now.n_items = 2;
	assert_true(inventory_differs(&then, &now, &x));
	assert_int_equal(x.n_missing, 1);
	assert_true(inventory_differs(&now, &then, &x));
	assert_int_equal(x.n_new, 1);
	a[1].flags = INVENTORY_SET; /* only a set knew it, which was pruned */
	b[1] = b[2];
	now.sealed[0] = then.sealed[0];
	assert_false(inventory_differs(&then, &now, &x));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    STAGED(holds_history),
	    STAGED(decides_on_moved),
	    STAGED(decides_on_linked),
	    STAGED(follows_copies),
	    STAGED(follows_restored_folders),
	    STAGED(asks_sets),
	    STAGED(refuses_damaged_sets),
	    STAGED(refuses_the_root),
	    cmocka_unit_test(text_round_trip),
	    cmocka_unit_test(text_tampered),
	    cmocka_unit_test(text_refused),
	    cmocka_unit_test(ranges_are_exact),
	    cmocka_unit_test(tells_drift),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
