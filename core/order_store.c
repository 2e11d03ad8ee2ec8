/* The folders of orders: STORE/orders/NUMBER with the request and its inventory. */
#include "core/order.h"
#include "core/order_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "core/cleanup.h"
#include "core/durable.h"
#include "core/kdf.h"
#include "core/note.h"

#define COUNT_OFF 11 /* of the count in a number */

static int folder_at(int dirfd, const char *name)
{
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int order_folder_open(int store_fd, const char *number)
{
	CLEANUP_FD int orders = -1;

	if (!order_number_valid(number))
		return -EINVAL;
	orders = folder_at(store_fd, ORDER_FOLDER);
	return orders < 0 ? orders : folder_at(orders, number);
}

/* --- storing --- */

/* The text is what becomes binding: it must be this order, signed, over this inventory. */
static int check_given(const struct order *o, const char *text, const void *inventory, size_t len,
		       struct diag *d)
{
	struct order parsed;
	uint8_t digest[32];
	int r;

	r = order_parse(text, &parsed, d);
	if (r < 0)
		return r;
	kdf_sha256(digest, inventory, len);
	if (memcmp(parsed.digest, o->digest, sizeof(o->digest)) != 0 ||
	    strcmp(parsed.number, o->number) != 0 || strlen(text) > ORDER_NOTE_MAX ||
	    len > ORDER_INVENTORY_MAX || memcmp(digest, parsed.inventory, sizeof(digest)) != 0)
		return diag_fail(d, DIAG_NOTE_MALFORMED, -EINVAL,
				 "order %s: text, form and inventory do not belong together",
				 parsed.number);
	return 0;
}

/* The request last: a folder without one is no order, so a crash in between leaves none. */
static int write_files(int dirfd, const char *text, const void *inventory, size_t len)
{
	int r = durable_create(dirfd, ORDER_FILE_INVENTORY, inventory, len, ORDER_FILE_MODE);

	if (r == 0)
		r = durable_create(dirfd, ORDER_FILE_ORDER, text, strlen(text), ORDER_FILE_MODE);
	return r;
}

int order_store(int store_fd, const struct order *o, const char *text, const void *inventory,
		size_t inventory_len, struct diag *d)
{
	CLEANUP_FD int orders = -1;
	CLEANUP_FD int dirfd = -1;
	int r;

	r = check_given(o, text, inventory, inventory_len, d);
	if (r < 0)
		return r;
	r = durable_mkdir(store_fd, ORDER_FOLDER, ORDER_FOLDER_MODE);
	orders = r < 0 ? r : folder_at(store_fd, ORDER_FOLDER);
	if (orders < 0)
		return diag_fail_errno(d, orders, "the store's folder of orders");
	if (mkdirat(orders, o->number, ORDER_FOLDER_MODE) < 0) {
		if (errno == EEXIST)
			return diag_fail(d, DIAG_EXISTS, -EEXIST, "order %s", o->number);
		return diag_fail_errno(d, -errno, "order %s", o->number);
	}
	dirfd = folder_at(orders, o->number);
	r = dirfd < 0 ? dirfd : write_files(dirfd, text, inventory, inventory_len);
	if (r == 0)
		r = durable_sync_dir(orders);
	if (r == 0)
		return 0;
	if (dirfd >= 0) {
		unlinkat(dirfd, ORDER_FILE_ORDER, 0);
		unlinkat(dirfd, ORDER_FILE_INVENTORY, 0);
	}
	unlinkat(orders, o->number, AT_REMOVEDIR);
	return diag_fail_errno(d, r, "order %s", o->number);
}

/* --- loading --- */

static int load_fail(struct diag *d, int r, const char *number, const char *what)
{
	if (r == -ENOENT)
		return diag_fail(d, DIAG_NOT_FOUND, r, "order %s%s", number, what);
	if (r == -EUCLEAN || r == -EFBIG || r == -ELOOP || r == -EINVAL)
		return diag_fail(d, DIAG_NOTE_MALFORMED, -EUCLEAN, "order %s%s", number, what);
	return diag_fail_errno(d, r, "order %s%s", number, what);
}

static int load_order(int dirfd, const char *number, struct order *ret, struct diag *d)
{
	CLEANUP_FREE char *text = NULL;
	struct order o;
	int r;

	r = note_file_read(dirfd, ORDER_FILE_ORDER, ORDER_NOTE_MAX, &text);
	if (r < 0)
		return load_fail(d, r, number, "");
	r = order_parse(text, &o, d);
	if (r < 0)
		return r;
	if (strcmp(o.number, number) != 0)
		return diag_fail(d, DIAG_NOTE_UNSIGNED, -EBADMSG,
				 "order %s lies in the folder of %s", o.number, number);
	*ret = o;
	return 0;
}

int order_load(int store_fd, const char *number, struct order *ret, uint8_t **ret_inventory,
	       size_t *ret_inventory_len, struct diag *d)
{
	CLEANUP_FREE uint8_t *inventory = NULL;
	CLEANUP_FD int dirfd = -1;
	uint8_t digest[32];
	struct order o;
	size_t len;
	int r;

	if (!order_number_valid(number))
		return diag_fail(d, DIAG_NOT_FOUND, -ENOENT, "order of that number");
	dirfd = order_folder_open(store_fd, number);
	if (dirfd < 0)
		return load_fail(d, dirfd, number, "");
	r = load_order(dirfd, number, &o, d);
	if (r < 0)
		return r;
	r = note_file_read_raw(dirfd, ORDER_FILE_INVENTORY, ORDER_INVENTORY_MAX, &inventory, &len);
	if (r < 0)
		return load_fail(d, r, number, ": inventory");
	kdf_sha256(digest, inventory, len);
	if (memcmp(digest, o.inventory, sizeof(digest)) != 0)
		return diag_fail(d, DIAG_NOTE_UNSIGNED, -EBADMSG,
				 "order %s: the inventory is not the one that was signed", number);
	*ret = o;
	if (ret_inventory) {
		*ret_inventory = STEAL_PTR(inventory);
		*ret_inventory_len = len;
	}
	return 0;
}

/* --- numbers --- */

/* 1 and the next valid number, 0 at the end, -errno. */
static int next_entry(DIR *dir, const char **ret)
{
	struct dirent *e;

	do {
		errno = 0;
		e = readdir(dir);
	} while (e && !order_number_valid(e->d_name));
	if (!e)
		return -errno;
	*ret = e->d_name;
	return 1;
}

/* *ret is NULL when there is no folder of orders yet. */
static int open_list(int store_fd, DIR **ret)
{
	int fd = folder_at(store_fd, ORDER_FOLDER);

	*ret = NULL;
	if (fd == -ENOENT)
		return 0;
	if (fd < 0)
		return fd;
	*ret = fdopendir(fd);
	if (!*ret) {
		int r = -errno;

		close(fd);
		return r;
	}
	return 0;
}

/* A folder becomes an order with its request. */
static bool has_request(int orders, const char *number)
{
	CLEANUP_FD int dirfd = folder_at(orders, number);
	struct stat st;

	return dirfd >= 0 && fstatat(dirfd, ORDER_FILE_ORDER, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       S_ISREG(st.st_mode);
}

/* By date and count; the letter last. */
static int by_creation(const void *a, const void *b)
{
	const char *x = a, *y = b;
	int r = strcmp(x + 2, y + 2);

	return r ? r : strcmp(x, y);
}

int order_list(int store_fd, char (**ret)[ORDER_NUMBER_MAX + 1], size_t *ret_n)
{
	CLEANUP_FREE char(*list)[ORDER_NUMBER_MAX + 1] = NULL;
	CLEANUP_DIR DIR *dir = NULL;
	size_t n = 0, cap = 0;
	const char *name = NULL;
	int r;

	r = open_list(store_fd, &dir);
	if (r < 0)
		return r;
	while (dir && (r = next_entry(dir, &name)) > 0) {
		if (!has_request(dirfd(dir), name))
			continue;
		if (n == cap) {
			void *more = reallocarray(list, cap ? 2 * cap : 16, sizeof(*list));

			if (!more)
				return -ENOMEM;
			list = more;
			cap = cap ? 2 * cap : 16;
		}
		strcpy(list[n++], name);
	}
	if (r < 0)
		return r;
	if (n > 0)
		qsort(list, n, sizeof(*list), by_creation);
	*ret = STEAL_PTR(list);
	*ret_n = n;
	return 0;
}

int order_next_number(int store_fd, int64_t now, char ret[ORDER_NUMBER_MAX + 1])
{
	CLEANUP_DIR DIR *dir = NULL;
	char day[16];
	time_t t = (time_t)now;
	unsigned long last = 0;
	const char *name = NULL;
	struct tm tm;
	int r;

	if (!gmtime_r(&t, &tm) || strftime(day, sizeof(day), "D-%Y%m%d-", &tm) != COUNT_OFF)
		return -EINVAL;
	r = open_list(store_fd, &dir);
	if (r < 0)
		return r;
	while (dir && (r = next_entry(dir, &name)) > 0) {
		unsigned long count = strtoul(name + COUNT_OFF, NULL, 10);

		if (strncmp(name, day, COUNT_OFF) == 0 && count > last)
			last = count;
	}
	if (r < 0)
		return r;
	if (last >= 9999)
		return -ENOSPC;
	snprintf(ret, ORDER_NUMBER_MAX + 1, "%s%04lu", day, last + 1);
	return 0;
}
