/*
 * Guarded memory, secrets from files and the terminal, and what a process owes its keys.
 *
 * The bytes of a secret end where a guard page begins, so that an overrun faults. libsodium
 * locks the pages on a best-effort base; here a lock that fails is a failure, because a swapped
 * key outlives its destruction.
 */
#include "core/secret.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sodium.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <termios.h>

#define LINE_MAX_LEN 1024
/* Guarded memory ends at a page; a multiple of this keeps every slab aligned for key states. */
#define SLAB_ALIGN 64

struct secret {
	size_t len;
	uint8_t *bytes;
};

static pthread_once_t sodium_once = PTHREAD_ONCE_INIT;

static void sodium_start(void)
{
	/* Fails only without a random source; the guard pages' canary needs one. */
	if (sodium_init() < 0)
		abort();
}

static void *guarded_alloc(size_t len)
{
	void *p;

	pthread_once(&sodium_once, sodium_start);
	p = sodium_malloc(len);
	if (!p)
		return NULL;
	if (len && mlock(p, len) < 0) {
		sodium_free(p);
		errno = ENOMEM;
		return NULL;
	}
	if (len)
		memset(p, 0, len);
	return p;
}

struct secret *secret_new(size_t len)
{
	CLEANUP_FREE struct secret *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->len = len;
	s->bytes = guarded_alloc(len);
	return s->bytes ? STEAL_PTR(s) : NULL;
}

void secret_free(struct secret *s)
{
	if (!s)
		return;
	sodium_free(s->bytes);
	free(s);
}

uint8_t *secret_bytes(struct secret *s)
{
	return s->bytes;
}

size_t secret_len(const struct secret *s)
{
	return s->len;
}

void secret_wipe(void *p, size_t n)
{
	sodium_memzero(p, n);
}

void *secret_slab_new(size_t len)
{
	if (len > SIZE_MAX - SLAB_ALIGN)
		return NULL;
	return guarded_alloc((len + SLAB_ALIGN - 1) / SLAB_ALIGN * SLAB_ALIGN);
}

void secret_slab_free(void *p)
{
	if (p)
		sodium_free(p);
}

/*
 * Reads to the end of the line, byte by byte: what follows on a pipe is not ours, and no stdio
 * buffer keeps a copy.
 */
static int read_line(int fd, struct secret **ret)
{
	CLEANUP_SECRET struct secret *line = secret_new(LINE_MAX_LEN + 1), *exact = NULL;
	size_t n = 0;

	if (!line)
		return -ENOMEM;
	for (;;) {
		uint8_t *at = secret_bytes(line) + n;
		ssize_t r = read(fd, at, 1);

		if (r < 0)
			return -errno;
		if (r == 0 || *at == '\n')
			break;
		if (++n > LINE_MAX_LEN)
			return -EINVAL;
	}
	if (n == 0)
		return -EINVAL;
	exact = secret_new(n);
	if (!exact)
		return -ENOMEM;
	memcpy(secret_bytes(exact), secret_bytes(line), n);
	*ret = STEAL_PTR(exact);
	return 0;
}

/*
 * systemd grants a service user its credentials through an ACL, whose mask shows as group
 * permission; the folder itself is closed to others.
 */
static bool is_systemd_credential(const char *path)
{
	const char *dir = secure_getenv("CREDENTIALS_DIRECTORY");
	size_t len = dir ? strlen(dir) : 0;

	return len > 1 && !strncmp(path, dir, len) && path[len] == '/' && !strstr(path, "/../");
}

int secret_from_file(const char *path, struct secret **ret)
{
	CLEANUP_FD int fd = -1;
	struct stat st;

	if (!strcmp(path, "-"))
		return read_line(STDIN_FILENO, ret);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (S_ISREG(st.st_mode) && st.st_mode & (S_IRGRP | S_IROTH) &&
	    !is_systemd_credential(path))
		return -EPERM;
	return read_line(fd, ret);
}

/* ---- terminal ---- */

static const int prompt_signals[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};
#define N_PROMPT_SIGNALS (sizeof(prompt_signals) / sizeof(prompt_signals[0]))

static volatile sig_atomic_t prompt_caught;

static void prompt_on_signal(int sig)
{
	prompt_caught = sig;
}

/* The terminal as it was, to be put back however the prompt ends. */
struct prompt_tty {
	int fd;
	struct termios before;
	sigset_t mask;
	struct sigaction actions[N_PROMPT_SIGNALS];
};

static int prompt_quiet(struct prompt_tty *t)
{
	struct sigaction act = {.sa_handler = prompt_on_signal};
	struct termios quiet;
	sigset_t held;

	if (tcgetattr(t->fd, &t->before) < 0)
		return -ENOTTY;
	/* Held back except while prompt_wait sleeps, so that none slips in just before. */
	sigemptyset(&held);
	for (size_t i = 0; i < N_PROMPT_SIGNALS; i++)
		sigaddset(&held, prompt_signals[i]);
	pthread_sigmask(SIG_BLOCK, &held, &t->mask);
	prompt_caught = 0;
	for (size_t i = 0; i < N_PROMPT_SIGNALS; i++)
		sigaction(prompt_signals[i], &act, &t->actions[i]);
	quiet = t->before;
	quiet.c_lflag &= ~(tcflag_t)(ECHO | ECHONL);
	quiet.c_lflag |= ICANON | ISIG;
	tcsetattr(t->fd, TCSAFLUSH, &quiet);
	return 0;
}

/* 0 once a whole line is there, -EINTR on a signal. */
static int prompt_wait(const struct prompt_tty *t)
{
	struct pollfd pfd = {.fd = t->fd, .events = POLLIN};

	return ppoll(&pfd, 1, NULL, &t->mask) < 0 ? -errno : 0;
}

/* The signal, if one came, takes effect again now that the terminal echoes. */
static void prompt_restore(struct prompt_tty *t)
{
	tcsetattr(t->fd, TCSAFLUSH, &t->before);
	for (size_t i = 0; i < N_PROMPT_SIGNALS; i++)
		sigaction(prompt_signals[i], &t->actions[i], NULL);
	pthread_sigmask(SIG_SETMASK, &t->mask, NULL);
	if (prompt_caught)
		raise(prompt_caught);
}

static int prompt_once(int fd, const char *prefix, const char *prompt, struct secret **ret)
{
	struct prompt_tty tty = {.fd = fd};
	int r = prompt_quiet(&tty);

	if (r < 0)
		return r;
	dprintf(fd, "%s%s", prefix, prompt);
	r = prompt_wait(&tty);
	if (r == 0)
		r = read_line(fd, ret);
	dprintf(fd, "\n");
	prompt_restore(&tty);
	return r;
}

int secret_prompt(const char *prompt, int confirm, struct secret **ret)
{
	CLEANUP_SECRET struct secret *first = NULL, *again = NULL;
	CLEANUP_FD int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
	int r;

	if (fd < 0)
		return -ENOTTY;
	r = prompt_once(fd, "", prompt, &first);
	if (r == 0 && confirm)
		r = prompt_once(fd, "Again: ", prompt, &again);
	if (r < 0)
		return r;
	if (again && (first->len != again->len ||
		      sodium_memcmp(first->bytes, again->bytes, first->len) != 0))
		return -EKEYREJECTED;
	*ret = STEAL_PTR(first);
	return 0;
}

/* ---- process ---- */

/* As far as this user may; secret_new reports it when that turns out too little. */
static void raise_memlock(void)
{
	struct rlimit lim = {RLIM_INFINITY, RLIM_INFINITY};

	if (setrlimit(RLIMIT_MEMLOCK, &lim) == 0 || getrlimit(RLIMIT_MEMLOCK, &lim) < 0)
		return;
	lim.rlim_cur = lim.rlim_max;
	setrlimit(RLIMIT_MEMLOCK, &lim);
}

int secret_process_init(void)
{
	const struct rlimit no_core = {0, 0};

	pthread_once(&sodium_once, sodium_start);
	if (setrlimit(RLIMIT_CORE, &no_core) < 0)
		return -errno;
	/* Also shuts /proc/PID/mem and ptrace to other processes of the same user. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return -errno;
	raise_memlock();
	return 0;
}
