/*
 * The whole engine and power cuts (promise 3). A script runs once on a medium that remembers every
 * write and sync; then power is lost behind each of them, and of what was not synced nothing, all,
 * a part, or a part torn at 512 or 4096 bytes reaches the medium. Each distinct state mounts at
 * once and is whole, shows what was acknowledged, never mixes what was not, keeps the open snapshot
 * as it was, and can be worked with.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/fault/engine_script.h"
#include "tests/fault/medium.h"

#define SEEN_MAX (1u << 16)

struct run {
	struct fixture fx;
	struct identity *who;
	struct model *m;
	size_t begun_at[SCRIPT_STEPS], acked_at[SCRIPT_STEPS]; /* calls made until then */
	uint64_t seen[SEEN_MAX];
	unsigned n_states, n_same;
	size_t n_ops; /* calls recorded */
};

static uint64_t seed;

static void record_script(struct run *r)
{
	medium_record(r->fx.dir);
	assert_int_equal(script_open_keys(&r->fx, r->who), 0);
	assert_int_equal(script_mount(&r->fx), 0);
	for (unsigned i = 0; i < SCRIPT_STEPS; i++) {
		model_step(r->m, i);
		r->begun_at[i] = medium_n_ops();
		assert_int_equal(script_do(r->fx.v, r->m, i), 0);
		r->acked_at[i] = medium_n_ops();
	}
	assert_int_equal(volume_close(r->fx.v), 0);
	r->fx.v = NULL;
	fixture_close_keys(&r->fx);
	medium_stop();
}

static struct run *new_run(void)
{
	struct run *r = calloc(1, sizeof(*r));
	struct fixture *fx = fixture_new();

	assert_non_null(r);
	r->fx = *fx;
	free(fx);
	r->m = calloc(1, sizeof(*r->m));
	assert_non_null(r->m);
	r->who = identity_new("Ada", "1");
	assert_non_null(r->who);
	fixture_create_keys(&r->fx, r->fx.dir, r->who);
	assert_int_equal(script_open_keys(&r->fx, r->who), 0);
	struct volume_config cfg = fixture_config(&r->fx);
	assert_int_equal(volume_create(&cfg, 1000, 1000, &r->fx.d), 0);
	fixture_close_keys(&r->fx);
	return r;
}

static int setup_recorded(void **state)
{
	*state = new_run();
	record_script(*state);
	return 0;
}

static int setup(void **state)
{
	*state = new_run();
	return 0;
}

static int teardown(void **state)
{
	struct run *r = *state;

	printf("# %u distinct states of %zu calls; %u more were the same as one of them\n",
	       r->n_states, r->n_ops, r->n_same);
	remove_tree(AT_FDCWD, r->fx.dir);
	identity_free(r->who);
	model_free(r->m);
	free(r);
	return 0;
}

/* Steps acknowledged and begun when the cut came. */
static void steps_at(const struct run *r, size_t cut, unsigned *ret_acked, unsigned *ret_begun)
{
	*ret_acked = *ret_begun = 0;
	while (*ret_acked < SCRIPT_STEPS && r->acked_at[*ret_acked] <= cut)
		++*ret_acked;
	while (*ret_begun < SCRIPT_STEPS && r->begun_at[*ret_begun] < cut)
		++*ret_begun;
	if (*ret_begun < *ret_acked)
		*ret_begun = *ret_acked;
}

static bool snapshot_is_due(const struct run *r, unsigned acked, unsigned begun)
{
	bool closing = false;

	for (unsigned i = 0; i < begun; i++)
		closing |= script[i].op == SNAP_CLOSE;
	return r->m->snap_step && acked >= r->m->snap_step && !closing;
}

static void goes_on(struct run *r, unsigned acked)
{
	uint64_t id = 0;
	int err = try_make(r->fx.v, VOLUME_ROOT_ID, "new", S_IFREG | 0600, &id);

	assert_int_equal(err, 0);
	uint8_t block[10000];
	memset(block, (int)acked, sizeof(block));
	write_at(r->fx.v, id, block, sizeof(block), 0);
	assert_int_equal(volume_fsync(r->fx.v, id), 0);
	check_file(r->fx.v, id, (char)acked, sizeof(block));
}

static void mount(struct run *r)
{
	assert_int_equal(script_open_keys(&r->fx, r->who), 0);
	if (script_mount(&r->fx)) {
		diag_print(&r->fx.d, stderr);
		fail_msg("does not mount");
	}
}

/* A mount that may write closes what an earlier one left open. */
static void mount_to_read(struct run *r)
{
	assert_int_equal(script_open_keys(&r->fx, r->who), 0);
	struct volume_config cfg = fixture_config(&r->fx);
	cfg.read_only = true;
	assert_int_equal(volume_open(&cfg, &r->fx.v, &r->fx.d), 0);
}

static void expect_no_snapshot(struct run *r)
{
	struct volume_stat st;

	volume_stat(r->fx.v, &st);
	assert_int_equal(st.n_snapshots, 0);
}

static void unmount(struct run *r)
{
	assert_int_equal(volume_close(r->fx.v), 0);
	r->fx.v = NULL;
	fixture_close_keys(&r->fx);
}

static void check_state(struct run *r, size_t cut)
{
	struct volume_check c;
	unsigned acked, begun;

	steps_at(r, cut, &acked, &begun);
	r->fx.n_alarms = 0;
	if (snapshot_is_due(r, acked, begun)) {
		mount_to_read(r);
		snapshot_holds(r->fx.v, r->m);
		unmount(r);
	}
	mount(r);
	assert_true(script_holds(r->fx.v, r->m, acked, begun));
	expect_no_snapshot(r);
	goes_on(r, acked);
	assert_int_equal(volume_check(r->fx.v, true, print_finding, NULL, &c), 0);
	assert_int_equal(c.n_bad, 0);
	assert_int_equal(r->fx.n_alarms, 0);
	unmount(r);
}

/* False for a state that was seen. */
static bool is_new(struct run *r, uint64_t hash)
{
	size_t i = hash % SEEN_MAX;

	hash |= !hash;
	while (r->seen[i] && r->seen[i] != hash)
		i = (i + 1) % SEEN_MAX;
	if (r->seen[i] == hash)
		return false;
	r->seen[i] = hash;
	return true;
}

static size_t current_cut;
static enum medium_keep current_keep;

static void cut(struct run *r, size_t at, enum medium_keep keep, unsigned unit, uint64_t salt)
{
	struct medium_state *s = medium_cut(at, keep, unit, seed + at * 64 + salt);
	unsigned acked, begun;

	/* What may be expected of the same bytes differs with the step. */
	steps_at(r, at, &acked, &begun);
	current_cut = at;
	current_keep = keep;
	if (is_new(r, medium_state_hash(s) + acked * 1000003u + begun * 7919u)) {
		medium_state_put(s);
		r->n_states++;
		check_state(r, at);
	} else {
		r->n_same++;
	}
	medium_state_free(s);
}

static void cut_everywhere(struct run *r, enum medium_keep keep, unsigned unit, unsigned n_salts)
{
	r->n_ops = medium_n_ops();
	for (size_t at = 0; at <= r->n_ops; at++) {
		for (unsigned salt = 0; salt < n_salts; salt++)
			cut(r, at, keep, unit, keep * 16 + unit + salt);
	}
}

static void test_synced_only(void **state)
{
	cut_everywhere(*state, MEDIUM_SYNCED, 0, 1);
}

static void test_all_arrived(void **state)
{
	cut_everywhere(*state, MEDIUM_ALL, 0, 1);
}

static void test_some_in_any_order(void **state)
{
	cut_everywhere(*state, MEDIUM_SOME, 0, 8);
}

static void test_torn_at_sectors(void **state)
{
	cut_everywhere(*state, MEDIUM_TORN, 512, 6);
}

static void test_torn_at_pages(void **state)
{
	cut_everywhere(*state, MEDIUM_TORN, 4096, 4);
}

/* The script in a process that dies before its last step, a sync: what fsync acknowledged is in the
 * log. */
static void script_dies(struct run *r)
{
	int status;

	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		int bad = script_open_keys(&r->fx, r->who) || script_mount(&r->fx);

		for (unsigned i = 0; i + 1 < SCRIPT_STEPS && !bad; i++) {
			model_step(r->m, i);
			bad = script_do(r->fx.v, r->m, i);
		}
		_exit(bad != 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* Promise: power may fail again while a volume recovers from a crash, and while it is closed. */
static void test_cut_in_recovery(void **state)
{
	struct run *r = *state;

	script_dies(r);
	for (unsigned i = 0; i < SCRIPT_STEPS; i++)
		model_step(r->m, i);
	medium_record(r->fx.dir);
	assert_int_equal(script_open_keys(&r->fx, r->who), 0);
	assert_int_equal(script_mount(&r->fx), 0);
	assert_int_equal(volume_close(r->fx.v), 0);
	r->fx.v = NULL;
	fixture_close_keys(&r->fx);
	medium_stop();
	assert_true(medium_n_ops() > 20);
	cut_everywhere(r, MEDIUM_SYNCED, 0, 1);
	cut_everywhere(r, MEDIUM_ALL, 0, 1);
	cut_everywhere(r, MEDIUM_SOME, 0, 8);
	cut_everywhere(r, MEDIUM_TORN, 512, 8);
	cut_everywhere(r, MEDIUM_TORN, 4096, 4);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_synced_only),
	    cmocka_unit_test(test_all_arrived),
	    cmocka_unit_test(test_some_in_any_order),
	    cmocka_unit_test(test_torn_at_sectors),
	    cmocka_unit_test(test_torn_at_pages),
	    /* last: it records anew */
	    cmocka_unit_test_setup_teardown(test_cut_in_recovery, setup, teardown),
	};

	fixture_in_memory();
	kdf_random(&seed, sizeof(seed));
	if (argc > 1)
		seed = strtoull(argv[1], NULL, 10);
	printf("# seed %llu\n", (unsigned long long)seed);
	int r = cmocka_run_group_tests(tests, setup_recorded, teardown);
	if (r)
		printf("# last cut behind call %zu, keep %d\n", current_cut, (int)current_keep);
	return r;
}
