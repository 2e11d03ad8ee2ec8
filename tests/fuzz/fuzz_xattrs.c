/* Lists of extended attributes, and every value of them as an access control list. */
#include <sys/stat.h>

#include "fs/engine.h"
#include "tests/fuzz/fuzz.h"

/* Mode bits change only by an ACL that is taken. */
static void as_acl(const uint8_t *val, size_t len)
{
	struct vinode ino = {.attr = {.mode = S_IFDIR | 0751}};
	bool drop = false;
	int r = acl_set(NULL, &ino, "system.posix_acl_access", val, len, &drop);

	FUZZ_CHECK(r == 0 || r == -EINVAL || r == -EOPNOTSUPP);
	FUZZ_CHECK(r == 0 || (ino.attr.mode == (S_IFDIR | 0751) && !drop));
	FUZZ_CHECK((ino.attr.mode & ~0777u) == S_IFDIR);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes_w w = {0};
	size_t pos = 0, val_len, found_len, list_len;
	const uint8_t *val;
	const char *name;

	as_acl(data, size);
	while (volume_xattrs_next(data, size, &pos, &name, &val, &val_len)) {
		FUZZ_CHECK(pos <= size && *name && val + val_len <= data + size);
		FUZZ_CHECK(xattr_find(data, size, name, &found_len));
		as_acl(val, val_len);
	}
	if (xattr_record_decode(data, size, &list_len) == 0)
		FUZZ_CHECK(list_len && list_len <= size && size - list_len < RECORD_PAD_WIDE / 4);
	/* One more pair, and the same away again, leave what was well-formed. */
	xattr_replace(data, size, "user.fuzz", "x", 1, &w);
	FUZZ_CHECK(w.err == 0 && xattr_find(w.buf, w.len, "user.fuzz", &found_len) &&
		   found_len == 1);
	bytes_w_free(&w);
	return 0;
}
