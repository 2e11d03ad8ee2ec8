/*
 * Offline media: the register tells what the volume signed and nothing else; a copied set is the set, or there is
 * none.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "backup/hold.h"
#include "backup/medium.h"
#include "backup/set_copy.h"
#include "tests/unit/backup_fixture.h"

static char (*two_sets(void))[SET_ID_MAX + 1]
{
	char(*s)[SET_ID_MAX + 1] = calloc(2, sizeof(*s));

	assert_non_null(s);
	strcpy(s[0], "20261128T095021Z-ff2b2aaf");
	strcpy(s[1], "20261128T095022Z-00000001");
	return s;
}

static void enter(struct backup_fixture *b, const char *label, bool forgotten)
{
	struct medium m = {.time = 1796000000, .kept = CONF_KEPT_PLATFORM, .by = "uid 0", .n_bytes = 7, .digest = {3},
			   .n_sets = 2, .sets = two_sets(), .forgotten = forgotten};

	snprintf(m.label, sizeof(m.label), "%s", label);
	assert_int_equal(medium_put(b->repo, keyring_volume_id(keys(b)), keyring_sign_seed(keys(b)), &m, NULL, &b->d), 0);
	medium_free(&m);
}

static size_t list(struct backup_fixture *b, struct medium **ret, size_t *ret_bad)
{
	size_t n = 0;

	assert_int_equal(medium_list(b->repo, keyring_volume_id(keys(b)), keyring_header(keys(b))->sign_pk, ret, &n,
				     ret_bad, &b->d), 0);
	return n;
}

/* What could not be read again is not entered: the register would not verify from then on. */
static void test_sets_are_sets(void **state)
{
	struct backup_fixture *b = *state;
	struct medium m = {.time = 1796000000, .kept = CONF_KEPT_PLATFORM, .by = "uid 0", .n_sets = 2, .sets = two_sets()},
		      *all;
	size_t bad;

	strcpy(m.label, "tape");
	strcpy(m.sets[1], "no set");
	assert_int_equal(medium_put(b->repo, keyring_volume_id(keys(b)), keyring_sign_seed(keys(b)), &m, NULL, &b->d),
			 -EINVAL);
	medium_free(&m);
	assert_int_equal(list(b, &all, &bad), 0);
	assert_int_equal(bad, 0);
	medium_list_free(all, 0);
}

/* Entries of one second are told apart: the later one counts. */
static void test_newest_of_each_label(void **state)
{
	struct backup_fixture *b = *state;
	struct medium *m;
	size_t bad;

	for (int i = 0; i < 8; i++)
		enter(b, "tape-2", i % 2);
	enter(b, "tape-1", false);
	assert_int_equal(list(b, &m, &bad), 2);
	assert_int_equal(bad, 0);
	assert_string_equal(m[0].label, "tape-1");
	assert_false(m[0].forgotten);
	assert_int_equal(m[1].number, 8);
	assert_true(m[1].forgotten);
	assert_true(medium_has_set(&m[1], "20261128T095022Z-00000001"));
	assert_false(medium_has_set(&m[1], "20261128T095022Z-00000002"));
	medium_list_free(m, 2);
}

static int on_path(void *arg, const char *path)
{
	if (strstr(path, "/media/"))
		strcpy(arg, path);
	return 0;
}

/* Every bit counts, and an entry in another's place says nothing. */
static void test_tampered(void **state)
{
	struct backup_fixture *b = *state;
	CLEANUP_FREE uint8_t *text = NULL;
	char path[PATH_MAX] = "";
	struct medium *m, one;
	size_t bad;

	enter(b, "tape-1", false);
	assert_int_equal(each_raw(b->repo_dir, on_path, path), 0);
	size_t len = read_raw(path, &text);
	for (size_t i = 0; i < len; i++) {
		text[i] ^= 1;
		assert_int_not_equal(medium_parse((char *)text, keyring_volume_id(keys(b)),
						  keyring_header(keys(b))->sign_pk, &one), 0);
		text[i] ^= 1;
	}
	assert_int_equal(unlink(path), 0);
	strcpy(strrchr(path, '/') + 1, "20991128T095021Z-ff2b2aaf");
	write_raw(path, text, len);
	assert_int_equal(list(b, &m, &bad), 0);
	assert_int_equal(bad, 1);
	medium_list_free(m, 0);
}

static void test_labels(void **state)
{
	(void)state;
	assert_true(medium_label_valid("tape 1, shelf B"));
	assert_true(medium_label_valid("磁带一"));
	assert_false(medium_label_valid(""));
	assert_false(medium_label_valid("../x"));
	assert_false(medium_label_valid("a\nb"));
	assert_false(medium_label_valid(" a"));
	assert_false(medium_label_valid("0123456789012345678901234567890123456789012345678901234567890123"));
}

/* --- copying --- */

struct copying {
	struct set_copying c;
	struct set_catalog cat;
	char dir[128];
	uint64_t stop_at;
};

static int on_object(void *arg, uint64_t n_objects, uint64_t n_bytes)
{
	struct copying *x = arg;

	(void)n_bytes;
	return n_objects >= x->stop_at;
}

static void copying_begin(struct backup_fixture *b, struct copying *x)
{
	make_noise(b->fx->v, VOLUME_ROOT_ID, "file", 1, 3 << 20);
	back_up_only(b, true);
	load(b, &x->cat);
	snprintf(x->dir, sizeof(x->dir), "%s/copy", b->fx->dir);
	assert_int_equal(repo_create_copy(x->dir, b->repo, &b->d), 0);
	x->c = (struct set_copying){.from = b->repo, .volume_id = keyring_volume_id(keys(b)),
				    .sign_pk = keyring_header(keys(b))->sign_pk, .progress = on_object, .arg = x};
	x->stop_at = UINT64_MAX;
	assert_int_equal(repo_open(x->dir, x->c.volume_id, x->c.sign_pk, &x->c.to, &b->d), 0);
}

static void copying_end(struct copying *x)
{
	repo_close(x->c.to);
	set_catalog_free(&x->cat);
}

static size_t sets_in(struct copying *x, struct diag *d)
{
	struct set_catalog c;

	assert_int_equal(set_catalog_load(x->c.to, x->c.volume_id, x->c.sign_pk, &c, d), 0);
	size_t n = c.n_sets;
	assert_int_equal(c.n_damaged, 0);
	set_catalog_free(&c);
	return n;
}

/* Stopped after any object there is no set; the next try copies only what lacks. */
static void test_copy_goes_on(void **state)
{
	struct backup_fixture *b = *state;
	struct copying x = {0};
	struct backup_verdict v;
	uint64_t missing;

	copying_begin(b, &x);
	const struct set_manifest *m = &x.cat.sets[0];
	for (x.stop_at = 1; x.stop_at <= 2 + m->n_packs; x.stop_at++) {
		assert_int_equal(set_copy(&x.c, m, &b->d), -EINTR);
		assert_int_equal(sets_in(&x, &b->d), 0);
	}
	assert_int_equal(set_copy_missing(x.c.to, m, &missing), 0);
	assert_int_equal(missing, 0);
	x.stop_at = UINT64_MAX;
	assert_int_equal(set_copy(&x.c, m, &b->d), 0);
	assert_int_equal(x.c.n_objects, 3 + m->n_packs);
	assert_int_equal(sets_in(&x, &b->d), 1);
	assert_int_equal(backup_scrub(x.c.to, m, &v, &b->d), 0);
	assert_int_equal(v.n_bad, 0);
	copying_end(&x);
}

struct damaging {
	struct backup_fixture *b;
	struct copying *x;
};

static int damage_and_copy(void *arg, const char *what, const struct set_pack *p)
{
	struct damaging *g = arg;
	struct backup_fixture *b = g->b;
	const struct set_manifest *m = &g->x->cat.sets[0];
	char path[PATH_MAX];

	object_path(b, m->id, what, path);
	flip_raw(path, p->len / 2, 4);
	assert_int_equal(set_copy(&g->x->c, m, &b->d), -EBADMSG);
	assert_int_equal(b->d.id, DIAG_SET_DAMAGED);
	assert_non_null(strstr(b->d.object, what));
	assert_int_equal(sets_in(g->x, &b->d), 0);
	flip_raw(path, p->len / 2, 4);
	return 0;
}

static void test_damage_is_not_copied(void **state)
{
	struct backup_fixture *b = *state;
	struct copying x = {0};
	struct damaging g = {b, &x};

	copying_begin(b, &x);
	assert_int_equal(set_each_object(&x.cat.sets[0], damage_and_copy, &g), 0);
	assert_int_equal(set_copy(&x.c, &x.cat.sets[0], &b->d), 0);
	assert_int_equal(sets_in(&x, &b->d), 1);
	copying_end(&x);
}

/* What is damaged at the target, or lies there under the name, is put anew. */
static void test_target_is_not_trusted(void **state)
{
	struct backup_fixture *b = *state;
	struct copying x = {0};
	struct backup_verdict v;
	char path[PATH_MAX];

	copying_begin(b, &x);
	const struct set_manifest *m = &x.cat.sets[0];
	assert_int_equal(set_copy(&x.c, m, &b->d), 0);
	snprintf(path, sizeof(path), "%s/sets/%s/pack-00000", x.dir, m->id);
	flip_raw(path, 100, 1);
	snprintf(path, sizeof(path), "%s/sets/%s/manifest", x.dir, m->id);
	flip_raw(path, 100, 1);
	x.c.n_objects = 0;
	assert_int_equal(set_copy(&x.c, m, &b->d), 0);
	assert_int_equal(x.c.n_objects, 2);
	assert_int_equal(backup_scrub(x.c.to, m, &v, &b->d), 0);
	assert_int_equal(v.n_bad, 0);
	assert_int_equal(sets_in(&x, &b->d), 1);
	copying_end(&x);
}

/* A hold goes along, and the mark of a removal does not come back. */
static void test_hold_goes_along(void **state)
{
	struct backup_fixture *b = *state;
	struct copying x = {0};
	struct hold h = {.time = 1796000000, .by = "x", .reason = "y"}, got;

	copying_begin(b, &x);
	strcpy(h.set, x.cat.sets[0].id);
	assert_int_equal(hold_put(b->repo, x.c.volume_id, keyring_sign_seed(keys(b)), &h, &b->d), 0);
	assert_int_equal(set_copy(&x.c, &x.cat.sets[0], &b->d), 0);
	assert_int_equal(hold_get(x.c.to, h.set, x.c.volume_id, x.c.sign_pk, &got), 0);
	copying_end(&x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_REPOSITORY(test_sets_are_sets),
		WITH_REPOSITORY(test_newest_of_each_label),
		WITH_REPOSITORY(test_tampered),
		cmocka_unit_test(test_labels),
		WITH_REPOSITORY(test_copy_goes_on),
		WITH_REPOSITORY(test_damage_is_not_copied),
		WITH_REPOSITORY(test_target_is_not_trusted),
		WITH_REPOSITORY(test_hold_goes_along),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
