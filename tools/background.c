/* See background.h. */
#include "tools/background.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/secret.h"
#include "tools/cli.h"

/* The parent's part: the child says 0 when mounted, or tells why not. */
static int wait_ready(pid_t child, int fd)
{
	char word[8192];
	size_t n = 0;
	ssize_t got;
	struct diag d = {0};
	int status;

	while (n < sizeof(word) - 1 && (got = read(fd, word + n, sizeof(word) - 1 - n)) > 0) {
		n += (size_t)got;
		if (word[0] == 0)
			return DIAG_EXIT_DONE;
	}
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (n == 0) /* it has reported itself */
		return WIFEXITED(status) ? WEXITSTATUS(status) : DIAG_EXIT_FAILED;
	json_t *j = json_loadb(word, n, 0, NULL);
	const char *name = json_string_value(json_object_get(j, "name"));
	const char *object = json_string_value(json_object_get(j, "object"));
	enum diag_id id = name ? diag_by_name(name) : DIAG_N;
	diag_fail(&d, id == DIAG_N ? DIAG_SYSTEM : id, -(int)json_integer_value(json_object_get(j, "errno")), "%s",
		  object ? object : "");
	json_decref(j);
	return cli_fail(&d);
}

static void leave_terminal(void)
{
	int null = open("/dev/null", O_RDWR);

	setsid();
	if (chdir("/") != 0 || null < 0)
		return;
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	dup2(null, STDERR_FILENO);
	if (null > STDERR_FILENO)
		close(null);
}

/* Passes the ready word on and then lets go of the terminal; runs beside the work in the child. */
struct relay {
	int from, to;
};

static void *relay_ready(void *arg)
{
	struct relay *r = arg;
	char word[8192];
	ssize_t n;

	while ((n = read(r->from, word, sizeof(word))) > 0) {
		if (word[0] == 0)
			leave_terminal();
		ssize_t done = write(r->to, word, (size_t)n);
		(void)done;
		if (word[0] == 0)
			break;
	}
	close(r->to);
	return NULL;
}

static int child_main(background_fn fn, void *arg, int parent_fd)
{
	struct relay r = {.to = parent_fd};
	int ends[2];
	pthread_t t;

	if (pipe2(ends, O_CLOEXEC) != 0)
		return DIAG_EXIT_FAILED;
	r.from = ends[0];
	diag_log_open(true);
	if (pthread_create(&t, NULL, relay_ready, &r) != 0)
		return DIAG_EXIT_FAILED;
	int code = fn(arg, ends[1]);
	close(ends[1]);
	pthread_join(t, NULL);
	return code;
}

static int failed(const char *what)
{
	struct diag d = {0};

	diag_fail_errno(&d, -errno, "%s", what);
	return cli_fail(&d);
}

int background_run(background_fn fn, void *arg, bool foreground)
{
	int ends[2];

	if (foreground) {
		diag_log_open(false);
		return fn(arg, -1);
	}
	if (pipe2(ends, O_CLOEXEC) != 0)
		return failed("pipe");
	pid_t child = fork();
	if (child < 0)
		return failed("fork");
	if (child == 0) {
		close(ends[0]);
		secret_process_init();
		exit(child_main(fn, arg, ends[1]));
	}
	close(ends[1]);
	return wait_ready(child, ends[0]);
}

void background_tell(int ready_fd, const struct diag *d)
{
	if (ready_fd < 0)
		return;
	if (!d) {
		ssize_t n = write(ready_fd, "\0", 1);
		(void)n;
		return;
	}
	json_t *j = json_pack("{s:s, s:i, s:s}", "name", diag_name(d->id), "errno", -d->err, "object", d->object);
	char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
	if (text) {
		ssize_t n = write(ready_fd, text, strlen(text));
		(void)n;
	}
	free(text);
	json_decref(j);
}
