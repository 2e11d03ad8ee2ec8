/*
 * What the tests of file data share: a volume built by hand over a real record store and a folder,
 * with a keyring and an inode cache that know only what data needs. Included by one file of each
 * test program.
 *
 * fx_commit does what a commit does for one file; fx_crash reopens everything from what was
 * committed.
 */
#ifndef COFFER_TESTS_DATA_FIXTURE_H
#define COFFER_TESTS_DATA_FIXTURE_H

#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/secret.h"
#include "fs/data_internal.h"

#define FX_ID 0x1234567u

/* --- keyring, alarms, the dirty list --- */

struct keyring {
	uint8_t volume_id[16];
	uint8_t key[KDF_KEY_LEN];
};

static struct keyring fx_keyring = {.volume_id = "fixture volume", .key = "fixture key"};
static unsigned fx_alarms;

void keyring_epoch_key(struct keyring *kr, enum keyring_epoch which, uint8_t ret[KDF_KEY_LEN])
{
	kdf_derive(ret, kr->key, "fixture epoch", &which, sizeof(which));
}

int keyring_file_key(struct keyring *kr, enum keyring_tree tree, uint64_t id,
		     uint8_t ret[KDF_KEY_LEN])
{
	(void)tree;
	kdf_derive(ret, kr->key, "fixture file", &id, sizeof(id));
	return 0;
}

/* Of the volumes made from now on; NULL: the one that works everywhere. */
static const struct suite *fx_suite;

const struct suite *keyring_suite(const struct keyring *kr)
{
	(void)kr;
	return fx_suite ? fx_suite : suite_by_id(SUITE_XCHACHA20POLY1305);
}

const uint8_t *keyring_volume_id(const struct keyring *kr)
{
	return kr->volume_id;
}

int engine_fault(struct volume *v, int err, uint64_t id, const char *what, uint64_t position)
{
	(void)v, (void)id, (void)what, (void)position;
	if (err != -EBADMSG && err != -EUCLEAN && err != -EKEYREVOKED)
		return err;
	fx_alarms++;
	return -EIO;
}

static int fx_frozen;

int freeze_check(struct volume *v, uint64_t id)
{
	(void)v, (void)id;
	return fx_frozen;
}

void inode_mark_dirty(struct volume *v, struct vinode *ino)
{
	(void)v;
	ino->record_dirty = true;
}

/* --- syncs that fail on demand --- */

static unsigned fx_fail_syncs;

int fdatasync(int fd)
{
	if (!fx_fail_syncs)
		return (int)syscall(SYS_fdatasync, fd);
	fx_fail_syncs--;
	errno = EIO;
	return -1;
}

/* --- the volume --- */

/* What an inode record says. */
struct fx_record {
	uint64_t size, n_slots, n_mapped;
	bool in_blocks;
	uint8_t inline_data[VOLUME_INLINE_MAX];
};

struct fx {
	char dir[64];
	struct volume v;
	struct vinode ino;
	struct rstore_config cfg;
	struct fx_record pending, durable;
};

int engine_key_of(void *arg, const struct rstore_key *key, uint8_t ret[32]);

static inline int fx_unlink(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static inline void fx_attach(struct fx *f)
{
	struct diag d = {0};

	assert_int_equal(rstore_open(&f->cfg, NULL, &f->v.rs, &d), 0);
	assert_int_equal(object_cache_new((size_t)4 << 20, &f->v.objects), 0);
	kdf_random(f->v.session, sizeof(f->v.session));
	f->v.session_counter = 0;
	f->pending = f->durable;
	f->ino = (struct vinode){.id = FX_ID, .published_size = f->durable.size};
	f->ino.attr.mode = S_IFREG | 0600;
	f->ino.attr.size = f->durable.size;
	if (f->durable.in_blocks) {
		assert_int_equal(
		    data_attach(&f->v, &f->ino, f->durable.n_slots, f->durable.n_mapped), 0);
	} else if (f->durable.size) {
		f->ino.inline_data = malloc(f->durable.size);
		f->ino.inline_len = f->durable.size;
		memcpy(f->ino.inline_data, f->durable.inline_data, f->durable.size);
	}
}

static inline void fx_detach(struct fx *f)
{
	data_forget(&f->ino);
	free(f->ino.inline_data);
	f->ino.inline_data = NULL;
	object_cache_free(f->v.objects);
	rstore_close(f->v.rs);
}

static inline struct fx *fx_new(void)
{
	struct fx *f = calloc(1, sizeof(*f));
	struct diag d = {0};
	char path[80];

	strcpy(f->dir, "/tmp/coffer-data-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(path, sizeof(path), "%s/objects", f->dir);
	assert_int_equal(mkdir(path, 0700), 0);
	f->v.kr = &fx_keyring;
	/* As every call of the engine does. */
	pthread_mutex_init(&f->v.lock, NULL);
	pthread_mutex_lock(&f->v.lock);
	f->v.objects_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	f->cfg = (struct rstore_config){
	    .store = f->dir, .kr = &fx_keyring, .key_of = engine_key_of, .arg = &f->v};
	assert_int_equal(rstore_create(&f->cfg, &d), 0);
	fx_alarms = 0;
	fx_attach(f);
	return f;
}

static inline void fx_free(struct fx *f)
{
	fx_detach(f);
	pthread_mutex_unlock(&f->v.lock);
	pthread_mutex_destroy(&f->v.lock);
	close(f->v.objects_fd);
	nftw(f->dir, fx_unlink, 8, FTW_DEPTH | FTW_PHYS);
	free(f);
}

/* As the engine does: publish, and the inode record. */
static inline int fx_publish(struct fx *f)
{
	int r = data_publish(&f->v, &f->ino);

	if (r < 0)
		return r;
	struct fx_record *rec = &f->pending;
	rec->in_blocks = f->ino.file && !f->ino.inline_data;
	if (!rec->in_blocks) {
		f->ino.published_size = f->ino.attr.size;
		if (f->ino.inline_data)
			memcpy(rec->inline_data, f->ino.inline_data, f->ino.inline_len);
	}
	rec->size = f->ino.published_size;
	data_figures(&f->ino, &rec->n_slots, &rec->n_mapped);
	return 0;
}

static inline void fx_commit(struct fx *f)
{
	assert_int_equal(fx_publish(f), 0);
	assert_int_equal(rstore_commit(f->v.rs, NULL), 0);
	f->durable = f->pending;
	data_committed(&f->v, &f->ino);
	assert_false(data_dirty(&f->ino));
}

/* Everything not committed is lost. */
static inline void fx_crash(struct fx *f)
{
	fx_detach(f);
	fx_attach(f);
}

static inline void fx_write(struct fx *f, const void *p, size_t len, uint64_t off)
{
	assert_int_equal(data_write(&f->v, &f->ino, p, len, off), 0);
}

/* Reads everything in one go and compares. */
static inline void fx_assert_content(struct fx *f, const uint8_t *want, uint64_t size)
{
	uint8_t *got = malloc(size + 1);

	assert_int_equal(f->ino.attr.size, size);
	assert_int_equal(data_read(&f->v, &f->ino, got, size + 1, 0), size);
	assert_memory_equal(got, want, size);
	free(got);
}

/* --- the ciphertext --- */

static inline int fx_object(struct fx *f)
{
	char rel[64], path[160];

	volume_object_path(FX_ID, 0, rel);
	snprintf(path, sizeof(path), "%s/%s", f->dir, rel);
	return open(path, O_RDWR | O_CLOEXEC);
}

static inline void fx_raw_read(struct fx *f, uint64_t slot, size_t n, void *buf)
{
	int fd = fx_object(f);

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, buf, n * MAP_BLOCK, (off_t)(slot * MAP_BLOCK)), n * MAP_BLOCK);
	close(fd);
}

static inline void fx_raw_write(struct fx *f, uint64_t slot, size_t n, const void *buf)
{
	int fd = fx_object(f);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, buf, n * MAP_BLOCK, (off_t)(slot * MAP_BLOCK)), n * MAP_BLOCK);
	close(fd);
}

static inline struct map_entry fx_entry(struct fx *f, uint64_t block)
{
	struct map_entry e;

	assert_int_equal(data_entries(&f->v, &f->ino, block, 1, &e), 0);
	return e;
}

/* --- content --- */

static uint64_t fx_seed = 88172645463325252u;

static inline uint64_t fx_random(void)
{
	fx_seed ^= fx_seed << 13;
	fx_seed ^= fx_seed >> 7;
	fx_seed ^= fx_seed << 17;
	return fx_seed;
}

static inline uint8_t *fx_fill(uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(fx_random() >> 24);
	return p;
}

#endif
