/* The grammar of notes: characters, values, times, and reading note files from folders where others
 * may write. */
#include "core/note.h"
#include "core/note_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/cleanup.h"

/* 9999-12-31T23:59:59Z: four digits of year are part of the form. */
#define TIME_MAX 253402300799

size_t note_utf8(const uint8_t *p, size_t n, uint32_t *ret_cp)
{
	static const uint32_t smallest[5] = {0, 0, 0x80, 0x800, 0x10000};
	uint32_t cp;
	size_t len;

	if (p[0] < 0x80) {
		*ret_cp = p[0];
		return 1;
	}
	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		len = 2;
	else if (p[0] >= 0xe0 && p[0] <= 0xef)
		len = 3;
	else if (p[0] >= 0xf0 && p[0] <= 0xf4)
		len = 4;
	else
		return 0;
	if (len > n)
		return 0;
	cp = p[0] & (0xffu >> (len + 1));
	for (size_t i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		cp = cp << 6 | (p[i] & 0x3f);
	}
	if (cp < smallest[len] || cp > 0x10ffff || (cp >= 0xd800 && cp <= 0xdfff))
		return 0;
	*ret_cp = cp;
	return len;
}

bool note_char_ok(uint32_t cp)
{
	if (cp < 0x20 || (cp >= 0x7f && cp <= 0x9f))
		return false;
	if (cp == 0x2028 || cp == 0x2029)
		return false;
	return !(cp == 0x61c || cp == 0x200e || cp == 0x200f || (cp >= 0x202a && cp <= 0x202e) ||
		 (cp >= 0x2066 && cp <= 0x2069));
}

bool note_char_blank(uint32_t cp)
{
	return cp == ' ' || cp == 0xa0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200a) ||
	       cp == 0x202f || cp == 0x205f || cp == 0x3000;
}

bool note_word_ok(const char *s, size_t len, size_t max)
{
	if (len == 0 || len > max)
		return false;
	for (size_t i = 0; i < len; i++)
		if (!((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= '0' && s[i] <= '9') || s[i] == '-'))
			return false;
	return true;
}

bool note_value_valid(const char *v, size_t len)
{
	const uint8_t *p = (const uint8_t *)v;
	uint32_t cp = 0;

	if (len > NOTE_VALUE_MAX)
		return false;
	for (size_t at = 0, n; at < len; at += n) {
		n = note_utf8(p + at, len - at, &cp);
		if (n == 0 || !note_char_ok(cp) || (at == 0 && note_char_blank(cp)))
			return false;
	}
	return len == 0 || !note_char_blank(cp); /* cp is the last character now */
}

bool note_lines_ok(const char *s, size_t len)
{
	const uint8_t *p = (const uint8_t *)s;

	for (size_t at = 0, n; at < len; at += n) {
		uint32_t cp;

		n = note_utf8(p + at, len - at, &cp);
		if (n == 0 || (cp != '\n' && !note_char_ok(cp)))
			return false;
	}
	return len > 0 && s[len - 1] == '\n';
}

int note_decimal(const char *s, uint64_t *ret)
{
	uint64_t v = 0;

	if (s[0] == '\0' || (s[0] == '0' && s[1] != '\0'))
		return -EUCLEAN;
	for (; *s; s++) {
		if (*s < '0' || *s > '9' || __builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*s - '0'), &v))
			return -EUCLEAN;
	}
	*ret = v;
	return 0;
}

int note_time_format(int64_t unix_seconds, char out[NOTE_TIME_LEN + 1])
{
	time_t t = (time_t)unix_seconds;
	struct tm tm;

	if (unix_seconds < 0 || unix_seconds > TIME_MAX || !gmtime_r(&t, &tm))
		return -EINVAL;
	return strftime(out, NOTE_TIME_LEN + 1, "%Y-%m-%dT%H:%M:%SZ", &tm) == NOTE_TIME_LEN
		   ? 0
		   : -EINVAL;
}

int note_time_parse(const char *s, int64_t *ret)
{
	static const char form[] = "0000-00-00T00:00:00Z";
	char again[NOTE_TIME_LEN + 1];
	struct tm tm = {0};
	int64_t t;

	if (strlen(s) != NOTE_TIME_LEN)
		return -EUCLEAN;
	for (size_t i = 0; i < NOTE_TIME_LEN; i++)
		if (form[i] == '0' ? (s[i] < '0' || s[i] > '9') : s[i] != form[i])
			return -EUCLEAN;
	if (sscanf(s, "%4d-%2d-%2dT%2d:%2d:%2dZ", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
		   &tm.tm_min, &tm.tm_sec) != 6)
		return -EUCLEAN;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	t = timegm(&tm);
	/* timegm carries a 31 April over into May; a date that is not itself again never was one.
	 */
	if (note_time_format(t, again) < 0 || strcmp(again, s) != 0)
		return -EUCLEAN;
	*ret = t;
	return 0;
}

int note_fd_read(int fd, size_t max, uint8_t **ret, size_t *ret_len)
{
	CLEANUP_FREE uint8_t *buf = NULL;
	struct stat st;
	size_t len = 0;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if (st.st_size < 0 || (uint64_t)st.st_size > max)
		return -EFBIG;
	buf = malloc((size_t)st.st_size + 2);
	if (!buf)
		return -ENOMEM;
	while (len <= (size_t)st.st_size) {
		ssize_t n = read(fd, buf + len, (size_t)st.st_size + 1 - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	if (len > (size_t)st.st_size) /* it grew under the reader */
		return -EAGAIN;
	buf[len] = '\0';
	*ret = STEAL_PTR(buf);
	*ret_len = len;
	return 0;
}

int note_fd_read_text(int fd, size_t max, char **ret_text)
{
	uint8_t *buf;
	size_t len;
	int r;

	r = note_fd_read(fd, max, &buf, &len);
	if (r < 0)
		return r;
	if (strlen((char *)buf) != len) {
		free(buf);
		return -EUCLEAN;
	}
	*ret_text = (char *)buf;
	return 0;
}

/* O_NONBLOCK: a FIFO put in the place of a note must not hang the reader. */
static int open_plain(int dirfd, const char *name)
{
	int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);

	return fd < 0 ? -errno : fd;
}

int note_file_read_raw(int dirfd, const char *name, size_t max, uint8_t **ret, size_t *ret_len)
{
	CLEANUP_FD int fd = open_plain(dirfd, name);

	return fd < 0 ? fd : note_fd_read(fd, max, ret, ret_len);
}

int note_file_read(int dirfd, const char *name, size_t max, char **ret_text)
{
	CLEANUP_FD int fd = open_plain(dirfd, name);

	return fd < 0 ? fd : note_fd_read_text(fd, max, ret_text);
}
