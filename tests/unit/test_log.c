/*
 * The log of synced writes: what fsync put there is applied at the next opening, in order and
 * whole; a write that a cut shortened is the end; anything else is damage, and is said; what an
 * older commit knew is no frame; and nothing stays there of what was destroyed.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>

#include "fs/log_internal.h"
#include "tests/unit/volume_fixture.h"

#define ROOT VOLUME_ROOT_ID
#define FRAMES 4u
#define FILE_LEN 20000u

/* In the crashing process: a failure there must reach the parent. */
#define MUST(x)                                                                                    \
	do {                                                                                       \
		if (!(x)) {                                                                        \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);                    \
			_exit(1);                                                                  \
		}                                                                                  \
	} while (0)

static void put(struct volume *v, uint64_t id, char c, size_t len, uint64_t off)
{
	char *p = malloc(len);

	MUST(p);
	memset(p, c, len);
	MUST(volume_write(v, id, p, len, off, false) == (ssize_t)len);
	free(p);
}

static uint64_t file_of(struct volume *v, const char *name)
{
	struct volume_attr a;

	MUST(volume_lookup(v, ROOT, name, &a) == 0);
	return a.id;
}

/* Fsyncs until there is a log, then a commit: it is empty. */
static void with_log(struct volume *v)
{
	struct volume_new in = {.mode = S_IFREG | 0600};
	struct volume_attr a;

	MUST(volume_make(v, ROOT, "f", &in, &a) == 0);
	MUST(volume_make(v, ROOT, "small", &in, &a) == 0);
	for (unsigned i = 0; i < 8; i++) {
		put(v, file_of(v, "f"), 'o', FILE_LEN, 0);
		MUST(volume_fsync(v, file_of(v, "f")) == 0);
	}
	MUST(v->log->ready);
	MUST(volume_sync(v) == 0);
	MUST(v->log->pos == 0);
}

/* Frame k makes the first 5000 bytes k. */
static void log_frames(struct volume *v)
{
	with_log(v);
	for (unsigned k = 0; k < FRAMES; k++) {
		put(v, file_of(v, "f"), (char)('0' + k), 5000, 0);
		MUST(volume_fsync(v, file_of(v, "f")) == 0);
		MUST(v->log->seq == k + 1);
	}
}

/* Which frame's content is there: -1: that from before. All of its bytes, and nothing else. */
static int frame_shown(struct fixture *fx)
{
	char p[FILE_LEN + 1];
	uint64_t id = find_id(fx->v, ROOT, "f");

	assert_int_equal(volume_read(fx->v, id, p, sizeof(p), 0), FILE_LEN);
	for (unsigned i = 0; i < FILE_LEN; i++)
		assert_int_equal(p[i], i < 5000 ? p[0] : 'o');
	return p[0] == 'o' ? -1 : p[0] - '0';
}

static int log_fd(struct fixture *fx)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/log", fx->store);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static size_t log_read(struct fixture *fx, uint8_t **ret)
{
	struct stat st;
	int fd = log_fd(fx);

	assert_int_equal(fstat(fd, &st), 0);
	*ret = malloc((size_t)st.st_size);
	assert_int_equal(pread(fd, *ret, (size_t)st.st_size, 0), st.st_size);
	close(fd);
	return (size_t)st.st_size;
}

static void log_write(struct fixture *fx, const uint8_t *p, size_t len)
{
	int fd = log_fd(fx);

	assert_int_equal(pwrite(fd, p, len, 0), len);
	close(fd);
}

/* Where frame k begins. */
static size_t frame_at(const uint8_t *log, unsigned k)
{
	size_t at = 0;

	while (k--) {
		assert_memory_equal(log + at, "CFL1", 4);
		at += bytes_get32(log + at + 4);
	}
	return at;
}

/* The whole store as it was, so that one crash serves many ways to damage it. */
struct kept {
	char meta[128], copy[128];
	uint8_t *log;
	size_t len;
};

static void run_cp(const char *from, const char *to)
{
	char cmd[600];

	snprintf(cmd, sizeof(cmd), "rm -rf '%s' && cp -a '%s' '%s'", to, from, to);
	assert_int_equal(system(cmd), 0);
}

static void keep(struct fixture *fx, struct kept *k)
{
	snprintf(k->copy, sizeof(k->copy), "%s/kept", fx->dir);
	run_cp(fx->store, k->copy);
	snprintf(k->meta, sizeof(k->meta), "%s/anchor-kept", fx->dir);
	run_cp(fx->anchor, k->meta);
	k->len = log_read(fx, &k->log);
}

/* Back to the crash, with this log, and mounted. */
static void mount_with(struct fixture *fx, const struct kept *k, const uint8_t *log)
{
	fixture_unmount(fx);
	fixture_close_keys(fx);
	run_cp(k->copy, fx->store);
	run_cp(k->meta, fx->anchor);
	log_write(fx, log, k->len);
	fx->n_alarms = 0;
	fixture_open_keys(fx);
	fixture_mount(fx);
}

static void crash_and_keep(struct fixture *fx, struct kept *k)
{
	fixture_crash(fx, log_frames);
	keep(fx, k);
	fixture_mount(fx);
}

static uint64_t damaged_lines(struct fixture *fx)
{
	struct volume_check c;

	assert_int_equal(volume_check(fx->v, true, NULL, NULL, &c), 0);
	return c.n_bad;
}

/* Promise 3: every byte that fsync acknowledged is there, once the log is applied also without it. */
static void applied(void **state)
{
	struct fixture *fx = *state;

	fixture_crash(fx, log_frames);
	fixture_mount(fx);
	assert_int_equal(frame_shown(fx), FRAMES - 1);
	assert_int_equal(fx->n_alarms, 0);
	check_clean(fx->v);
	fixture_remount(fx);
	assert_int_equal(frame_shown(fx), FRAMES - 1);
}

/* Opening for reading shows it too. */
static void applied_for_reading(void **state)
{
	struct fixture *fx = *state;

	fixture_crash(fx, log_frames);
	struct volume_config cfg = fixture_config(fx);
	cfg.read_only = true;
	assert_int_equal(volume_open(&cfg, &fx->v, &fx->d), 0);
	assert_int_equal(frame_shown(fx), FRAMES - 1);
	assert_int_equal(volume_fsync(fx->v, find_id(fx->v, ROOT, "f")), 0);
}

static void log_everything(struct volume *v)
{
	struct volume_attr in = {.size = 6000, .mode = 0640, .uid = 7, .gid = 8}, out;
	struct timespec t = {.tv_sec = 1234567890, .tv_nsec = 987654321};

	with_log(v);
	uint64_t f = file_of(v, "f"), small = file_of(v, "small");
	put(v, small, 's', 100, 0);
	MUST(volume_fsync(v, small) == 0);
	MUST(volume_setattr(v, f, VOLUME_SET_SIZE, &in, &out) == 0);
	put(v, f, 'x', 10, 50000); /* a hole between */
	MUST(volume_fsync(v, f) == 0);
	MUST(volume_fallocate(v, f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == 0);
	in.atime = in.mtime = in.ctime = t;
	MUST(volume_setattr(v, f,
			    VOLUME_SET_MODE | VOLUME_SET_UID | VOLUME_SET_GID | VOLUME_SET_ATIME |
				VOLUME_SET_MTIME | VOLUME_SET_CTIME,
			    &in, &out) == 0);
	MUST(volume_fsync(v, f) == 0);
	MUST(v->log->seq == 3);
}

/* Promise: attributes, cuts, holes and content that is in the inode come back as they were. */
static void everything(void **state)
{
	struct fixture *fx = *state;
	struct volume_attr a;
	uint8_t p[50010];
	uint64_t at;

	fixture_crash(fx, log_everything);
	fixture_mount(fx);
	check_file(fx->v, find_id(fx->v, ROOT, "small"), 's', 100);
	assert_int_equal(find(fx->v, ROOT, "f", &a), 0);
	assert_int_equal(a.size, sizeof(p));
	assert_int_equal(a.mode, S_IFREG | 0640);
	assert_int_equal(a.uid * 10 + a.gid, 78);
	assert_int_equal(a.atime.tv_sec, 1234567890);
	assert_int_equal(a.mtime.tv_nsec, 987654321);
	assert_int_equal(a.ctime.tv_sec, 1234567890);
	assert_int_equal(volume_read(fx->v, a.id, p, sizeof(p), 0), sizeof(p));
	for (unsigned i = 0; i < sizeof(p); i++)
		assert_int_equal(p[i], i < 4096 ? 0 : i < 6000 ? 'o' : i < 50000 ? 0 : 'x');
	assert_int_equal(volume_seek(fx->v, a.id, 0, SEEK_DATA, &at), 0);
	assert_int_equal(at, 4096);
	assert_int_equal(volume_seek(fx->v, a.id, 4096, SEEK_HOLE, &at), 0);
	assert_int_equal(at, 8192);
}

/* A small file emptied, and grown out of the inode record by nothing but its length. */
static void log_left_inode(struct volume *v)
{
	struct volume_attr in = {.size = 0}, out;

	with_log(v);
	uint64_t id = file_of(v, "small");
	put(v, id, 's', 3000, 0);
	MUST(volume_sync(v) == 0);
	MUST(volume_setattr(v, id, VOLUME_SET_SIZE, &in, &out) == 0);
	put(v, id, 'x', 10, 9000);
	MUST(volume_fsync(v, id) == 0);
	MUST(v->log->seq == 1);
}

/* Promise: what was cut off does not come back with the length. */
static void left_inode(void **state)
{
	struct fixture *fx = *state;
	char p[9010];

	fixture_crash(fx, log_left_inode);
	fixture_mount(fx);
	assert_int_equal(volume_read(fx->v, find_id(fx->v, ROOT, "small"), p, sizeof(p), 0), sizeof(p));
	for (unsigned i = 0; i < sizeof(p); i++)
		assert_int_equal(p[i], i < 9000 ? 0 : 'x');
	check_clean(fx->v);
}

/* Promise: a last frame of which a part is missing is no damage; the one before it holds. */
static void torn(void **state)
{
	struct fixture *fx = *state;
	struct kept k;

	crash_and_keep(fx, &k);
	size_t at = frame_at(k.log, FRAMES - 1), end = frame_at(k.log, FRAMES);
	for (size_t cut = at; cut < end; cut += 512) {
		uint8_t *log = malloc(k.len);

		memcpy(log, k.log, k.len);
		memset(log + cut, 0, end - cut);
		mount_with(fx, &k, log);
		/* What follows the boxes is padding. */
		bool whole = memcmp(log + at, k.log + at, end - at) == 0;
		assert_int_equal(frame_shown(fx), whole ? FRAMES - 1 : FRAMES - 2);
		assert_int_equal(fx->n_alarms, 0);
		memcpy(log, k.log, k.len);
		memset(log + cut, 0, 512); /* one sector alone */
		whole = memcmp(log + at, k.log + at, end - at) == 0;
		mount_with(fx, &k, log);
		assert_int_equal(frame_shown(fx), whole ? FRAMES - 1 : FRAMES - 2);
		assert_int_equal(fx->n_alarms, 0);
		free(log);
	}
	free(k.log);
}

/* The log changed ahead of its end: what stands before is applied, nothing behind, and it is said. */
static void expect_damage(struct fixture *fx, const struct kept *k, const uint8_t *log, int shown)
{
	mount_with(fx, k, log);
	assert_int_equal(frame_shown(fx), shown);
	assert_true(fx->n_alarms > 0);
	assert_int_equal(damaged_lines(fx), 1);
}

/* Promise 2: a flipped byte anywhere in a frame that others follow is found. */
static void flipped(void **state)
{
	struct fixture *fx = *state;
	struct kept k;

	crash_and_keep(fx, &k);
	size_t at = frame_at(k.log, 1), end = frame_at(k.log, 2);
	while (k.log[end - 1] == 0)
		end--;
	const size_t step = (end - at) / 24;
	for (size_t i = at; i < end; i += i < at + 12 ? 4 : step) {
		k.log[i] ^= 0x40;
		expect_damage(fx, &k, k.log, 0);
		k.log[i] ^= 0x40;
	}
	free(k.log);
}

static void move_frame(uint8_t *log, const uint8_t *from_log, unsigned from, unsigned to)
{
	memcpy(log + frame_at(from_log, to), from_log + frame_at(from_log, from),
	       frame_at(from_log, from + 1) - frame_at(from_log, from));
}

/* Promise 2: deleted, duplicated and exchanged frames are found; the first alike. */
static void reordered(void **state)
{
	struct fixture *fx = *state;
	struct kept k;

	crash_and_keep(fx, &k);
	uint8_t *log = malloc(k.len);
	memcpy(log, k.log, k.len);
	move_frame(log, k.log, 1, 2);
	move_frame(log, k.log, 2, 1);
	expect_damage(fx, &k, log, 0);
	memcpy(log, k.log, k.len);
	move_frame(log, k.log, 0, 3); /* at the end, and whole: no power cut does that */
	expect_damage(fx, &k, log, 2);
	memcpy(log, k.log, k.len);
	memset(log + frame_at(log, 1), 0, frame_at(log, 2) - frame_at(log, 1));
	expect_damage(fx, &k, log, 0);
	memcpy(log, k.log, k.len);
	memset(log, 0, frame_at(log, 1));
	expect_damage(fx, &k, log, -1);
	free(log);
	free(k.log);
}

static void overwrite_and_commit(struct volume *v)
{
	put(v, file_of(v, "f"), 'n', 5000, 0);
	MUST(volume_sync(v) == 0);
}

/* Promise 2: a log of an older commit says nothing. */
static void stale(void **state)
{
	struct fixture *fx = *state;
	struct kept k;

	crash_and_keep(fx, &k);
	fixture_crash(fx, overwrite_and_commit);
	log_write(fx, k.log, k.len);
	fixture_mount(fx);
	assert_int_equal(frame_shown(fx), 'n' - '0');
	assert_int_equal(fx->n_alarms, 0);
	free(k.log);
}

/* Promise: a log of any length, or none, is no hindrance. */
static void cut_short(void **state)
{
	struct fixture *fx = *state;
	struct kept k;
	char path[128];

	crash_and_keep(fx, &k);
	snprintf(path, sizeof(path), "%.100s/log", k.copy);
	for (int n = FRAMES - 1; n >= 0; n--) {
		assert_int_equal(truncate(path, (off_t)frame_at(k.log, (unsigned)n)), 0);
		fixture_unmount(fx);
		fixture_close_keys(fx);
		run_cp(k.copy, fx->store);
		run_cp(k.meta, fx->anchor);
		fixture_open_keys(fx);
		fixture_mount(fx);
		assert_int_equal(frame_shown(fx), n - 1);
		assert_int_equal(fx->n_alarms, 0);
	}
	free(k.log);
}

/* Promise: a log that is full begins anew, and nothing acknowledged is lost on the way. */
static void fill_it(struct volume *v)
{
	uint64_t before;

	with_log(v);
	before = v->log->generation;
	for (unsigned i = 0; i < 200; i++) {
		put(v, file_of(v, "f"), (char)('0' + i % 64), 5000, 0);
		MUST(volume_fsync(v, file_of(v, "f")) == 0);
	}
	MUST(v->log->generation > before);
}

static void full(void **state)
{
	struct fixture *fx = *state;

	fixture_crash(fx, fill_it);
	fixture_mount(fx);
	assert_int_equal(frame_shown(fx), 199 % 64);
	check_clean(fx->v);
}

#define THREADS 8

struct worker {
	struct volume *v;
	uint64_t id;
	char last;
};

static void *work(void *arg)
{
	struct worker *w = arg;

	for (unsigned i = 0; i < 40; i++) {
		w->last = (char)('A' + i % 26);
		put(w->v, w->id, w->last, 5000, 0);
		MUST(volume_fsync(w->v, w->id) == 0);
	}
	return NULL;
}

static void many_threads(struct volume *v)
{
	struct volume_new in = {.mode = S_IFREG | 0600};
	struct worker w[THREADS];
	pthread_t t[THREADS];
	struct volume_attr a;

	with_log(v);
	for (unsigned i = 0; i < THREADS; i++) {
		MUST(volume_make(v, ROOT, (char[]){(char)('0' + i), 0}, &in, &a) == 0);
		w[i] = (struct worker){.v = v, .id = a.id};
		MUST(pthread_create(&t[i], NULL, work, &w[i]) == 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		MUST(pthread_join(t[i], NULL) == 0);
}

/* Promise: what is synced by many at a time is there for each of them. */
static void shared(void **state)
{
	struct fixture *fx = *state;

	fixture_crash(fx, many_threads);
	fixture_mount(fx);
	for (unsigned i = 0; i < THREADS; i++) {
		const char name[] = {(char)('0' + i), 0};
		check_file(fx->v, find_id(fx->v, ROOT, name), 'A' + 39 % 26, 5000);
	}
	assert_int_equal(fx->n_alarms, 0);
	check_clean(fx->v);
}

static void check_first(struct volume *v)
{
	struct volume_check c;

	log_frames(v);
	uint64_t n, bad, off;
	MUST(log_verify(v, &n, &bad, &off) == 0 && n == FRAMES && bad == 0);
	MUST(pwrite(v->log->fd, "x", 1, 100) == 1);
	MUST(volume_check(v, false, NULL, NULL, &c) == 0 && c.n_bad == 1);
}

/* Promise: check reads the log of a mounted volume as well. */
static void checked(void **state)
{
	fixture_crash(*state, check_first);
	fixture_mount(*state);
}

/* Promise 5: nothing of a destroyed file stays in the log. */
static void erased(void **state)
{
	struct fixture *fx = *state;
	struct volume_destroyed done;
	CLEANUP_BYTES struct bytes_w lookup = {0};
	uint8_t *log;
	size_t n_pending;

	log_frames(fx->v);
	uint64_t id = find_id(fx->v, ROOT, "f");
	const struct keyring_range range = {id, id};
	assert_int_equal(keyring_puncture(fx->kr, KEYRING_BOTH, &range, 1, "D-1", &n_pending,
					  &fx->d),
			 0);
	assert_int_equal(volume_destroy(fx->v, &id, 1, true, &done, &lookup), 0);
	size_t len = log_read(fx, &log);
	assert_true(len > 0);
	for (size_t i = 0; i < len; i++)
		assert_int_equal(log[i], 0);
	free(log);
}

/* Promise 5: what a copy of the log holds of a file opens under that file's own keys and no other, so it ends with them. */
static void ends_with_its_file(void **state)
{
	struct fixture *fx = *state;
	struct volume *v = fx->v;
	uint64_t gone = make_file(v, ROOT, "gone", 'g', 10), kept = make_file(v, ROOT, "kept", 'k', 10);
	const struct keyring_range range = {gone, gone};
	CLEANUP_BYTES struct bytes_w plain = {0}, of_gone = {0}, of_kept = {0}, out = {0};
	size_t n_pending;

	bytes_w_raw(&plain, "what was written", 16);
	assert_int_equal(log_entry_seal(v, gone, &plain, &of_gone), 0);
	assert_int_equal(log_entry_seal(v, kept, &plain, &of_kept), 0);
	assert_int_equal(log_entry_open(v, gone, of_gone.buf, of_gone.len, &out), 0);
	assert_int_equal(log_entry_open(v, kept, of_gone.buf, of_gone.len, &out), -EBADMSG);
	assert_int_equal(keyring_puncture(fx->kr, KEYRING_BOTH, &range, 1, "D-1", &n_pending, &fx->d), 0);
	bytes_w_reset(&out);
	assert_int_equal(log_entry_open(v, gone, of_gone.buf, of_gone.len, &out), -EKEYREVOKED);
	assert_int_equal(out.len, 0);
	assert_int_equal(log_entry_open(v, kept, of_kept.buf, of_kept.len, &out), 0);
}

/* Entries: cut anywhere, or with anything behind them, they are malformed. */
static void entry_bounds(void **state)
{
	static uint8_t blocks[2 * MAP_BLOCK];
	CLEANUP_BYTES struct bytes_w w = {0};
	struct log_entry e = {.mode = S_IFREG | 0600,
			      .size = 100000,
			      .cut = 50,
			      .n_runs = 2,
			      .runs = {{.first = 3, .n = 2, .data = blocks},
				       {.first = 9, .n = 5, .hole = true}}};
	struct log_entry got;
	(void)state;

	log_entry_encode(&e, &w);
	assert_int_equal(log_entry_decode(w.buf, w.len, &got), 0);
	assert_int_equal(got.cut, 50);
	assert_int_equal(got.runs[1].n, 5);
	assert_memory_equal(got.runs[0].data, blocks, sizeof(blocks));
	for (size_t len = 0; len < w.len; len += len < 90 ? 1 : 61)
		assert_int_equal(log_entry_decode(w.buf, len, &got), -EUCLEAN);
	bytes_w_u8(&w, 0);
	assert_int_equal(log_entry_decode(w.buf, w.len, &got), -EUCLEAN);
}

/* Promise: a file whose content could not be brought to what fsync acknowledged does not pass, by its
 * times, for one that was; who may read it is as was acknowledged. */
static void not_applied(void **state)
{
	struct fixture *fx = *state;
	struct log_entry e = {.is_inline = true, .mode = S_IFREG | 0600, .uid = 7, .gid = 8,
			      .size = 5, .inline_data = (const uint8_t *)"small",
			      .mtime.tv_sec = 1234567890, .ctime.tv_sec = 1234567890};
	struct volume_attr before, a;
	struct vinode *ino;
	uint64_t id = make_file(fx->v, ROOT, "blocks", 'o', FILE_LEN);

	assert_int_equal(volume_getattr(fx->v, id, &before), 0);
	engine_enter(fx->v);
	assert_int_equal(inode_get(fx->v, id, &ino), 0);
	assert_int_equal(log_entry_apply(fx->v, ino, &e), -EUCLEAN);
	inode_unpin(fx->v, ino);
	engine_leave(fx->v);
	assert_int_equal(volume_getattr(fx->v, id, &a), 0);
	assert_int_equal(a.mtime.tv_sec, before.mtime.tv_sec);
	assert_int_equal(a.atime.tv_sec, before.atime.tv_sec);
	assert_int_equal(a.mode, e.mode);
	assert_int_equal(a.uid * 10 + a.gid, 78);
	check_file(fx->v, id, 'o', FILE_LEN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    MOUNTED(applied),   MOUNTED(applied_for_reading), MOUNTED(everything), MOUNTED(torn),
	    MOUNTED(flipped),   MOUNTED(reordered),		MOUNTED(stale),	  MOUNTED(cut_short),
	    MOUNTED(full),	     MOUNTED(shared),		MOUNTED(checked),	  MOUNTED(erased),
	    MOUNTED(left_inode), MOUNTED(ends_with_its_file),
	    MOUNTED(not_applied),
	    cmocka_unit_test(entry_bounds),
	};

	fixture_in_memory();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
