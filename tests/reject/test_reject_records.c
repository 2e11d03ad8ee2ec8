/*
 * What lies inside the boxes of the volume's records. Whoever wrote them held the keys; still every
 * length is checked, and what the engine would not have written is damage: it must not come up as
 * content.
 */
#include "tests/reject/reject.h"

#include "fs/engine_internal.h"
#include "fs/log.h"

static int map(const uint8_t *p, size_t len, struct diag *d)
{
	struct map_group g, untouched;

	(void)d;
	memset(&untouched, 0x5a, sizeof(untouched));
	g = untouched;
	int r = map_decode(p, len, SUITE_TAG_LEN, &g);
	if (r < 0)
		assert_memory_equal(&g, &untouched, sizeof(g));
	return r;
}

static int inode(const uint8_t *p, size_t len, struct diag *d)
{
	struct inode_record rec, untouched;

	(void)d;
	memset(&untouched, 0x5a, sizeof(untouched));
	memcpy(&rec, &untouched, sizeof(rec));
	int r = inode_decode(p, len, &rec);
	if (r < 0)
		assert_memory_equal(&rec, &untouched, sizeof(rec));
	return r;
}

static int log_entry(const uint8_t *p, size_t len, struct diag *d)
{
	struct log_entry e, untouched;

	(void)d;
	memset(&untouched, 0x5a, sizeof(untouched));
	memcpy(&e, &untouched, sizeof(e));
	int r = log_entry_decode(p, len, &e);
	if (r < 0)
		assert_memory_equal(&e, &untouched, sizeof(e));
	return r;
}

static int count_entry(void *arg, const struct dentry_sealed *e)
{
	(void)e;
	++*(size_t *)arg;
	return 0;
}

/* No entry of a malformed bucket is handed out, not even a sound one before the damage. */
static int bucket(const uint8_t *p, size_t len, struct diag *d)
{
	size_t n = 0;
	int r = dir_bucket_each(p, len, count_entry, &n);

	(void)d;
	assert_true(r == 0 ? n == 2 : n == 0);
	return r;
}

/* A list is whole when it ends where its last pair does. */
static int xattrs(const uint8_t *p, size_t len, struct diag *d)
{
	size_t pos = 0, val_len;
	const uint8_t *val;
	const char *name;

	(void)d;
	while (volume_xattrs_next(p, len, &pos, &name, &val, &val_len))
		assert_true(val + val_len <= p + len && strlen(name) > 0);
	return pos == len ? 0 : -EUCLEAN;
}

static int xattr_record(const uint8_t *p, size_t len, struct diag *d)
{
	size_t list_len = SIZE_MAX;
	int r = xattr_record_decode(p, len, &list_len);

	(void)d;
	assert_true(r == 0 ? list_len > 0 && list_len <= len : list_len == SIZE_MAX);
	return r;
}

/* A refused list leaves the mode alone. */
static int acl(const uint8_t *p, size_t len, struct diag *d)
{
	struct vinode ino = {.attr = {.mode = S_IFREG | 0751}};
	bool drop = false;
	int r = acl_set(NULL, &ino, "system.posix_acl_access", p, len, &drop);

	(void)d;
	assert_true(r == 0 || (ino.attr.mode == (S_IFREG | 0751) && !drop));
	return r;
}

int main(void)
{
	static const struct reject_parser parsers[] = {
	    {"map", map, false, DIAG_NONE, DIAG_NONE},
	    {"log_entry", log_entry, false, DIAG_NONE, DIAG_NONE},
	    {"inode", inode, false, DIAG_NONE, DIAG_NONE},
	    {"bucket", bucket, false, DIAG_NONE, DIAG_NONE},
	    {"xattrs", xattrs, false, DIAG_NONE, DIAG_NONE},
	    {"xattr_record", xattr_record, false, DIAG_NONE, DIAG_NONE},
	    {"acl", acl, false, DIAG_NONE, DIAG_NONE},
	};

	return reject_run("reject_records", parsers, sizeof(parsers) / sizeof(*parsers), NULL, 0);
}
