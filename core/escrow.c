/*
 * Escrow files: two striped slots, overwritten in place.
 *
 * Writing goes over the slot that does not count first (older, torn, or of another key), then over
 * the other, so that after a crash one of them opens and after success neither holds an older tree
 * key. Both cover all their chunks, so that nothing old is left behind a state that has shrunk.
 */
#include "core/escrow.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "core/bytes.h"
#include "core/durable.h"
#include "core/escrow_internal.h"

/* Two key trees of the largest size, and what goes with them. */
#define CHUNKS_MAX (((size_t)400 << 20) / ESCROW_CHUNK)

/* An escrow file, opened for reading. */
struct escrow_file {
	char name[ESCROW_NAME_LEN];
	int dirfd, fd;
	size_t n_chunks; /* of each slot */
};

static void escrow_file_close(struct escrow_file *f)
{
	cleanup_fd(&f->fd);
	cleanup_fd(&f->dirfd);
}

#define CLEANUP_ESCROW_FILE __attribute__((cleanup(escrow_file_close)))

static int file_open(const char *dir, const uint8_t volume_id[16], struct escrow_file *f)
{
	struct stat st;

	escrow_file_name(volume_id, f->name);
	f->dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (f->dirfd < 0)
		return -errno;
	f->fd = openat(f->dirfd, f->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (f->fd < 0 || fstat(f->fd, &st) < 0)
		return -errno;
	/* A file that was growing when power went may end in half a stripe. */
	f->n_chunks = (size_t)st.st_size / (2 * ESCROW_CHUNK);
	return f->n_chunks > CHUNKS_MAX ? -EFBIG : 0;
}

static off_t chunk_off(int slot, size_t k)
{
	return (off_t)((2 * k + (size_t)slot) * ESCROW_CHUNK);
}

static int slot_read(const struct escrow_file *f, int slot, const uint8_t volume_id[16],
		     const uint8_t *sign_pk, struct escrow_slot *ret)
{
	uint8_t *buf = malloc(f->n_chunks * ESCROW_CHUNK + 1);

	ret->buf = buf;
	if (!buf)
		return -ENOMEM;
	for (size_t k = 0; k < f->n_chunks; k++) {
		int r =
		    durable_pread(f->fd, buf + k * ESCROW_CHUNK, ESCROW_CHUNK, chunk_off(slot, k));
		/* A bad sector under one slot is what the other is for. */
		if (r < 0)
			return r == -EIO ? 0 : r;
	}
	escrow_slot_parse(ret, buf, f->n_chunks * ESCROW_CHUNK, volume_id, sign_pk);
	return 0;
}

/* Both slots; the caller frees both in any case. */
static int slots_read(const struct escrow_file *f, const uint8_t volume_id[16],
		      const uint8_t *sign_pk, struct escrow_slot ret[2])
{
	int r = slot_read(f, 0, volume_id, sign_pk, &ret[0]);

	if (r == 0)
		r = slot_read(f, 1, volume_id, sign_pk, &ret[1]);
	if (r == 0 && !ret[0].seq && !ret[1].seq && (ret[0].newer || ret[1].newer))
		return -EPROTONOSUPPORT;
	return r;
}

static void slots_free(struct escrow_slot (*s)[2])
{
	escrow_slot_free(&(*s)[0]);
	escrow_slot_free(&(*s)[1]);
}

static bool same_key(const struct escrow_slot *a, const struct escrow_slot *b)
{
	return a->seq && b->seq && a->generation == b->generation &&
	       memcmp(a->key_tag, b->key_tag, sizeof(a->key_tag)) == 0;
}

/* The newest slot that verifies; -EBADMSG when neither does. */
static int newest_read(const struct escrow_file *f, const uint8_t volume_id[16],
		       const uint8_t *sign_pk, struct escrow_slot *ret, bool *ret_other_stale)
{
	CLEANUP_WITH(slots_free) struct escrow_slot s[2] = {{0}};
	int r = slots_read(f, volume_id, sign_pk, s);
	struct escrow_slot *newest = &s[s[1].seq > s[0].seq];

	if (r < 0)
		return r;
	if (newest->seq == 0)
		return -EBADMSG;
	*ret_other_stale = !same_key(&s[0], &s[1]);
	*ret = *newest;
	newest->buf = NULL;
	return 0;
}

static int escrow_fail(struct diag *d, int r, const char *dir)
{
	if (r == -EPROTONOSUPPORT)
		return diag_fail(d, DIAG_VERSION, r, "escrow in %s", dir);
	return diag_fail(d, DIAG_ESCROW, r, "escrow in %s", dir);
}

/* --- making --- */

int escrow_create(const char *dir, const uint8_t volume_id[16], struct diag *d)
{
	CLEANUP_FREE uint8_t *zeros = calloc(2, ESCROW_CHUNK);
	CLEANUP_FD int fd = anchor_folder(dir);
	char name[ESCROW_NAME_LEN];
	int r;

	if (fd < 0)
		return escrow_fail(d, fd, dir);
	if (!zeros)
		return escrow_fail(d, -ENOMEM, dir);
	escrow_file_name(volume_id, name);
	r = durable_create(fd, name, zeros, 2 * ESCROW_CHUNK, 0600);
	return r < 0 && r != -EEXIST ? escrow_fail(d, r, dir) : 0;
}

static int file_erase(const struct escrow_file *f)
{
	CLEANUP_FREE uint8_t *noise = malloc(ESCROW_CHUNK);
	int r = noise ? 0 : -ENOMEM;

	if (r == 0)
		kdf_random(noise, ESCROW_CHUNK);
	for (size_t k = 0; k < 2 * f->n_chunks && r == 0; k++)
		r = durable_overwrite(f->dirfd, f->name, (off_t)(k * ESCROW_CHUNK), noise,
				      ESCROW_CHUNK);
	return r;
}

int escrow_erase(const char *dir, const uint8_t volume_id[16], struct diag *d)
{
	CLEANUP_ESCROW_FILE struct escrow_file f = {.dirfd = -1, .fd = -1};
	int r = file_open(dir, volume_id, &f);

	if (r == 0)
		r = file_erase(&f);
	return r < 0 ? escrow_fail(d, r, dir) : 0;
}

void escrow_destroy(const char *dir, const uint8_t volume_id[16])
{
	CLEANUP_ESCROW_FILE struct escrow_file f = {.dirfd = -1, .fd = -1};

	if (file_open(dir, volume_id, &f) < 0)
		return;
	file_erase(&f);
	durable_unlink(f.dirfd, f.name);
}

/* True when entry is an escrow's name; its volume in ret. */
static bool is_escrow_name(const char *entry, uint8_t ret[16])
{
	char digits[33] = {0};

	if (strlen(entry) != ESCROW_NAME_LEN - 1 || strcmp(entry + 32, ".escrow") != 0)
		return false;
	memcpy(digits, entry, 32);
	return bytes_unhex(digits, ret, 16) == 0;
}

int escrow_find(const char *dir, uint8_t ret_volume_id[16], struct diag *d)
{
	CLEANUP_DIR DIR *dp = opendir(dir);
	uint8_t found[16], id[16];
	const struct dirent *e;
	bool any = false;

	if (!dp)
		return escrow_fail(d, -errno, dir);
	while ((e = readdir(dp))) {
		if (!is_escrow_name(e->d_name, id))
			continue;
		if (any)
			return diag_fail(d, DIAG_ESCROW, -EEXIST,
					 "%s: escrows of more than one volume", dir);
		memcpy(found, id, sizeof(found));
		any = true;
	}
	if (!any)
		return escrow_fail(d, -ENOENT, dir);
	memcpy(ret_volume_id, found, sizeof(found));
	return 0;
}

/* --- writing --- */

/* Zeros to the end of n_chunks stripes, synced, before anything is laid into them. */
static int file_grow(struct escrow_file *f, size_t n_chunks)
{
	CLEANUP_FREE uint8_t *zeros = NULL;
	CLEANUP_FD int fd = -1;

	if (n_chunks <= f->n_chunks)
		return 0;
	if (n_chunks > CHUNKS_MAX)
		return -EFBIG;
	zeros = calloc(1, ESCROW_CHUNK);
	if (!zeros)
		return -ENOMEM;
	fd = openat(f->dirfd, f->name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	for (size_t k = 2 * f->n_chunks; k < 2 * n_chunks; k++) {
		int r = durable_pwrite(fd, zeros, ESCROW_CHUNK, (off_t)(k * ESCROW_CHUNK));

		if (r < 0)
			return r;
	}
	if (fsync(fd) < 0)
		return -errno;
	f->n_chunks = n_chunks;
	return 0;
}

static int slot_write(const struct escrow_file *f, int slot, const uint8_t *buf)
{
	for (size_t k = 0; k < f->n_chunks; k++) {
		int r = durable_overwrite(f->dirfd, f->name, chunk_off(slot, k),
					  buf + k * ESCROW_CHUNK, ESCROW_CHUNK);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Which slot to write first, and the highest sequence that stands. */
static int slots_rank(const struct escrow_file *f, const uint8_t volume_id[16],
		      const uint8_t sign_pk[32], int *ret_first, uint64_t *ret_seq)
{
	CLEANUP_WITH(slots_free) struct escrow_slot s[2] = {{0}};
	int r = slots_read(f, volume_id, sign_pk, s);

	if (r < 0)
		return r;
	*ret_first = s[1].seq < s[0].seq;
	*ret_seq = s[!*ret_first].seq;
	return 0;
}

static int write_both(struct escrow_file *f, const struct escrow_content *c,
		      const uint8_t sign_seed[32], const struct identity_card *recipients,
		      size_t n_recipients)
{
	size_t len = escrow_slot_len(c, n_recipients);
	CLEANUP_FREE uint8_t *buf = NULL;
	uint8_t sign_pk[32];
	uint64_t seq;
	int first, r;

	identity_sign_pk_from_seed(sign_seed, sign_pk);
	r = slots_rank(f, c->volume_id, sign_pk, &first, &seq);
	if (r == 0)
		r = file_grow(f, (len + ESCROW_CHUNK - 1) / ESCROW_CHUNK);
	if (r < 0)
		return r;
	buf = calloc(f->n_chunks, ESCROW_CHUNK);
	if (!buf)
		return -ENOMEM;
	for (int i = 0; i < 2 && r == 0; i++) {
		r = escrow_slot_encode(c, sign_seed, recipients, n_recipients,
				       seq + 1 + (uint64_t)i, (int64_t)time(NULL), buf);
		if (r == 0)
			r = slot_write(f, first ^ i, buf);
	}
	return r;
}

int escrow_write(const char *dir, const struct escrow_content *c, const uint8_t sign_seed[32],
		 const struct identity_card *recipients, size_t n_recipients, struct diag *d)
{
	CLEANUP_ESCROW_FILE struct escrow_file f = {.dirfd = -1, .fd = -1};
	int r;

	if (n_recipients == 0 || n_recipients > ESCROW_RECIPIENTS_MAX)
		return diag_fail(d, DIAG_ESCROW, -EINVAL, "escrow in %s: recipients", dir);
	r = file_open(dir, c->volume_id, &f);
	if (r == 0)
		r = write_both(&f, c, sign_seed, recipients, n_recipients);
	return r < 0 ? escrow_fail(d, r, dir) : 0;
}

/* --- reading --- */

int escrow_info(const char *dir, const uint8_t volume_id[16], const uint8_t *sign_pk,
		struct escrow_info *ret, struct diag *d)
{
	CLEANUP_ESCROW_FILE struct escrow_file f = {.dirfd = -1, .fd = -1};
	CLEANUP_ESCROW_SLOT struct escrow_slot s = {0};
	int r = file_open(dir, volume_id, &f);

	if (r == 0)
		r = newest_read(&f, volume_id, sign_pk, &s, &ret->other_stale);
	if (r < 0)
		return escrow_fail(d, r, dir);
	memcpy(ret->volume_id, volume_id, 16);
	ret->generation = s.generation;
	memcpy(ret->key_tag, s.key_tag, sizeof(ret->key_tag));
	ret->written = s.written;
	ret->n_recipients = s.n_recipients;
	for (size_t i = 0; i < s.n_recipients; i++)
		escrow_slot_recipient(&s, i, ret->recipients[i]);
	return 0;
}

int escrow_open(const char *dir, const uint8_t volume_id[16], const struct identity *id,
		struct escrow_content *ret, struct diag *d)
{
	CLEANUP_ESCROW_FILE struct escrow_file f = {.dirfd = -1, .fd = -1};
	CLEANUP_ESCROW_SLOT struct escrow_slot s = {0};
	struct escrow_content c = {0};
	int r = file_open(dir, volume_id, &f);
	bool other_stale;

	if (r == 0)
		r = newest_read(&f, volume_id, NULL, &s, &other_stale);
	if (r == 0)
		r = escrow_slot_open(&s, id, &c);
	if (r == -ENOKEY)
		r = diag_fail(d, DIAG_WRONG_SECRET, r, "escrow in %s", dir);
	else if (r < 0)
		r = escrow_fail(d, r, dir);
	if (r == 0)
		*ret = c;
	secret_wipe(&c, sizeof(c));
	return r;
}

void escrow_content_wipe(struct escrow_content *c)
{
	secret_slab_free(c->state);
	secret_wipe(c, sizeof(*c));
}

/* --- places --- */

/* The real path of a folder, or of its parent while it does not exist. */
static int place_resolve(const char *dir, char out[PATH_MAX])
{
	char copy[PATH_MAX], *slash;
	size_t len = strlen(dir);

	if (realpath(dir, out))
		return 0;
	if (errno != ENOENT || len == 0 || len >= sizeof(copy))
		return errno == ENOENT ? -EINVAL : -errno;
	memcpy(copy, dir, len + 1);
	while (len > 1 && copy[len - 1] == '/')
		copy[--len] = '\0';
	slash = strrchr(copy, '/');
	if (slash == copy)
		slash++;
	if (slash)
		*slash = '\0';
	return realpath(slash ? copy : ".", out) ? 0 : -errno;
}

static bool is_on_or_under(const char *path, const char *folder)
{
	size_t len = strlen(folder);

	if (strncmp(path, folder, len) != 0)
		return false;
	return path[len] == '\0' || path[len] == '/' || folder[len - 1] == '/';
}

int escrow_place_check(const char *dir, const char *const *forbidden, size_t n, struct diag *d)
{
	char place[PATH_MAX], folder[PATH_MAX];
	int r = place_resolve(dir, place);

	if (r < 0)
		return escrow_fail(d, r, dir);
	for (size_t i = 0; i < n; i++) {
		/* Nothing lies on a folder that does not exist. */
		if (!realpath(forbidden[i], folder))
			continue;
		if (is_on_or_under(place, folder))
			return diag_fail(d, DIAG_ESCROW, -EINVAL, "%s lies on %s", dir,
					 forbidden[i]);
	}
	return 0;
}
