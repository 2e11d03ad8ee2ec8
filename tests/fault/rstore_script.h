/*
 * A short life of a record store, for tests that break off at every point of it: a list of steps,
 * each of which can be repeated until it succeeds, and the digest of what the store holds after
 * each. Included by one file of each test program.
 */
#ifndef COFFER_TESTS_RSTORE_SCRIPT_H
#define COFFER_TESTS_RSTORE_SCRIPT_H

#include "core/bytes.h"
#include "tests/unit/rstore_fixture.h"

struct state_digest {
	uint8_t b[KDF_HASH_LEN];
};

/* --- digest: live records and every open snapshot; transaction numbers differ from run to run ---
 */

static inline int script_hash(void *arg, const struct rstore_key *key, const void *val, size_t len,
			      uint64_t txn)
{
	uint8_t head[5];

	(void)txn;
	head[0] = key->len;
	bytes_put32(head + 1, (uint32_t)len);
	kdf_hash_update(arg, head, sizeof(head));
	kdf_hash_update(arg, key->b, key->len);
	kdf_hash_update(arg, val, len);
	return 0;
}

static inline int script_live_digest(struct rstore *rs, struct state_digest *ret)
{
	struct kdf_hash_state st;
	int r;

	kdf_hash_init(&st);
	r = rstore_scan(rs, NULL, NULL, script_hash, &st);
	kdf_hash_final(&st, ret->b);
	return r;
}

static inline int script_digest(struct rstore *rs, struct state_digest *ret)
{
	struct rstore_snap snaps[RSTORE_SNAPSHOTS_MAX];
	size_t n = rstore_snap_list(rs, snaps);
	struct kdf_hash_state st;
	int r;

	kdf_hash_init(&st);
	r = rstore_scan(rs, NULL, NULL, script_hash, &st);
	for (size_t i = 0; i < n && !r; i++) {
		struct rstore_key next;
		bool more;

		kdf_hash_update(&st, &snaps[i].id, sizeof(snaps[i].id));
		r = rstore_snap_scan(rs, &snaps[i], 0, NULL, NULL, 0, script_hash, &st, &more,
				     &next);
	}
	kdf_hash_final(&st, ret->b);
	return r;
}

/* --- steps --- */

static inline int script_put(struct fx *f, uint64_t from, uint64_t to, const char *val)
{
	int r = 0;

	for (uint64_t n = from; n <= to && !r; n++) {
		struct rstore_key k = fx_key(n);

		r = rstore_put(f->rs, &k, val, strlen(val));
	}
	return r;
}

static inline int script_del(struct fx *f, uint64_t from, uint64_t to)
{
	int r = 0;

	for (uint64_t n = from; n <= to && !r; n++) {
		struct rstore_key k = fx_key(n);

		r = rstore_del(f->rs, &k);
	}
	return r;
}

static inline int script_snap_open(struct fx *f)
{
	struct rstore_snap s;

	return rstore_snap_open(f->rs, &s);
}

/* Closes the oldest of two. A repetition that finds it gone has nothing left to do. */
static inline int script_snap_close(struct fx *f)
{
	struct rstore_snap snaps[RSTORE_SNAPSHOTS_MAX];
	size_t n = rstore_snap_list(f->rs, snaps);

	return n < 2 ? 0 : rstore_snap_close(f->rs, snaps[0].id);
}

static inline int script_reopen(struct fx *f)
{
	fx_close(f);
	return rstore_open(&f->cfg, NULL, &f->rs, NULL);
}

#define SCRIPT_STEPS 14

static inline int script_write(struct fx *f, unsigned step)
{
	struct rstore_key from = fx_key(150), to = fx_key(250);

	switch (step) {
	case 0:
		return script_put(f, 1, 300, "first");
	case 2:
		return script_put(f, 1, 20, "second");
	case 3:
		return script_del(f, 10, 100);
	case 5:
		return script_put(f, 5, 30, "third, of another length");
	case 6:
		return script_put(f, 1, 300, "fourth");
	case 8:
		return script_put(f, 280, 600, "fifth");
	case 11:
		return rstore_erase_range(f->rs, &from, &to, NULL);
	case 13:
		return script_del(f, 1, 590);
	default:
		return 0;
	}
}

static inline int script_finish(struct fx *f, unsigned step)
{
	switch (step) {
	case 1:
	case 5: /* of pending records, too */
		return script_snap_open(f);
	case 4:
	case 12:
		return rstore_scrub(f->rs);
	case 7:
	case 10:
		return script_reopen(f);
	case 9:
		return script_snap_close(f);
	default:
		return rstore_commit(f->rs, NULL);
	}
}

static inline int script_step(struct fx *f, unsigned step)
{
	int r = script_write(f, step);

	return r ? r : script_finish(f, step);
}

/* --- runs --- */

static struct state_digest script_live[SCRIPT_STEPS + 1], script_full[SCRIPT_STEPS + 1];

/* A fresh folder with an empty, closed store in it. */
static inline void script_begin(struct fx *f)
{
	fx_folder(f);
	if (rstore_create(&f->cfg, NULL))
		abort();
}

/* What an undisturbed run holds: [k] before step k. */
static inline void script_reference(void)
{
	struct fx f;

	script_begin(&f);
	if (rstore_open(&f.cfg, NULL, &f.rs, NULL))
		abort();
	for (unsigned step = 0;; step++) {
		if (script_live_digest(f.rs, &script_live[step]) ||
		    script_digest(f.rs, &script_full[step]))
			abort();
		if (step == SCRIPT_STEPS)
			break;
		if (script_step(&f, step))
			abort();
	}
	fx_remove(&f);
}

static inline bool script_holds(struct fx *f, unsigned step)
{
	struct state_digest d;

	return script_digest(f->rs, &d) == 0 && !memcmp(&d, &script_full[step], sizeof(d));
}

#endif
