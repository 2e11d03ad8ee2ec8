/*
 * The anchor as two slots of one file.
 *
 * A slot is a clear head (magic, version, volume, sequence) that the box behind it authenticates. A
 * slot is written only over the older of the two, so that the newest one that opens survives a torn
 * write; a new tree key goes over both, the older first. seq[i] is 0 for a slot that does not open
 * or whose last write failed: it is the next to go.
 */
#include "core/anchor.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "core/bytes.h"
#include "core/durable.h"
#include "core/secret.h"
#include "core/suite.h"

#define ANCHOR_FILE "anchor"
#define ANCHOR_MAGIC "COFFERAN"
#define ANCHOR_VERSION 1
#define SLOT_LEN 4096
#define HEAD_LEN 40
#define BOX_LEN (ANCHOR_STATE_LEN + SUITE_BOX_OVERHEAD)
#define SLOT_AD "coffer-anchor"
#define SLOT_AD_LEN (13 + HEAD_LEN)
#define ID_LEN 16

struct anchor {
	int dirfd;
	char *dir;
	uint8_t volume_id[ID_LEN];
	struct secret *key;
	struct anchor_state *last; /* guarded: what the newest slot holds */
	bool known;                /* last and seq are read */
	uint64_t seq[2];
};

/* One slot as read. */
struct slot {
	uint64_t seq; /* 0: does not open */
	struct anchor_state st;
};

void anchor_state_encode(const struct anchor_state *st, uint8_t out[ANCHOR_STATE_LEN])
{
	bytes_put64(out, st->generation);
	memcpy(out + 8, st->tk, KDF_KEY_LEN);
	bytes_put64(out + 40, st->txn);
	memcpy(out + 48, st->root_tag, 16);
	bytes_put64(out + 64, st->id_floor);
	memcpy(out + 72, st->charter_head, 32);
	bytes_put64(out + 104, st->trail_size);
	memcpy(out + 112, st->trail_root, 32);
}

void anchor_state_decode(const uint8_t in[ANCHOR_STATE_LEN], struct anchor_state *ret)
{
	ret->generation = bytes_get64(in);
	memcpy(ret->tk, in + 8, KDF_KEY_LEN);
	ret->txn = bytes_get64(in + 40);
	memcpy(ret->root_tag, in + 48, 16);
	ret->id_floor = bytes_get64(in + 64);
	memcpy(ret->charter_head, in + 72, 32);
	ret->trail_size = bytes_get64(in + 104);
	memcpy(ret->trail_root, in + 112, 32);
}

/* --- slots as bytes --- */

static void head_encode(uint8_t *out, const uint8_t volume_id[ID_LEN], uint64_t seq)
{
	memset(out, 0, HEAD_LEN);
	memcpy(out, ANCHOR_MAGIC, 8);
	bytes_put16(out + 8, ANCHOR_VERSION);
	memcpy(out + 16, volume_id, ID_LEN);
	bytes_put64(out + 32, seq);
}

static void slot_ad(uint8_t ad[SLOT_AD_LEN], const uint8_t *head)
{
	memcpy(ad, SLOT_AD, 13);
	memcpy(ad + 13, head, HEAD_LEN);
}

static const struct suite *slot_suite(void)
{
	return suite_by_id(SUITE_XCHACHA20POLY1305);
}

static int slot_write(struct anchor *a, int i, uint64_t seq, const struct anchor_state *st)
{
	uint8_t slot[SLOT_LEN] = {0}, ad[SLOT_AD_LEN], pt[ANCHOR_STATE_LEN];

	head_encode(slot, a->volume_id, seq);
	slot_ad(ad, slot);
	anchor_state_encode(st, pt);
	suite_seal(slot_suite(), secret_bytes(a->key), ad, sizeof(ad), pt, sizeof(pt),
		   slot + HEAD_LEN);
	secret_wipe(pt, sizeof(pt));
	return durable_overwrite(a->dirfd, ANCHOR_FILE, (off_t)i * SLOT_LEN, slot, SLOT_LEN);
}

static void slot_parse(const struct anchor *a, const uint8_t *buf, struct slot *ret)
{
	uint8_t head[HEAD_LEN], ad[SLOT_AD_LEN], pt[ANCHOR_STATE_LEN];
	uint64_t seq = bytes_get64(buf + 32);

	ret->seq = 0;
	head_encode(head, a->volume_id, seq);
	if (seq == 0 || memcmp(head, buf, HEAD_LEN) != 0)
		return;
	slot_ad(ad, head);
	if (suite_open(slot_suite(), secret_bytes(a->key), ad, sizeof(ad), buf + HEAD_LEN, BOX_LEN,
		       pt) < 0)
		return;
	anchor_state_decode(pt, &ret->st);
	ret->seq = seq;
	secret_wipe(pt, sizeof(pt));
}

static int slots_load(int dirfd, uint8_t buf[2 * SLOT_LEN])
{
	CLEANUP_FD int fd = openat(dirfd, ANCHOR_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	int r = fd < 0 ? -errno : 0;

	for (int i = 0; i < 2 && r == 0; i++) {
		uint8_t *slot = buf + (size_t)i * SLOT_LEN;

		r = durable_pread(fd, slot, SLOT_LEN, (off_t)i * SLOT_LEN);
		/* A bad sector under one slot is what the other is for. */
		if (r == -EIO) {
			memset(slot, 0, SLOT_LEN);
			r = 0;
		}
	}
	return r;
}

/* --- making and opening --- */

int anchor_folder(const char *dir)
{
	CLEANUP_FD int fd = -1, parent = -1;
	bool made = mkdir(dir, 0700) == 0;
	int r;

	if (!made && errno != EEXIST)
		return -errno;
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (!made)
		return STEAL_FD(fd);
	parent = openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = parent < 0 ? -errno : durable_sync_dir(parent);
	return r < 0 ? r : STEAL_FD(fd);
}

int anchor_create(const char *dir, const uint8_t volume_id[16], struct diag *d)
{
	CLEANUP_FD int fd = anchor_folder(dir);
	uint8_t buf[2 * SLOT_LEN] = {0};
	int r;

	if (fd < 0)
		return diag_fail_errno(d, fd, "anchor %s", dir);
	head_encode(buf, volume_id, 0);
	head_encode(buf + SLOT_LEN, volume_id, 0);
	r = durable_create(fd, ANCHOR_FILE, buf, sizeof(buf), 0600);
	if (r == -EEXIST)
		return diag_fail(d, DIAG_STORE_EXISTS, r, "anchor %s/" ANCHOR_FILE, dir);
	return r < 0 ? diag_fail_errno(d, r, "anchor %s/" ANCHOR_FILE, dir) : 0;
}

void anchor_destroy(const char *dir)
{
	CLEANUP_FD int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	uint8_t noise[2 * SLOT_LEN];

	if (fd < 0)
		return;
	kdf_random(noise, sizeof(noise));
	durable_overwrite(fd, ANCHOR_FILE, 0, noise, sizeof(noise));
	durable_unlink(fd, ANCHOR_FILE);
}

/*
 * What the clear heads say against opening; one good head is enough. Damage is anchor_get's to
 * find.
 */
static int heads_check(const uint8_t buf[2 * SLOT_LEN], const uint8_t volume_id[ID_LEN],
		       const char *dir, struct diag *d)
{
	bool other = false, newer = false;

	for (int i = 0; i < 2; i++) {
		const uint8_t *head = buf + (size_t)i * SLOT_LEN;

		if (memcmp(head, ANCHOR_MAGIC, 8) != 0)
			continue;
		if (memcmp(head + 16, volume_id, ID_LEN) != 0)
			other = true;
		else if (bytes_get16(head + 8) > ANCHOR_VERSION)
			newer = true;
		else
			return 0;
	}
	if (newer)
		return diag_fail(d, DIAG_VERSION, -EPROTONOSUPPORT, "anchor %s", dir);
	if (other)
		return diag_fail(d, DIAG_ANCHOR_DAMAGED, -EXDEV, "anchor %s: another volume's",
				 dir);
	return 0;
}

int anchor_open(const char *dir, const uint8_t volume_id[16], const uint8_t vk[32],
		struct anchor **ret, struct diag *d)
{
	CLEANUP_ANCHOR struct anchor *a = calloc(1, sizeof(*a));
	uint8_t buf[2 * SLOT_LEN];
	int r;

	if (!a)
		return diag_fail_errno(d, -ENOMEM, "anchor %s", dir);
	memcpy(a->volume_id, volume_id, ID_LEN);
	a->dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = a->dirfd < 0 ? -errno : slots_load(a->dirfd, buf);
	if (r == -ENOENT || r == -ENOTDIR)
		return diag_fail(d, DIAG_ANCHOR_MISSING, r, "anchor %s", dir);
	if (r == -ENODATA)
		return diag_fail(d, DIAG_ANCHOR_DAMAGED, -EUCLEAN, "anchor %s: too short", dir);
	if (r < 0)
		return diag_fail_errno(d, r, "anchor %s", dir);
	r = heads_check(buf, volume_id, dir, d);
	if (r < 0)
		return r;
	a->dir = strdup(dir);
	a->key = secret_new(KDF_KEY_LEN);
	a->last = secret_slab_new(sizeof(*a->last));
	if (!a->dir || !a->key || !a->last)
		return diag_fail_errno(d, -ENOMEM, "anchor %s", dir);
	kdf_derive(secret_bytes(a->key), vk, "coffer anchor 1", volume_id, ID_LEN);
	*ret = STEAL_PTR(a);
	return 0;
}

void anchor_close(struct anchor *a)
{
	if (!a)
		return;
	if (a->dirfd >= 0)
		close(a->dirfd);
	secret_slab_free(a->last);
	secret_free(a->key);
	free(a->dir);
	free(a);
}

/* --- reading and writing --- */

static bool same_key(const struct anchor_state *a, const struct anchor_state *b)
{
	return a->generation == b->generation && kdf_equal(a->tk, b->tk, KDF_KEY_LEN);
}

static int load(struct anchor *a, bool *ret_other_stale)
{
	uint8_t buf[2 * SLOT_LEN];
	struct slot s[2];
	int newest, r = slots_load(a->dirfd, buf);

	if (r < 0)
		return r;
	for (int i = 0; i < 2; i++) {
		slot_parse(a, buf + (size_t)i * SLOT_LEN, &s[i]);
		a->seq[i] = s[i].seq;
	}
	newest = s[1].seq > s[0].seq;
	if (s[newest].seq) {
		*a->last = s[newest].st;
		a->known = true;
		*ret_other_stale = !s[!newest].seq || !same_key(&s[0].st, &s[1].st);
	}
	r = s[newest].seq ? 0 : -EBADMSG;
	secret_wipe(s, sizeof(s));
	return r;
}

int anchor_get(struct anchor *a, struct anchor_state *ret, bool *ret_other_stale, struct diag *d)
{
	int r = load(a, ret_other_stale);

	if (r == -EBADMSG || r == -ENODATA)
		return diag_fail(d, DIAG_ANCHOR_DAMAGED, -EBADMSG, "anchor %s", a->dir);
	if (r == -ENOENT)
		return diag_fail(d, DIAG_ANCHOR_MISSING, r, "anchor %s", a->dir);
	if (r < 0)
		return diag_fail_errno(d, r, "anchor %s", a->dir);
	*ret = *a->last;
	return 0;
}

static int put_older(struct anchor *a, const struct anchor_state *st)
{
	int i = a->seq[1] < a->seq[0];
	uint64_t seq = a->seq[!i] + 1;
	int r;

	/* Whatever a failed write leaves there, it is this slot that is written next. */
	a->seq[i] = 0;
	r = slot_write(a, i, seq, st);
	if (r < 0)
		return r;
	a->seq[i] = seq;
	*a->last = *st;
	a->known = true;
	return 0;
}

int anchor_put(struct anchor *a, const struct anchor_state *st)
{
	bool stale;
	int r = a->known ? 0 : load(a, &stale);

	if (r < 0)
		return r;
	if (!same_key(st, a->last))
		return -EINVAL;
	return put_older(a, st);
}

int anchor_put_both(struct anchor *a, const struct anchor_state *st)
{
	bool stale;
	int r;

	/* A sequence below one that stands would lose to it. A new anchor has none. */
	if (!a->known) {
		r = load(a, &stale);
		if (r < 0 && r != -EBADMSG)
			return r;
	}
	r = put_older(a, st);
	return r < 0 ? r : put_older(a, st);
}

int anchor_rekey(struct anchor *a, const uint8_t vk[32], const struct anchor_state *st,
		 struct anchor **ret)
{
	CLEANUP_ANCHOR struct anchor *next = NULL;
	bool stale;
	int r = a->known ? 0 : load(a, &stale);

	if (r == 0)
		r = anchor_open(a->dir, a->volume_id, vk, &next, NULL);
	if (r < 0)
		return r;
	/* Under the new key neither slot opens: which one is older, only the old key can tell. */
	memcpy(next->seq, a->seq, sizeof(next->seq));
	r = put_older(next, st);
	if (r == 0)
		*ret = STEAL_PTR(next);
	return r;
}
