/* Control protocol: lines of JSON over a Unix socket, and the client's side. See control.h. */
#include "tools/control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "core/bytes.h"
#include "core/cleanup.h"

#define ERRNO_MAX 4095 /* the kernel's */

static int64_t now_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec;
}

int control_read(int fd, json_t **ret)
{
	return control_read_within(fd, CONTROL_LINE_MAX, 0, ret);
}

int control_read_within(int fd, size_t max, unsigned seconds, json_t **ret)
{
	const int64_t until = now_seconds() + seconds;
	CLEANUP_BYTES struct bytes_w line = {0};

	for (;;) {
		char c[4096];
		if (seconds && now_seconds() > until)
			return -ETIMEDOUT;
		/* Peeks, so that nothing beyond the newline is taken. */
		ssize_t n = recv(fd, c, sizeof(c), MSG_PEEK);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EPIPE;
		const char *end = memchr(c, '\n', (size_t)n);
		size_t take = end ? (size_t)(end - c) + 1 : (size_t)n;
		if (recv(fd, c, take, 0) != (ssize_t)take)
			return -EIO;
		bytes_w_raw(&line, c, take);
		if (line.err)
			return line.err;
		if (line.len > max)
			return -EFBIG;
		if (end)
			break;
	}
	*ret = json_loadb((const char *)line.buf, line.len, JSON_REJECT_DUPLICATES, NULL);
	return *ret ? 0 : -EUCLEAN;
}

int control_write(int fd, const json_t *j)
{
	CLEANUP_FREE char *text = json_dumps(j, JSON_COMPACT);
	size_t len, done = 0;

	if (!text)
		return -ENOMEM;
	len = strlen(text);
	text[len] = '\n'; /* in place of the NUL: the buffer is written by length */
	while (done < len + 1) {
		ssize_t n = send(fd, text + done, len + 1 - done, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			int err = -errno;
			/* After half a line nothing that follows could be understood; nor is it waited for again. */
			shutdown(fd, SHUT_RDWR);
			return err;
		}
		done += (size_t)n;
	}
	return 0;
}

/* --- names --- */

json_t *control_name(const char *name)
{
	json_t *j = json_string(name);

	if (j)
		return j;
	CLEANUP_FREE char *hex = malloc(2 * strlen(name) + 1);
	if (!hex)
		return NULL;
	bytes_hex(hex, name, strlen(name));
	return json_pack("{s:s}", "hex", hex);
}

int control_name_get(const json_t *j, char **ret)
{
	const char *text = json_string_value(j), *hex = json_string_value(json_object_get(j, "hex"));
	size_t n = hex ? strlen(hex) / 2 : 0;

	if (text) {
		*ret = strdup(text);
		return *ret ? 0 : -ENOMEM;
	}
	CLEANUP_FREE char *name = hex ? calloc(1, n + 1) : NULL;
	if (!name)
		return hex ? -ENOMEM : -EINVAL;
	if (n == 0 || bytes_unhex(hex, name, n) != 0 || strlen(name) != n)
		return -EINVAL;
	*ret = STEAL_PTR(name);
	return 0;
}

json_t *control_text(const char *text)
{
	json_t *j = json_string(text);

	if (j)
		return j;
	CLEANUP_FREE char *ascii = strdup(text);
	if (!ascii)
		return NULL;
	for (char *p = ascii; *p; p++)
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	return json_string(ascii);
}

/* --- the client --- */

static int dial(const char *run_dir, struct diag *d)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	CLEANUP_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return diag_fail_errno(d, -errno, "%s", run_dir);
	if (snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/control", run_dir) >=
	    (int)sizeof(sa.sun_path))
		return diag_fail_errno(d, -ENAMETOOLONG, "%s", run_dir);
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) != 0) {
		if (errno == EACCES || errno == EPERM)
			return diag_fail(d, DIAG_DENIED, -errno, "%s", sa.sun_path);
		return diag_fail(d, DIAG_NOT_MOUNTED, -errno, "%s", sa.sun_path);
	}
	return STEAL_FD(fd);
}

static int remote_error(const json_t *e, struct diag *d)
{
	const char *name = json_string_value(json_object_get(e, "name"));
	const char *object = json_string_value(json_object_get(e, "object"));
	json_int_t err = json_integer_value(json_object_get(e, "errno"));
	enum diag_id id = name ? diag_by_name(name) : DIAG_N;

	/* An answer that says "error" is one, whatever number it names. */
	if (err <= 0 || err > ERRNO_MAX)
		err = EIO;
	return diag_fail(d, id == DIAG_N || id == DIAG_NONE ? DIAG_SYSTEM : id, -(int)err, "%s", object ? object : "");
}

int control_call(const char *run_dir, json_t *req, void (*progress)(void *arg, const json_t *p),
		 void *arg, json_t **ret, struct diag *d)
{
	CLEANUP_FD int fd = dial(run_dir, d);
	int err = fd < 0 ? fd : control_write(fd, req);

	json_decref(req);
	if (fd < 0)
		return err;
	while (err == 0) {
		json_t *line = NULL, *part;

		err = control_read(fd, &line);
		if (err)
			break;
		if ((part = json_object_get(line, "progress"))) {
			if (progress)
				progress(arg, part);
		} else if ((part = json_object_get(line, "ok"))) {
			*ret = json_incref(part);
			json_decref(line);
			return 0;
		} else if ((part = json_object_get(line, "error"))) {
			err = remote_error(part, d);
			json_decref(line);
			return err;
		} else {
			err = -EUCLEAN;
		}
		json_decref(line);
	}
	return diag_fail_errno(d, err, "the serving process stopped answering");
}
