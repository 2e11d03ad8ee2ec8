/* Lines of the control protocol, as they come over a socket, and what a client makes of an answer.
 */
#include "tools/control.c"

#include "tests/fuzz/fuzz.h"

/* An error answer is an error here too, whatever number it names. */
static void as_answer(const json_t *line)
{
	struct diag d = {0};
	const json_t *part = json_object_get(line, "error");

	if (!part)
		return;
	FUZZ_CHECK(remote_error(part, &d) < 0 && d.err < 0 && d.id != DIAG_NONE && d.id < DIAG_N);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fds[2], r;
	json_t *line;

	/* More than a socket holds would block the writer. */
	if (size > 100000 || socketpair(AF_UNIX, SOCK_STREAM, 0, fds) != 0)
		return 0;
	FUZZ_CHECK(size == 0 || send(fds[0], data, size, MSG_NOSIGNAL) == (ssize_t)size);
	shutdown(fds[0], SHUT_WR);
	do {
		line = NULL;
		r = control_read(fds[1], &line);
		FUZZ_CHECK((r == 0) == (line != NULL));
		FUZZ_CHECK(r == 0 || r == -EUCLEAN || r == -EPIPE);
		if (r == 0)
			as_answer(line);
		json_decref(line);
	} while (r == 0);
	close(fds[0]);
	close(fds[1]);
	return 0;
}
