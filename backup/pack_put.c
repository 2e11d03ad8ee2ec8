/* See pack_put.h. */
#include "backup/pack_put.h"

#include <errno.h>
#include <string.h>

#include "backup/set_index.h"

#define READ_BACK (1u << 20)

static void describe(const void *bytes, size_t len, struct set_pack *ret)
{
	*ret = (struct set_pack){.len = len};
	kdf_hash(ret->digest, bytes, len);
	set_checksum(bytes, len, ret->sum);
}

/* Into out, of p->len bytes. */
static int read_back(struct repo *r, const char *name, const struct set_pack *p, struct throttle *throttle,
		     uint8_t *out)
{
	uint8_t sum[SET_CHECKSUM_LEN];

	for (uint64_t off = 0; off < p->len; off += READ_BACK) {
		size_t n = p->len - off < READ_BACK ? (size_t)(p->len - off) : READ_BACK;

		throttle_wait(throttle, n);
		int err = repo_read(r, name, off, out + off, n);
		if (err)
			return err;
	}
	set_checksum(out, (size_t)p->len, sum);
	return memcmp(sum, p->sum, sizeof(sum)) == 0 ? 0 : -EIO;
}

int pack_put_checked(struct repo *r, const char *name, const void *bytes, size_t len, struct throttle *throttle,
		     struct set_pack *ret)
{
	CLEANUP_FREE uint8_t *copy = malloc(len ? len : 1);

	describe(bytes, len, ret);
	if (!copy)
		return -ENOMEM;
	throttle_wait(throttle, len);
	int err = repo_put_new(r, name, bytes, len);
	return err ? err : read_back(r, name, ret, throttle, copy);
}

/* Frame by frame to the end. */
static int open_all(struct keyring *kr, const char *id, const uint8_t *p, size_t len)
{
	CLEANUP_BYTES struct bytes_w plain = {0};

	for (size_t off = 0; off < len;) {
		uint32_t box_len = len - off < SET_FRAME_LEN ? UINT32_MAX : bytes_get32(p + off + 8);

		if (box_len > len - off - SET_FRAME_LEN)
			return -EIO;
		size_t stored = SET_FRAME_LEN + box_len;
		bytes_w_reset(&plain);
		int err = p[off + 4] == SET_INDEX
			      ? set_index_block_open(kr, id, (uint32_t)bytes_get64(p + off + 32), p + off, stored,
						     &plain)
			      : set_record_authenticate(kr, p + off, stored, &plain);
		if (err && err != -EKEYREVOKED)
			return err == -EBADMSG ? -EIO : err;
		off += stored;
	}
	return 0;
}

int pack_put(struct repo *r, struct keyring *kr, const char *id, uint32_t number, struct bytes_w *io_pack,
	     struct throttle *throttle, struct set_pack *ret)
{
	char name[SET_NAME_LEN];

	set_object_pack(id, number, name);
	describe(io_pack->buf, io_pack->len, ret);
	throttle_wait(throttle, io_pack->len);
	int err = repo_put_new(r, name, io_pack->buf, io_pack->len);
	if (err == 0)
		err = read_back(r, name, ret, throttle, io_pack->buf);
	return err ? err : open_all(kr, id, io_pack->buf, io_pack->len);
}
