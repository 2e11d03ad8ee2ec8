/* Interruptions: nothing but completion ends an execution, and nothing slips past it meanwhile. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/execute_fixture.h"

/*
 * Stopped at each moment that progress tells of (before a step, after it but before the journal
 * knows, and before the next), with everything reopened, the next run goes on to the same end; and
 * before it does, the order is never reported as done.
 */
static void goes_on_after_every_stop(void **state)
{
	struct stage *s = *state;
	struct scene x = play(s);
	struct order o = order_for(s, x.t, PLAIN);
	struct shred_result res;
	int n_stops = 0, r;

	for (;; n_stops++) {
		struct diag d = {0};
		enum order_state now;
		unsigned missing;

		s->n_progress = 0;
		/* A cycle of three takes a step of six; the last four moments are one run's. */
		s->stop_at = n_stops < 18 ? 1 + n_stops % 3 : 1 + n_stops - 18;
		r = shred_execute(&s->ctx, o.number, &res, &d);
		if (r == 0)
			break;
		assert_int_equal(d.id, DIAG_INTERRUPTED);
		assert_true(n_stops < 40);
		assert_int_equal(
		    order_judge(s->store_fd, s->charter, &o, time(NULL), &now, &missing, &d), 0);
		assert_int_not_equal(now, ORDER_DONE);
		stage_reopen(s);
	}
	assert_int_equal(n_stops, 22);
	assert_int_equal(res.state, ORDER_DONE);
	check_destroyed(s, &x);
}

static int stop_at_step(void *arg, const char *step, uint64_t done, uint64_t total)
{
	(void)total;
	return !done && !strcmp(step, arg);
}

/* Runs until the step is about to begin, and stops there. */
static void stop_before(struct stage *s, const struct order *o, const char *step)
{
	struct shred_result res;
	struct diag d = {0};

	s->ctx.progress = stop_at_step;
	s->ctx.arg = (void *)step;
	s->ctx.invalidate = NULL;
	assert_int_equal(shred_execute(&s->ctx, o->number, &res, &d), -EINTR);
	s->ctx.progress = NULL;
}

/* A file that comes into the folder while an interrupted order waits stops the puncture, survives,
 * and the order goes on once it is moved out. */
static void strays_stop_the_puncture(void **state)
{
	struct stage *s = *state;
	struct scene x = play(s);
	struct order o = order_for(s, x.t, PLAIN);
	struct shred_result res;

	stop_before(s, &o, "punctured");
	make_file(s->fx.v, x.sub, "intruder", 'i', 10);
	refused(s, &o, DIAG_ORDER_DRIFT);
	assert_false(key_gone(s, KEYRING_LIVE, x.t));
	assert_int_equal(volume_rename(s->fx.v, x.sub, "intruder", x.survivor_dir, "intruder", 0),
			 0);
	execute(s, &o, &res);
	check_destroyed(s, &x);
	check_file(s->fx.v, find_id(s->fx.v, x.survivor_dir, "intruder"), 'i', 10);
}

/* The index of every set changes by a bit; how many sets there are. */
static size_t damage_indexes(struct stage *s)
{
	char **ids, name[96];
	size_t n;

	assert_int_equal(repo_list(s->repo, "sets/", &ids, &n), 0);
	for (size_t i = 0; i < n; i++) {
		CLEANUP_FREE uint8_t *index = NULL;
		size_t len;

		snprintf(name, sizeof(name), "sets/%s/index", ids[i]);
		assert_int_equal(repo_get(s->repo, name, 1 << 20, &index, &len), 0);
		index[len / 2] ^= 1;
		assert_int_equal(repo_put(s->repo, name, index, len), 0);
	}
	repo_list_free(ids, n);
	return n;
}

/* Sets that were damaged after the puncture cannot be looked into: the order completes, and neither
 * the trail nor the certificate nor its figures pass them off as verified. */
static void unread_sets_are_told(void **state)
{
	struct stage *s = *state;
	struct scene x = play(s);
	struct order o = order_for(s, x.t, PLAIN);
	struct shred_result res;
	char path[160], line[64], *text;

	stop_before(s, &o, "verified");
	size_t n = damage_indexes(s);
	assert_true(n > 0);
	execute(s, &o, &res);
	assert_int_equal(res.state, ORDER_DONE);
	assert_int_equal(res.n_sets_unread, n);
	assert_int_equal(res.n_set_records, 0);
	assert_string_equal(in_trail(s, OPERATION_VERIFY).last.result, "integrity");
	snprintf(path, sizeof(path), "%s/orders/%s/certificate", s->fx.store, o.number);
	assert_int_equal(note_file_read(AT_FDCWD, path, 1 << 20, &text), 0);
	snprintf(line, sizeof(line), "\nsets-unread: %zu\n", n);
	assert_non_null(strstr(text, line));
	assert_non_null(strstr(text, "\nlimit-en: Sets whose manifest or index does not read"));
	free(text);
}

/* What an order spares, and what meanwhile lost its name elsewhere, would go with the folder: the
 * order stops while there is a way back. */
static void lost_names_stop_the_puncture(void **state)
{
	struct stage *s = *state;
	struct volume *v = s->fx.v;
	struct volume_attr a;
	struct shred_result res;
	uint64_t t = make(v, VOLUME_ROOT_ID, "t", S_IFDIR | 0755),
		 linked = make_file(v, t, "linked", 'l', 100);

	assert_int_equal(volume_link(v, linked, VOLUME_ROOT_ID, "outside", &a), 0);
	struct order o = order_for(s, t, PLAIN);
	stop_before(s, &o, "punctured");
	assert_int_equal(volume_unlink(v, VOLUME_ROOT_ID, "outside"), 0);
	refused(s, &o, DIAG_ORDER_DRIFT);
	assert_false(key_gone(s, KEYRING_LIVE, t));
	assert_int_equal(volume_link(v, linked, VOLUME_ROOT_ID, "again", &a), 0);
	execute(s, &o, &res);
	check_file(v, find_id(v, VOLUME_ROOT_ID, "again"), 'l', 100);
	volume_forget(v, linked, 2);
}

struct intruder {
	struct stage *s;
	uint64_t t, doc, linked;
	unsigned n_frozen, n_gone;
};

/* Tries what would change what the order was checked against. */
static int intrude(void *arg, const char *step, uint64_t done, uint64_t total)
{
	struct intruder *in = arg;
	struct volume *v = in->s->fx.v;
	struct volume_attr a;
	uint64_t id;
	(void)total;

	if (!strcmp(step, "begin") && !done)
		return 0; /* nothing was looked at yet, and nothing promised */
	assert_int_equal(volume_unlink(v, VOLUME_ROOT_ID, "outside"), -EROFS);
	int r[] = {
	    try_make(v, in->t, "new", S_IFREG | 0644, &id),
	    (int)volume_write(v, in->doc, "x", 1, 0, false),
	    volume_rename(v, VOLUME_ROOT_ID, "loose", in->t, "loose", 0),
	    volume_link(v, in->doc, VOLUME_ROOT_ID, "escaped", &a),
	};
	bool gone = key_gone(in->s, KEYRING_LIVE, in->t);
	for (size_t i = 0; i < sizeof(r) / sizeof(r[0]); i++)
		assert_true(r[i] == -EROFS || (gone && r[i] == -EIO) || (gone && r[i] == -ENOENT));
	in->n_frozen += !gone;
	in->n_gone += gone;
	return 0;
}

/* From the checks to the end nothing comes under an order's folders or leaves them, and what it
 * spares keeps its other names; so the erasure meets what was checked. Then all is as before. */
static void nothing_moves_while_it_runs(void **state)
{
	struct stage *s = *state;
	struct volume *v = s->fx.v;
	struct intruder in = {.s = s};
	struct shred_result res;
	struct volume_stat st;
	struct volume_attr a;

	in.t = make(v, VOLUME_ROOT_ID, "t", S_IFDIR | 0755);
	in.doc = make_file(v, in.t, "doc", 'd', BIG);
	in.linked = make_file(v, in.t, "linked", 'l', 100);
	make_file(v, VOLUME_ROOT_ID, "loose", 'o', 100);
	assert_int_equal(volume_link(v, in.linked, VOLUME_ROOT_ID, "outside", &a), 0);
	volume_forget(v, in.linked, 1);
	assert_int_equal(volume_open_file(v, in.doc, true), 0);
	struct order o = order_for(s, in.t, PLAIN);
	s->ctx.progress = intrude;
	s->ctx.arg = &in;
	s->ctx.invalidate = NULL;
	execute(s, &o, &res);
	assert_true(in.n_frozen >= 4 && in.n_gone >= 4);
	volume_release_file(v, in.doc, true);
	volume_stat(v, &st);
	assert_false(st.read_only);
	assert_int_equal(volume_rename(v, VOLUME_ROOT_ID, "loose", VOLUME_ROOT_ID, "free", 0), 0);
	assert_int_equal(volume_unlink(v, VOLUME_ROOT_ID, "outside"), 0);
	check_clean(v);
}

/* An execution that ends before the puncture leaves the folder as usable as it was. */
static void a_refusal_thaws(void **state)
{
	struct stage *s = *state;
	struct scene x = play(s);
	struct order o = order_for(s, x.t, PLAIN);

	make_file(s->fx.v, x.sub, "late", 'i', 10);
	refused(s, &o, DIAG_ORDER_DRIFT);
	write_at(s->fx.v, x.doc, "x", 1, 0);
	assert_int_equal(volume_unlink(s->fx.v, x.sub, "late"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    STAGED(goes_on_after_every_stop),
	    STAGED(strays_stop_the_puncture),
	    STAGED(lost_names_stop_the_puncture),
	    STAGED(nothing_moves_while_it_runs),
	    STAGED(a_refusal_thaws),
	    STAGED(unread_sets_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
