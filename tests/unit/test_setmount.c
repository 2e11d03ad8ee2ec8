/*
 * Sets as a tree to mount: what the set holds and nothing else; what does not open is an error that is told, never other
 * data and never "there is none".
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "backup/setmount_internal.h"
#include "tests/unit/backup_tree.h"
#include "tests/unit/set_craft.h"

struct mounted {
	struct set_catalog c;
	struct setmount *m;
	unsigned n_troubles;
	int err;
	char order[KEYRING_ORDER_REF_MAX + 1];
};

static void on_trouble(void *arg, const char *object, int err, const char *order)
{
	struct mounted *t = arg;

	assert_non_null(strstr(object, "set "));
	t->n_troubles++;
	t->err = err;
	snprintf(t->order, sizeof(t->order), "%s", order);
}

static void mount_sets(struct backup_fixture *b, struct mounted *t)
{
	*t = (struct mounted){0};
	load(b, &t->c);
	const struct setmount_config cfg = {
		.repo = b->repo, .kr = keys(b), .catalog = &t->c, .trouble = on_trouble, .arg = t};
	assert_int_equal(setmount_new(&cfg, &t->m, &b->d), 0);
}

static void unmount_sets(struct mounted *t)
{
	setmount_free(t->m);
	set_catalog_free(&t->c);
}

static int look(struct mounted *t, size_t set, const char *name, struct volume_attr *ret)
{
	return setmount_ops.lookup(t->m, setmount_node(set, VOLUME_ROOT_ID), name, ret);
}

static int count(void *arg, const char *name, uint64_t node, uint32_t type_mode, uint64_t cookie,
		 const struct volume_attr *attr)
{
	unsigned *n = arg; /* named, not to be named */
	(void)node, (void)type_mode, (void)cookie, (void)attr;

	n[name ? 0 : 1]++;
	return 0;
}

static void expect_entries(struct mounted *t, size_t set, unsigned named, unsigned damaged)
{
	unsigned n[2] = {0};

	assert_int_equal(setmount_ops.readdir(t->m, setmount_node(set, VOLUME_ROOT_ID), 0, true, count, n), 0);
	assert_int_equal(n[0], named);
	assert_int_equal(n[1], damaged);
}

static void expect_noise(struct mounted *t, size_t set, const char *name, uint64_t seed, size_t len)
{
	CLEANUP_FREE uint8_t *want = noise(seed, len), *got = malloc(len + 1);
	struct volume_attr a;

	assert_int_equal(look(t, set, name, &a), 0);
	assert_int_equal(a.size, len);
	assert_int_equal(setmount_ops.open(t->m, a.id), 0);
	assert_int_equal(setmount_ops.read(t->m, a.id, got, len + 1, 0), len);
	assert_memory_equal(got, want, len);
	assert_int_equal(setmount_ops.read(t->m, a.id, got, 10, len), 0);
}

/* More sets than are kept open, in turns: each shows its own moment. */
static void each_set_its_own(void **state)
{
	struct backup_fixture *b = *state;
	uint64_t id = make_noise(b->fx->v, VOLUME_ROOT_ID, "f", 1, 3000000);
	struct mounted t;

	for (uint64_t i = 0; i < SETMOUNT_VIEWS + 2; i++) {
		CLEANUP_FREE uint8_t *p = noise(i + 1, 3000000);
		write_at(b->fx->v, id, p, 3000000, 0);
		back_up_only(b, i == 0);
	}
	mount_sets(b, &t);
	for (unsigned turn = 0; turn < 2; turn++)
		for (size_t i = 0; i < SETMOUNT_VIEWS + 2; i++)
			expect_noise(&t, i, "f", i + 1, 3000000);
	assert_int_equal(t.n_troubles, 0);
	unmount_sets(&t);
}

/* Promise 2: a block whose record lacks is no hole. */
static void lacking_blocks(void **state)
{
	struct backup_fixture *b = *state;
	struct volume_attr a;
	struct mounted t;
	char byte;

	craft(b, put_half_a_file);
	mount_sets(b, &t);
	assert_int_equal(look(&t, 0, "f", &a), 0);
	assert_int_equal(setmount_ops.open(t.m, a.id), -EIO);
	assert_int_equal(setmount_ops.read(t.m, a.id, &byte, 1, 0), -EIO);
	assert_int_equal(t.err, -EBADMSG);
	unmount_sets(&t);
}

#define LARGE (2 * SETVIEW_COUNTED * (uint64_t)SET_RANGE)

static void put_large_without_data(struct set_writer *w, struct bytes_w *body)
{
	const struct set_node n = {.attr = {.mode = S_IFREG | 0644, .nlink = 1, .size = LARGE},
				   .in_blocks = true,
				   .n_mapped = 1};

	put_node(w, 100, &n, body);
	put_name(w, 100, 100, "f", 1, body);
}

/* However large: of what was destroyed in the volume while the set was taken, records may lack. */
static void destroyed_while_taken(void **state)
{
	struct backup_fixture *b = *state;
	struct volume_attr a;
	struct mounted t;

	craft(b, put_large_without_data);
	puncture(b, KEYRING_MASK(KEYRING_LIVE), 100, "D-2026-3");
	mount_sets(b, &t);
	assert_int_equal(look(&t, 0, "f", &a), 0);
	assert_int_equal(setmount_ops.open(t.m, a.id), -EIO);
	unmount_sets(&t);
}

static void put_name_alone(struct set_writer *w, struct bytes_w *body)
{
	put_name(w, 100, 100, "f", 1, body);
}

/* A name without a record: an error that names the order, and listed, since it is there. */
static void order_is_told(void **state)
{
	struct backup_fixture *b = *state;
	struct volume_attr a;
	struct mounted t;

	craft(b, put_name_alone);
	puncture(b, KEYRING_MASK(KEYRING_LIVE), 100, "D-2026-4");
	mount_sets(b, &t);
	assert_int_equal(look(&t, 0, "f", &a), -EIO);
	assert_int_equal(t.err, -EKEYREVOKED);
	assert_string_equal(t.order, "D-2026-4");
	expect_entries(&t, 0, 1, 0);
	unmount_sets(&t);
}

/* What is destroyed has no name; all else is as it was. */
static void destroyed_is_absent(void **state)
{
	struct backup_fixture *b = *state;
	uint64_t gone = make_noise(b->fx->v, VOLUME_ROOT_ID, "secret", 1, 5000);
	struct volume_attr a;
	struct mounted t;

	make_noise(b->fx->v, VOLUME_ROOT_ID, "kept", 2, 5000);
	back_up_only(b, true);
	puncture(b, KEYRING_BOTH, gone, "D-2026-1");
	mount_sets(b, &t);
	assert_int_equal(look(&t, 0, "secret", &a), -ENOENT);
	assert_int_equal(setmount_ops.getattr(t.m, setmount_node(0, gone), &a), -EIO);
	assert_string_equal(t.order, "D-2026-1");
	expect_noise(&t, 0, "kept", 2, 5000);
	expect_entries(&t, 0, 1, 0);
	unmount_sets(&t);
}

/* Where a name is damaged, no other name is said not to be there. */
static void damaged_name(void **state)
{
	struct backup_fixture *b = *state;
	struct view_entry first;
	struct view_names it;
	struct volume_attr a;
	char path[PATH_MAX];
	struct mounted t;
	struct setview *sv;

	make_noise(b->fx->v, VOLUME_ROOT_ID, "f", 5, 5000);
	make_noise(b->fx->v, VOLUME_ROOT_ID, "g", 6, 5000);
	back_up_only(b, true);
	mount_sets(b, &t);
	assert_int_equal(setview_open(b->repo, keys(b), &t.c, 0, &sv, &b->d), 0);
	assert_int_equal(view_names_open(sv, VOLUME_ROOT_ID, 0, false, &it), 0);
	assert_int_equal(view_names_next(&it, &first), 1);
	view_names_close(&it);
	setview_close(sv);
	object_path(b, t.c.sets[0].id, "pack-00000", path);
	flip_raw(path, first.e.off + 60, 1);
	assert_int_equal(look(&t, 0, "f", &a), -EIO);
	assert_int_equal(look(&t, 0, "never was", &a), -EIO);
	expect_noise(&t, 0, "g", 6, 5000);
	expect_entries(&t, 0, 1, 1);
	unmount_sets(&t);
}

static void nodes_of_no_set(void **state)
{
	struct backup_fixture *b = *state;
	struct volume_attr a;
	struct mounted t;

	back_up_only(b, true);
	mount_sets(b, &t);
	assert_int_equal(setmount_ops.getattr(t.m, 77, &a), -ENOENT);
	assert_int_equal(setmount_ops.getattr(t.m, setmount_node(5, VOLUME_ROOT_ID), &a), -ENOENT);
	assert_int_equal(setmount_ops.lookup(t.m, READONLY_TREE_ROOT, "2026", &a), -ENOENT);
	assert_int_equal(setmount_ops.lookup(t.m, READONLY_TREE_ROOT, "latest", &a), 0);
	unmount_sets(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH_REPOSITORY(each_set_its_own),  WITH_REPOSITORY(lacking_blocks), WITH_REPOSITORY(destroyed_while_taken), WITH_REPOSITORY(order_is_told),
	    WITH_REPOSITORY(destroyed_is_absent), WITH_REPOSITORY(damaged_name),   WITH_REPOSITORY(nodes_of_no_set),
	};

	return secret_process_init() ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
