/*
 * The key state's files: STORE/keys/state-GENERATION.a and .b.
 *
 * A file is a clear head, the state sealed under its tree key, and zeros up to a multiple of 4096,
 * so that it can be overwritten in place before it goes. Once its tree key has left the anchor
 * nothing opens it; overwriting is the second line. Format: docs/format.md "Key state".
 */
#include "core/keyring_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "core/bytes.h"
#include "core/durable.h"

#define FILE_MAGIC "COFFERKS"
#define FILE_VERSION 1
#define HEAD_LEN 48
#define PAD 4096
#define FILE_MAX ((size_t)512 << 20)
#define NOISE_LEN ((size_t)1 << 20)
#define NAME_LEN 40
#define AD_LABEL "coffer-state"
#define AD_LEN (12 + HEADER_ID_LEN + 8)

static const char copies[] = {'a', 'b'};
#define N_COPIES 2

static void file_name(char out[NAME_LEN], uint64_t generation, int copy)
{
	snprintf(out, NAME_LEN, "state-%" PRIu64 ".%c", generation, copies[copy]);
}

static void box_ad(uint8_t ad[AD_LEN], const uint8_t volume_id[HEADER_ID_LEN], uint64_t generation)
{
	uint8_t *p = mempcpy(ad, AD_LABEL, 12);

	p = mempcpy(p, volume_id, HEADER_ID_LEN);
	bytes_put64(p, generation);
}

static const struct suite *box_suite(void)
{
	return suite_by_id(SUITE_XCHACHA20POLY1305);
}

/* --- one copy as bytes --- */

static int file_seal(const struct keyring_state *st, const uint8_t *pt, size_t pt_len,
		     const uint8_t tk[KDF_KEY_LEN], uint8_t **ret, size_t *ret_len)
{
	size_t box_len = pt_len + SUITE_BOX_OVERHEAD;
	size_t len = (HEAD_LEN + box_len + PAD - 1) / PAD * PAD;
	uint8_t *buf = calloc(1, len), ad[AD_LEN];

	if (!buf)
		return -ENOMEM;
	memcpy(buf, FILE_MAGIC, 8);
	bytes_put16(buf + 8, FILE_VERSION);
	memcpy(buf + 16, st->volume_id, HEADER_ID_LEN);
	bytes_put64(buf + 32, st->generation);
	bytes_put64(buf + 40, box_len);
	box_ad(ad, st->volume_id, st->generation);
	suite_seal(box_suite(), tk, ad, sizeof(ad), pt, pt_len, buf + HEAD_LEN);
	*ret = buf;
	*ret_len = len;
	return 0;
}

/* Into guarded memory. -EUCLEAN, -EPROTONOSUPPORT, -EBADMSG, -ENOMEM. */
static int file_unseal(const uint8_t *buf, size_t len, const uint8_t volume_id[HEADER_ID_LEN],
		       uint64_t generation, const uint8_t tk[KDF_KEY_LEN], uint8_t **ret,
		       size_t *ret_len)
{
	uint8_t ad[AD_LEN], *pt;
	uint64_t box_len;
	int r;

	if (len < HEAD_LEN || memcmp(buf, FILE_MAGIC, 8) != 0)
		return -EUCLEAN;
	if (bytes_get16(buf + 8) != FILE_VERSION)
		return bytes_get16(buf + 8) > FILE_VERSION ? -EPROTONOSUPPORT : -EUCLEAN;
	box_len = bytes_get64(buf + 40);
	if (box_len <= SUITE_BOX_OVERHEAD || box_len > len - HEAD_LEN)
		return -EUCLEAN;
	pt = secret_slab_new(box_len - SUITE_BOX_OVERHEAD);
	if (!pt)
		return -ENOMEM;
	box_ad(ad, volume_id, generation);
	r = suite_open(box_suite(), tk, ad, sizeof(ad), buf + HEAD_LEN, box_len, pt);
	if (r < 0) {
		secret_slab_free(pt);
		return r;
	}
	*ret = pt;
	*ret_len = box_len - SUITE_BOX_OVERHEAD;
	return 0;
}

static int copy_open(int keys_fd, const char *name, const uint8_t volume_id[HEADER_ID_LEN],
		     uint64_t generation, const uint8_t tk[KDF_KEY_LEN], uint8_t **ret,
		     size_t *ret_len)
{
	CLEANUP_FREE uint8_t *buf = NULL;
	size_t len;
	int r = durable_read(keys_fd, name, FILE_MAX, &buf, &len);

	return r < 0 ? r : file_unseal(buf, len, volume_id, generation, tk, ret, ret_len);
}

/* --- writing --- */

/* What the medium holds, not what the page cache does. */
static void cache_forget(int keys_fd, const char *name)
{
	CLEANUP_FD int fd = openat(keys_fd, name, O_RDONLY | O_CLOEXEC);

	if (fd >= 0)
		posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
}

static int copy_compare(int keys_fd, const char *name, const struct keyring_state *st,
			const uint8_t tk[KDF_KEY_LEN], const uint8_t *pt, size_t pt_len)
{
	uint8_t *read = NULL;
	size_t len;
	int r;

	cache_forget(keys_fd, name);
	r = copy_open(keys_fd, name, st->volume_id, st->generation, tk, &read, &len);
	if (r < 0)
		return r;
	if (len != pt_len || memcmp(read, pt, len) != 0)
		r = -EIO;
	secret_slab_free(read);
	return r;
}

static int copies_write(int keys_fd, const struct keyring_state *st, const uint8_t tk[KDF_KEY_LEN],
			unsigned which, const uint8_t *pt, size_t pt_len)
{
	CLEANUP_FREE uint8_t *buf = NULL;
	size_t len;
	int r = file_seal(st, pt, pt_len, tk, &buf, &len);

	for (int c = 0; c < N_COPIES && r == 0; c++) {
		char name[NAME_LEN];

		if (!(which & 1u << c))
			continue;
		file_name(name, st->generation, c);
		r = durable_replace(keys_fd, name, buf, len, 0600);
		if (r == 0)
			r = copy_compare(keys_fd, name, st, tk, pt, pt_len);
	}
	return r;
}

int keyring_file_mend(int keys_fd, const struct keyring_state *st, const uint8_t tk[KDF_KEY_LEN],
		      unsigned bad)
{
	uint8_t *pt;
	size_t len;
	int r;

	if (!bad)
		return 0;
	r = keyring_state_encode(st, &pt, &len);
	if (r < 0)
		return r;
	r = copies_write(keys_fd, st, tk, bad, pt, len);
	secret_slab_free(pt);
	return r;
}

int keyring_file_write(int keys_fd, const struct keyring_state *st, const uint8_t tk[KDF_KEY_LEN])
{
	return keyring_file_mend(keys_fd, st, tk, (1u << N_COPIES) - 1);
}

/* --- loading --- */

static int copy_load(int keys_fd, int copy, const uint8_t volume_id[HEADER_ID_LEN],
		     uint64_t generation, const uint8_t tk[KDF_KEY_LEN], struct keyring_state **ret)
{
	CLEANUP_KEYRING_STATE struct keyring_state *st = NULL;
	char name[NAME_LEN];
	uint8_t *pt = NULL;
	size_t len;
	int r;

	file_name(name, generation, copy);
	r = copy_open(keys_fd, name, volume_id, generation, tk, &pt, &len);
	if (r < 0)
		return r;
	r = keyring_state_decode(pt, len, &st);
	secret_slab_free(pt);
	if (r < 0)
		return r;
	if (st->generation != generation || memcmp(st->volume_id, volume_id, HEADER_ID_LEN) != 0)
		return -EUCLEAN;
	*ret = STEAL_PTR(st);
	return 0;
}

int keyring_file_load(int keys_fd, const uint8_t volume_id[HEADER_ID_LEN], uint64_t generation,
		      const uint8_t tk[KDF_KEY_LEN], struct keyring_state **ret, unsigned *ret_bad)
{
	CLEANUP_KEYRING_STATE struct keyring_state *a = NULL, *b = NULL;
	int r_a = copy_load(keys_fd, 0, volume_id, generation, tk, &a);
	int r_b = copy_load(keys_fd, 1, volume_id, generation, tk, &b);

	if (!a && !b)
		return r_a;
	*ret_bad = (r_a < 0 ? 1u : 0) | (r_b < 0 ? 2u : 0);
	*ret = a ? STEAL_PTR(a) : STEAL_PTR(b);
	return 0;
}

/* --- removing --- */

static int overwrite(int keys_fd, const char *name, size_t len)
{
	CLEANUP_FREE uint8_t *noise = malloc(NOISE_LEN);
	int r = noise ? 0 : -ENOMEM;

	for (size_t off = 0; off < len && r == 0; off += NOISE_LEN) {
		size_t n = len - off < NOISE_LEN ? len - off : NOISE_LEN;

		kdf_random(noise, n);
		r = durable_overwrite(keys_fd, name, (off_t)off, noise, n);
	}
	return r;
}

/* Idempotent: after a crash half way the name is still there and it is done again. */
static int file_remove(int keys_fd, const char *name)
{
	struct stat st;
	int r = 0;

	if (fstatat(keys_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	/* An interrupted write may have left an odd length; its tail never held a whole state. */
	if (S_ISREG(st.st_mode))
		r = overwrite(keys_fd, name, (size_t)st.st_size / PAD * PAD);
	/* A full copy-on-write filesystem refuses what would not reach the old bytes anyway. */
	if (r < 0 && r != -ENOSPC && r != -EDQUOT)
		return r;
	return durable_unlink(keys_fd, name);
}

int keyring_file_remove(int keys_fd, uint64_t generation)
{
	int r = 0;

	for (int c = 0; c < N_COPIES && r == 0; c++) {
		char name[NAME_LEN];

		file_name(name, generation, c);
		r = file_remove(keys_fd, name);
	}
	return r;
}

/* Calls fn for each entry of STORE/keys that is the keyring's, generation 0 for temporary files. */
typedef int (*each_fn)(int keys_fd, const char *name, uint64_t generation, void *arg);

static int each_file(int keys_fd, each_fn fn, void *arg)
{
	CLEANUP_FD int fd = openat(keys_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CLEANUP_DIR DIR *dp = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;
	int r = 0;

	if (!dp)
		return -errno;
	fd = -1; /* the stream's now */
	while (r == 0 && (e = readdir(dp))) {
		uint64_t generation = 0;
		char copy, end;

		if (sscanf(e->d_name, "state-%" SCNu64 ".%c%c", &generation, &copy, &end) != 2 &&
		    strncmp(e->d_name, ".state-", 7) != 0)
			continue;
		r = fn(keys_fd, e->d_name, generation, arg);
	}
	return r;
}

static int discard_other(int keys_fd, const char *name, uint64_t generation, void *arg)
{
	const uint64_t *keep = arg;

	return generation == *keep ? 0 : file_remove(keys_fd, name);
}

int keyring_file_discard_others(int keys_fd, uint64_t keep)
{
	return each_file(keys_fd, discard_other, &keep);
}

static int note_newest(int keys_fd, const char *name, uint64_t generation, void *arg)
{
	uint64_t *newest = arg;

	(void)keys_fd;
	(void)name;
	if (generation > *newest)
		*newest = generation;
	return 0;
}

int keyring_file_newest(int keys_fd, uint64_t *ret)
{
	*ret = 0;
	return each_file(keys_fd, note_newest, ret);
}

bool keyring_file_there(int keys_fd, uint64_t generation)
{
	char name[NAME_LEN];

	for (unsigned copy = 0; copy < 2; copy++) {
		file_name(name, generation, copy);
		if (faccessat(keys_fd, name, F_OK, 0) == 0)
			return true;
	}
	return false;
}
