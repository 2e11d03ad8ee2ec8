/* What comes over the control socket, from anybody who may connect, and coffer.conf, which anybody
 * may have edited. */
#include "tools/control.c"

#include "tests/reject/reject.h"

#include <pthread.h>

#include "core/conf.h"

/* The file comes over a socket whose other end is then closed. */
static int control(const uint8_t *p, size_t len, struct diag *d)
{
	json_t *line = NULL;
	int fds[2];

	(void)d;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	if (len)
		assert_int_equal(send(fds[0], p, len, MSG_NOSIGNAL), len);
	close(fds[0]);
	int r = control_read(fds[1], &line);
	assert_true((r == 0) == (line != NULL));
	json_decref(line);
	close(fds[1]);
	return r;
}

static int conf(const uint8_t *p, size_t len, struct diag *d)
{
	static struct conf c;
	static struct conf_mistakes m;
	CLEANUP_FREE char *text = malloc(len + 1);

	assert_non_null(text);
	memcpy(text, p, len);
	text[len] = '\0';
	c.n_media = 77;
	int r = conf_check(text, len, &c, &m);
	assert_true(r == 0 ? m.n_all == 0 : c.n_media == 77 && m.n > 0 && m.list[0].line > 0);
	/* With the NUL inside, a text ends early: the two agree on all others. */
	if (strlen(text) == len)
		assert_int_equal(conf_parse(text, "coffer.conf", &c, d), r);
	else
		diag_fail(d, DIAG_POLICY, r, "coffer.conf");
	return r;
}

struct sender {
	int fd;
	size_t len; /* of the line */
};

/* Goes on until the reader has had enough and closes. */
static void *send_line(void *arg)
{
	struct sender *s = arg;
	CLEANUP_FREE char *block = malloc(65536);
	size_t sent = 0;

	memset(block, ' ', 65536);
	while (sent < s->len) {
		ssize_t n =
		    send(s->fd, block, s->len - sent < 65536 ? s->len - sent : 65536, MSG_NOSIGNAL);
		if (n <= 0)
			break;
		sent += (size_t)n;
	}
	send(s->fd, "{}\n", 3, MSG_NOSIGNAL);
	close(s->fd);
	return NULL;
}

static int read_long_line(size_t len)
{
	struct sender s = {.len = len};
	pthread_t thread;
	json_t *line = NULL;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	s.fd = fds[0];
	assert_int_equal(pthread_create(&thread, NULL, send_line, &s), 0);
	int r = control_read(fds[1], &line);
	json_decref(line);
	close(fds[1]);
	pthread_join(thread, NULL);
	return r;
}

/* A line may have 16 MiB; who sends more is cut off instead of filling memory. */
static void line_too_long(void **state)
{
	(void)state;
	assert_int_equal(read_long_line(1 << 20), 0);
	assert_int_equal(read_long_line(CONTROL_LINE_MAX + (1 << 20)), -EFBIG);
}

/* Lines that come in one piece are read one by one, and the rest stays for the next read. */
static void lines_together(void **state)
{
	static const char text[] = "{\"a\": 1}\n{\"b\": 2}\nbad\n";
	json_t *line;
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_int_equal(send(fds[0], text, sizeof(text) - 1, 0), sizeof(text) - 1);
	assert_int_equal(control_read(fds[1], &line), 0);
	assert_int_equal(json_integer_value(json_object_get(line, "a")), 1);
	json_decref(line);
	assert_int_equal(control_read(fds[1], &line), 0);
	assert_int_equal(json_integer_value(json_object_get(line, "b")), 2);
	json_decref(line);
	assert_int_equal(control_read(fds[1], &line), -EUCLEAN);
	close(fds[0]);
	close(fds[1]);
}

/* An error answer is an error to the client, whatever number and name it carries. */
static void answers_with_odd_numbers(void **state)
{
	static const char *const answers[] = {
	    "{\"name\": \"wrong-secret\", \"errno\": 0}",
	    "{\"name\": \"wrong-secret\", \"errno\": -5}",
	    "{\"name\": \"wrong-secret\", \"errno\": -2147483648}",
	    "{\"name\": \"none\", \"errno\": 4294967296}",
	    "{\"name\": 5, \"errno\": \"x\"}",
	    "{}",
	    "[]",
	    "null"};

	(void)state;
	for (size_t i = 0; i < sizeof(answers) / sizeof(*answers); i++) {
		json_t *j = json_loads(answers[i], JSON_DECODE_ANY, NULL);
		struct diag d = {0};

		assert_non_null(j);
		int r = remote_error(j, &d);
		assert_true(r < 0 && r >= -4095);
		assert_int_equal(d.err, r);
		assert_int_not_equal(diag_exit_code(d.id), DIAG_EXIT_DONE);
		json_decref(j);
	}
}

int main(void)
{
	static const struct reject_parser parsers[] = {
	    {"control", control, false, DIAG_NONE, DIAG_NONE},
	    {"conf", conf, true, DIAG_POLICY, DIAG_POLICY},
	};
	const struct CMUnitTest more[] = {cmocka_unit_test(line_too_long),
					  cmocka_unit_test(lines_together),
					  cmocka_unit_test(answers_with_odd_numbers)};

	return reject_run("reject_control", parsers, sizeof(parsers) / sizeof(*parsers), more, 3);
}
