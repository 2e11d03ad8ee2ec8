/*
 * Delta debugging: see the header.
 */
#include "tests/crash/shrink.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static bool fails_apart(const struct op *ops, size_t n, shrink_fails_fn fails, void *arg)
{
	int status = 0;

	fflush(NULL);
	pid_t pid = fork();
	if (pid < 0)
		abort();
	if (pid == 0)
		_exit(fails(arg, ops, n));
	if (waitpid(pid, &status, 0) != pid)
		abort();
	return status != 0;
}

/* The list without ops[at .. at + len). */
static size_t without(const struct op *ops, size_t n, size_t at, size_t len, struct op *out)
{
	memcpy(out, ops, at * sizeof(*ops));
	memcpy(out + at, ops + at + len, (n - at - len) * sizeof(*ops));
	return n - len;
}

size_t shrink(struct op *ops, size_t n, shrink_fails_fn fails, void *arg, unsigned seconds)
{
	struct op *less = calloc(n + 1, sizeof(*less));
	time_t end = time(NULL) + seconds;

	if (!less)
		abort();
	for (size_t len = n / 2; len && time(NULL) < end; len = len == 1 ? 0 : (len + 1) / 2) {
		bool any = true;

		while (any && time(NULL) < end) {
			any = false;
			for (size_t at = 0; at + len <= n && time(NULL) < end;) {
				size_t m = without(ops, n, at, len, less);

				if (fails_apart(less, m, fails, arg)) {
					memcpy(ops, less, m * sizeof(*ops));
					n = m;
					any = true;
				} else {
					at += len;
				}
			}
			any &= len == 1;
		}
	}
	free(less);
	return n;
}
