/*
 * Drills and their records: what a drill calls good came back byte for byte, what cannot come back
 * is found out, a file that changed meanwhile is no false alarm, nothing is left behind; and a
 * record counts only as the volume signed it.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "backup/drill.h"
#include "backup/policy.h"
#include "backup/proof.h"
#include "core/note.h"
#include "tests/unit/backup_tree.h"

/* ---- short forms ---- */

static struct drill_result drill(struct backup_fixture *b, uint64_t n_files, bool live)
{
	struct set_catalog cat;
	struct drill_result res;

	load(b, &cat);
	const struct drill_request in = {.repo = b->repo,
					 .kr = keys(b),
					 .catalog = &cat,
					 .set = cat.n_sets - 1,
					 .n_files = n_files,
					 .scratch = b->fx->dir,
					 .live = live ? b->fx->v : NULL};
	int err = drill_run(&in, &res, &b->d);
	if (err)
		diag_print(&b->d, stderr);
	assert_int_equal(err, 0);
	set_catalog_free(&cat);
	return res;
}

static unsigned scratches(struct backup_fixture *b)
{
	DIR *dir = opendir(b->fx->dir);
	unsigned n = 0;

	for (struct dirent *e; (e = readdir(dir));)
		n += strncmp(e->d_name, "coffer-drill-", 13) == 0;
	closedir(dir);
	return n;
}

static void make_files(struct backup_fixture *b, unsigned n)
{
	char name[32];

	for (unsigned i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "file %u", i);
		make_noise(b->fx->v, VOLUME_ROOT_ID, name, i + 1, i * 7000);
	}
}

/* ---- drills ---- */

/* Every file of a random life, from a full and an incremental set, comes back and equals the live
 * one. */
static void test_good(void **state)
{
	struct backup_fixture *b = *state;
	struct life l = life_begin(b->fx->v, 7);

	live_on(&l, 200);
	back_up_only(b, true);
	live_on(&l, 60);
	back_up_only(b, false);
	struct drill_result res = drill(b, 1000, true);
	assert_true(res.n_files > 10);
	assert_int_equal(res.n_files, res.n_in_set);
	assert_int_equal(res.n_live, res.n_files);
	assert_int_equal(res.n_bad, 0);
	assert_int_equal(drill(b, 1000, false).n_live, 0);
	assert_int_equal(drill(b, 3, true).n_files, 3);
	assert_int_equal(scratches(b), 0);
	check_clean(b->fx->v);
}

/* A sample is drawn anew each time: over many drills of one file, more than one file is met. */
static void test_sample_is_random(void **state)
{
	struct backup_fixture *b = *state;
	uint64_t sizes = 0;

	make_files(b, 8);
	back_up_only(b, true);
	for (int i = 0; i < 40; i++)
		sizes |= 1u << (drill(b, 1, false).n_bytes / 7000);
	assert_true((sizes & (sizes - 1)) != 0);
}

/* What was written, changed or removed since the set is compared with the set alone. */
static void test_changed_since(void **state)
{
	struct backup_fixture *b = *state;
	struct volume *v = b->fx->v;

	make_files(b, 6);
	back_up_only(b, true);
	write_at(v, find_id(v, VOLUME_ROOT_ID, "file 1"), "x", 1, 0);
	/* As the kernel's cache writes: no time changes with it. */
	assert_int_equal(
	    volume_write(v, find_id(v, VOLUME_ROOT_ID, "file 2"), "x", 1, 5000, true), 1);
	assert_int_equal(volume_unlink(v, VOLUME_ROOT_ID, "file 3"), 0);
	struct drill_result res = drill(b, 100, true);
	assert_int_equal(res.n_files, 6);
	assert_int_equal(res.n_bad, 0);
	assert_int_equal(res.n_live, 3);
}

/* A live file that can no longer be read, though nothing changed it, is found out. */
static void test_live_damage(void **state)
{
	struct backup_fixture *b = *state;
	char object[64], path[PATH_MAX];
	uint64_t id;

	make_files(b, 3);
	id = find_id(b->fx->v, VOLUME_ROOT_ID, "file 2");
	back_up_only(b, true);
	fixture_remount(b->fx); /* nothing of it is in a cache */
	volume_object_path(id, 0, object);
	snprintf(path, sizeof(path), "%s/%s", b->fx->store, object);
	flip_raw(path, 5000, 1);
	struct drill_result res = drill(b, 100, true);
	assert_int_equal(res.n_bad, 1);
	assert_non_null(strstr(res.first_bad, "the live file"));
}

/* Damage of the set is counted, named by id and never by name, and the rest is drilled. */
static void test_set_damage(void **state)
{
	struct backup_fixture *b = *state;
	struct set_manifest m;
	char path[PATH_MAX];
	uint8_t *raw;

	make_files(b, 6);
	back_up(b, true, &m);
	object_path(b, m.id, "pack-00000", path);
	set_manifest_free(&m);
	size_t len = read_raw(path, &raw);
	free(raw);
	flip_raw(path, len - 1000, 1);
	struct drill_result res = drill(b, 100, true);
	assert_int_equal(res.n_files, 6);
	assert_int_equal(res.n_bad, 1);
	assert_non_null(strstr(res.first_bad, "cannot be restored"));
	assert_null(strstr(res.first_bad, "file"));
	assert_int_equal(scratches(b), 0);
}

/* What an order destroyed is not drawn, and no failure. */
static void test_destroyed(void **state)
{
	struct backup_fixture *b = *state;

	make_files(b, 4);
	back_up_only(b, true);
	puncture(b, KEYRING_BOTH, find_id(b->fx->v, VOLUME_ROOT_ID, "file 2"), "D-20261128-0001");
	struct drill_result res = drill(b, 100, false);
	assert_int_equal(res.n_in_set, 3);
	assert_int_equal(res.n_files, 3);
	assert_int_equal(res.n_bad, 0);
}

static int stop(void *arg, uint64_t n_files, uint64_t n_bytes)
{
	(void)arg;
	(void)n_bytes;
	return n_files == 2;
}

/* Stopped, or without a place for its files, a drill fails and leaves nothing; what a killed one left
 * is swept, and nothing else. */
static void test_scratch(void **state)
{
	struct backup_fixture *b = *state;
	struct set_catalog cat;
	struct drill_result res;
	char path[PATH_MAX];

	make_files(b, 4);
	back_up_only(b, true);
	load(b, &cat);
	struct drill_request in = {.repo = b->repo, .kr = keys(b), .catalog = &cat, .n_files = 9,
				   .scratch = b->fx->dir, .progress = stop};
	assert_int_equal(drill_run(&in, &res, &b->d), -EINTR);
	assert_int_equal(scratches(b), 0);
	in.scratch = "/nowhere/at/all";
	assert_int_equal(drill_run(&in, &res, &b->d), -ENOENT);
	set_catalog_free(&cat);

	snprintf(path, sizeof(path), "%s/coffer-drill-x", b->fx->dir);
	assert_int_equal(mkdir(path, 0700), 0);
	strcat(path, "/file");
	write_raw(path, "plaintext", 9);
	drill_sweep(b->fx->dir);
	assert_int_equal(scratches(b), 0);
	assert_int_equal(access(b->repo_dir, F_OK), 0);
}

/* ---- records ---- */

static struct proof some_proof(uint64_t n_bad)
{
	struct proof p = {.kind = PROOF_DRILL, .time = 1795860000, .n_sets = 1, .n_checked = 20,
			  .n_bytes = 4096, .n_live = 19, .n_destroyed = 2, .n_bad = n_bad};

	strcpy(p.set, "20261128T091500Z-1a2b3c4d");
	if (n_bad)
		strcpy(p.first_bad, "set 20261128T091500Z-1a2b3c4d, id 17: cannot be restored");
	return p;
}

static int last(struct backup_fixture *b, bool passed, struct proof *ret)
{
	return proof_last(b->repo, PROOF_DRILL, passed, keyring_volume_id(keys(b)),
			  keyring_header(keys(b))->sign_pk, ret);
}

static void put(struct backup_fixture *b, struct proof *p)
{
	assert_int_equal(proof_put(b->repo, keyring_volume_id(keys(b)), keyring_sign_seed(keys(b)), p,
				   &b->d),
			 0);
}

/* The newest record is found, and the newest that passed. */
static void test_proof_last(void **state)
{
	struct backup_fixture *b = *state;
	struct proof good = some_proof(0), bad = some_proof(1), p;

	assert_int_equal(last(b, false, &p), -ENOENT);
	put(b, &good);
	bad.time += 60;
	put(b, &bad);
	assert_int_equal(last(b, false, &p), 0);
	assert_string_equal(p.id, bad.id);
	assert_string_equal(p.first_bad, bad.first_bad);
	assert_int_equal(p.n_live, 19);
	assert_int_equal(last(b, true, &p), 0);
	assert_string_equal(p.id, good.id);
	assert_int_equal(p.time, good.time);
}

/* A verification says which share of the records was drawn; none, or more than all, is no record. */
static void test_proof_share(void **state)
{
	struct backup_fixture *b = *state;
	const uint8_t *volume = keyring_volume_id(keys(b)), *pk = keyring_header(keys(b))->sign_pk;
	static const unsigned bad[] = {0, 101};
	struct proof p = some_proof(0), q;
	char *text = NULL;

	p.kind = PROOF_VERIFY;
	for (size_t i = 0; i < 2; i++) {
		p.percent = bad[i];
		assert_int_equal(proof_build(&p, volume, keyring_sign_seed(keys(b)), &text), -EINVAL);
	}
	p.percent = 1;
	put(b, &p);
	assert_int_equal(proof_build(&p, volume, keyring_sign_seed(keys(b)), &text), 0);
	assert_int_equal(proof_parse(text, PROOF_VERIFY, volume, pk, &q), 0);
	assert_int_equal(q.percent, 1);
	char *body = strndup(text, (size_t)(strstr(text, "\n\n") + 1 - text)), *digit = strstr(body, "percent: 1") + 9;
	for (size_t i = 0; i < 2; i++) {
		char *forged = NULL;

		*digit = "0x"[i];
		assert_int_equal(note_sign_volume(body, volume, keyring_sign_seed(keys(b)), &forged), 0);
		assert_int_equal(proof_parse(forged, PROOF_VERIFY, volume, pk, &q), -EUCLEAN);
		free(forged);
	}
	free(body);
	free(text);
}

/* Changed, cut, signed by another, of another kind or in another's place: no record. */
static void test_proof_tampered(void **state)
{
	struct backup_fixture *b = *state;
	const uint8_t *volume = keyring_volume_id(keys(b)), *pk = keyring_header(keys(b))->sign_pk;
	const uint8_t other_seed[32] = {1};
	struct proof p = some_proof(0), q;
	char path[PATH_MAX];
	uint8_t *raw;

	put(b, &p);
	snprintf(path, sizeof(path), "%s/drills/%s", b->repo_dir, p.id);
	size_t len = read_raw(path, &raw);
	char *text = calloc(1, len + 1);
	memcpy(text, raw, len);
	assert_int_equal(proof_parse(text, PROOF_DRILL, volume, pk, &q), 0);
	assert_true(proof_parse(text, PROOF_VERIFY, volume, pk, &q) < 0);
	for (size_t i = 0; i + 1 < len; i++) {
		text[i] ^= 1;
		assert_true(proof_parse(text, PROOF_DRILL, volume, pk, &q) < 0);
		text[i] ^= 1;
	}
	for (size_t i = 0; i + 1 < len; i++) {
		char kept = text[i];
		text[i] = 0;
		assert_true(proof_parse(text, PROOF_DRILL, volume, pk, &q) < 0);
		text[i] = kept;
	}
	free(text);
	char *forged = NULL;
	assert_int_equal(proof_build(&p, volume, other_seed, &forged), 0);
	assert_int_equal(proof_parse(forged, PROOF_DRILL, volume, pk, &q), -EBADMSG);
	free(forged);

	snprintf(path, sizeof(path), "%s/drills/29990101T000000Z-00000000", b->repo_dir);
	write_raw(path, raw, len);
	free(raw);
	assert_int_equal(last(b, false, &q), 0);
	assert_string_equal(q.id, p.id);
}

/* Due when none has passed, when the last one is long enough ago, or dated in the future; never when
 * the policy wants none. */
static void test_due(void **state)
{
	struct conf c;
	const int64_t now = 1795860000, day = 86400;
	(void)state;

	conf_init(&c);
	assert_false(policy_drill_due(&c, POLICY_NEVER, now));
	c.drill_days = 7;
	assert_true(policy_drill_due(&c, POLICY_NEVER, now));
	assert_false(policy_drill_due(&c, now - 6 * day, now));
	assert_true(policy_drill_due(&c, now - 7 * day, now));
	assert_true(policy_drill_due(&c, now - 7 * day + 60, now));
	assert_true(policy_drill_due(&c, now + day, now));
	assert_false(policy_drill_due(&c, now + 60, now));
	c.backup_wanted = false;
	assert_false(policy_drill_due(&c, POLICY_NEVER, now));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH_REPOSITORY(test_good),	     WITH_REPOSITORY(test_sample_is_random), WITH_REPOSITORY(test_changed_since),
	    WITH_REPOSITORY(test_live_damage),  WITH_REPOSITORY(test_set_damage),	  WITH_REPOSITORY(test_destroyed),
	    WITH_REPOSITORY(test_scratch),	     WITH_REPOSITORY(test_proof_last),	  WITH_REPOSITORY(test_proof_tampered), WITH_REPOSITORY(test_proof_share),
	    cmocka_unit_test(test_due),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
