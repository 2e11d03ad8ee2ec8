/*
 * Secrets: fenced, locked, wiped, and taken only from files that others cannot read.
 *
 * What ends a process or changes it for good happens in a child.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "core/secret.h"

static char dir[64];
static char path[128];

static int setup(void **state)
{
	(void)state;
	alarm(60); /* a dialog that never comes about ends the test, not the whole run */
	strcpy(dir, "/tmp/coffer-secret-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/secret", dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(dir);
}

static void write_file(const void *p, size_t len, mode_t mode)
{
	CLEANUP_FD int fd = -1;

	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, p, len), len);
	assert_int_equal(fchmod(fd, mode), 0);
}

/* The wait status of a child that runs fn and exits with what it returns. */
static int status_of(int (*fn)(void))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(fn());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void assert_child_succeeds(int (*fn)(void))
{
	int status = status_of(fn);

	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- guarded memory ---- */

/* New memory is zeros, of the length asked for. */
static void test_new_is_zeroed(void **state)
{
	static const size_t lens[] = {0, 1, 31, 32, 4095, 4096, 4097};
	static const uint8_t zeros[4097];

	(void)state;
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		CLEANUP_SECRET struct secret *s = secret_new(lens[i]);

		assert_non_null(s);
		assert_int_equal(secret_len(s), lens[i]);
		assert_memory_equal(secret_bytes(s), zeros, lens[i]);
		memset(secret_bytes(s), 0xff, lens[i]);
	}
}

static int overrun(void)
{
	struct secret *s = secret_new(33);

	secret_process_init();
	signal(SIGSEGV, SIG_DFL);
	secret_bytes(s)[33] = 1;
	return 0;
}

/* The first byte past a secret faults. */
static void test_overrun_faults(void **state)
{
	int status = status_of(overrun);

	(void)state;
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSEGV);
}

/* Slabs are aligned for prepared cipher keys, whatever their length. */
static void test_slab_alignment(void **state)
{
	(void)state;
	for (size_t len = 1; len < 200; len += 13) {
		uint8_t *p = secret_slab_new(len);

		assert_non_null(p);
		assert_int_equal((uintptr_t)p % 64, 0);
		assert_int_equal(p[len - 1], 0);
		secret_slab_free(p);
	}
	assert_null(secret_slab_new(SIZE_MAX));
	secret_slab_free(NULL);
	secret_free(NULL);
}

static long locked_kib(void)
{
	CLEANUP_FILE FILE *f = fopen("/proc/self/status", "re");
	char line[256];
	long kib = -1;

	while (f && fgets(line, sizeof(line), f))
		sscanf(line, "VmLck: %ld", &kib);
	return kib;
}

/* False under sanitizers, which turn mlock into nothing. */
static bool locking_shows(void)
{
	long before = locked_kib(), after;
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return false;
	mlock(p, 4096);
	after = locked_kib();
	munmap(p, 4096);
	return before >= 0 && after > before;
}

/* A secret's pages are locked while it lives and let go with it. */
static void test_pages_are_locked(void **state)
{
	long before, during;
	void *slab;

	(void)state;
	if (!locking_shows())
		skip();
	before = locked_kib();
	slab = secret_slab_new(64 * 1024);
	assert_non_null(slab);
	during = locked_kib();
	secret_slab_free(slab);
	assert_true(during >= before + 64);
	assert_int_equal(locked_kib(), before);
}

static int new_without_locks(void)
{
	const struct rlimit none = {0, 0};

	if (setrlimit(RLIMIT_MEMLOCK, &none) < 0)
		return 1;
	if (geteuid() == 0 && setresuid(65534, 65534, 65534) < 0)
		return 2;
	return secret_new(32) == NULL && secret_slab_new(32) == NULL ? 0 : 3;
}

/* Memory that cannot be locked is not handed out. */
static void test_unlockable_is_refused(void **state)
{
	(void)state;
	if (!locking_shows())
		skip();
	assert_child_succeeds(new_without_locks);
}

static void test_wipe(void **state)
{
	uint8_t key[32];

	(void)state;
	memset(key, 0xaa, sizeof(key));
	secret_wipe(key, 31);
	for (size_t i = 0; i < 31; i++)
		assert_int_equal(key[i], 0);
	assert_int_equal(key[31], 0xaa);
}

/* ---- files ---- */

static void assert_file_gives(const void *p, size_t len)
{
	CLEANUP_SECRET struct secret *s = NULL;

	assert_int_equal(secret_from_file(path, &s), 0);
	assert_int_equal(secret_len(s), len);
	assert_memory_equal(secret_bytes(s), p, len);
}

static void assert_file_refused(int want)
{
	struct secret *s = NULL;

	assert_int_equal(secret_from_file(path, &s), want);
	assert_null(s);
}

/* The first line counts, to the byte: no newline, nothing after it, spaces and NULs kept. */
static void test_file_first_line(void **state)
{
	(void)state;
	write_file("correct horse\nsecond", 20, 0600);
	assert_file_gives("correct horse", 13);
	write_file("no newline", 10, 0400);
	assert_file_gives("no newline", 10);
	write_file(" a\0b \r\n", 7, 0600);
	assert_file_gives(" a\0b \r", 6);
}

/* 1024 bytes pass, one more does not, and neither does nothing. */
static void test_file_lengths(void **state)
{
	char line[1026];

	(void)state;
	memset(line, 'x', sizeof(line));
	write_file(line, 1024, 0600);
	assert_file_gives(line, 1024);
	write_file(line, 1025, 0600);
	assert_file_refused(-EINVAL);
	line[1024] = '\n';
	write_file(line, 1025, 0600);
	assert_file_gives(line, 1024);
	write_file("", 0, 0600);
	assert_file_refused(-EINVAL);
	write_file("\nsecret", 7, 0600);
	assert_file_refused(-EINVAL);
}

/* A secret that others can read is no secret. */
static void test_file_modes(void **state)
{
	(void)state;
	write_file("pw\n", 3, 0640);
	assert_file_refused(-EPERM);
	write_file("pw\n", 3, 0604);
	assert_file_refused(-EPERM);
	write_file("pw\n", 3, 0600);
	assert_file_gives("pw", 2);
	unlink(path);
	assert_file_refused(-ENOENT);
}

static int read_credential(void)
{
	struct secret *s = NULL;
	char detour[256];

	setenv("CREDENTIALS_DIRECTORY", dir, 1);
	if (secret_from_file(path, &s) != 0 || secret_len(s) != 2)
		return 1;
	snprintf(detour, sizeof(detour), "%s/../%s", dir, path + strlen("/tmp/"));
	return secret_from_file(detour, &s) == -EPERM ? 0 : 2;
}

/* systemd's own folder is the exception (its ACL shows as a group mode); a way out of it is not. */
static void test_systemd_credential(void **state)
{
	(void)state;
	write_file("pw\n", 3, 0440);
	assert_child_succeeds(read_credential);
}

static int read_stdin(void)
{
	struct secret *s = NULL;
	char rest[5] = "";
	int p[2];

	if (pipe(p) < 0 || write(p[1], "pw\nrest", 7) != 7 || dup2(p[0], STDIN_FILENO) < 0)
		return 1;
	if (secret_from_file("-", &s) != 0 || secret_len(s) != 2)
		return 2;
	return read(STDIN_FILENO, rest, 4) == 4 && !strcmp(rest, "rest") ? 0 : 3;
}

/* Standard input gives up its first line and keeps the rest for whoever reads on. */
static void test_stdin(void **state)
{
	(void)state;
	assert_child_succeeds(read_stdin);
}

/* ---- terminal ---- */

struct dialog {
	int tty; /* the master side */
	pid_t pid;
	char seen[512];
	size_t n_seen;
};

/* Reads what the terminal shows until the text has come. */
static void expect(struct dialog *d, const char *text)
{
	while (!strstr(d->seen, text)) {
		ssize_t n = read(d->tty, d->seen + d->n_seen, sizeof(d->seen) - 1 - d->n_seen);

		if (n <= 0)
			fail_msg("terminal closed before '%s', after '%s'", text, d->seen);
		d->n_seen += (size_t)n;
		d->seen[d->n_seen] = '\0';
	}
}

static void type(struct dialog *d, const char *text)
{
	assert_int_equal(write(d->tty, text, strlen(text)), strlen(text));
}

/* A child on a terminal of its own prompts, and exits 0 when it gets "hunter2", else with errno. */
static void start_prompt(struct dialog *d, int confirm)
{
	*d = (struct dialog){0};
	d->pid = forkpty(&d->tty, NULL, NULL, NULL);
	assert_true(d->pid >= 0);
	if (d->pid == 0) {
		struct secret *s = NULL;
		int r = secret_prompt("Passphrase: ", confirm, &s);

		if (r == 0 && (secret_len(s) != 7 || memcmp(secret_bytes(s), "hunter2", 7) != 0))
			_exit(255);
		_exit(-r);
	}
}

static int finish_prompt(struct dialog *d)
{
	int status;

	assert_int_equal(waitpid(d->pid, &status, 0), d->pid);
	close(d->tty);
	return status;
}

/* What is typed comes back and does not show. */
static void test_prompt_hides(void **state)
{
	struct dialog d;

	(void)state;
	start_prompt(&d, 0);
	expect(&d, "Passphrase: ");
	type(&d, "hunter2\n");
	expect(&d, "\n");
	assert_null(strstr(d.seen, "hunter2"));
	assert_int_equal(finish_prompt(&d), 0);
}

static int confirm_with(const char *again)
{
	struct dialog d;
	int status;

	start_prompt(&d, 1);
	expect(&d, "Passphrase: ");
	type(&d, "hunter2\n");
	expect(&d, "Again: Passphrase: ");
	type(&d, again);
	status = finish_prompt(&d);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* A confirmed passphrase was typed twice alike; a difference in content or length is noticed. */
static void test_prompt_confirm(void **state)
{
	(void)state;
	assert_int_equal(confirm_with("hunter2\n"), 0);
	assert_int_equal(confirm_with("hunter3\n"), EKEYREJECTED);
	assert_int_equal(confirm_with("hunter22\n"), EKEYREJECTED);
	assert_int_equal(confirm_with("\n"), EINVAL);
}

/*
 * Interrupted at the prompt, the terminal echoes again and the signal does what it would have
 * done.
 */
static void test_prompt_interrupted(void **state)
{
	struct termios t;
	struct dialog d;
	int status;

	(void)state;
	start_prompt(&d, 0);
	expect(&d, "Passphrase: ");
	assert_int_equal(tcgetattr(d.tty, &t), 0);
	assert_false(t.c_lflag & ECHO);
	assert_int_equal(kill(d.pid, SIGTERM), 0);
	assert_int_equal(waitpid(d.pid, &status, 0), d.pid);
	assert_int_equal(tcgetattr(d.tty, &t), 0);
	close(d.tty);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGTERM);
	assert_true(t.c_lflag & ECHO);
}

static int prompt_without_terminal(void)
{
	struct secret *s = NULL;

	setsid();
	return secret_prompt("Passphrase: ", 0, &s) == -ENOTTY && !s ? 0 : 1;
}

/* Without a terminal there is an error, not a read from somewhere else. */
static void test_prompt_needs_terminal(void **state)
{
	(void)state;
	assert_child_succeeds(prompt_without_terminal);
}

/* ---- process ---- */

static int process_init(void)
{
	struct rlimit lim;

	if (secret_process_init() != 0)
		return 1;
	if (prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0)
		return 2;
	if (getrlimit(RLIMIT_CORE, &lim) < 0 || lim.rlim_cur != 0 || lim.rlim_max != 0)
		return 3;
	if (getrlimit(RLIMIT_MEMLOCK, &lim) < 0 || lim.rlim_cur != lim.rlim_max)
		return 4;
	return 0;
}

/* No core dump, no other process that reads the memory, as much locked memory as there may be. */
static void test_process_init(void **state)
{
	(void)state;
	assert_child_succeeds(process_init);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_new_is_zeroed),
		cmocka_unit_test(test_overrun_faults),
		cmocka_unit_test(test_slab_alignment),
		cmocka_unit_test(test_pages_are_locked),
		cmocka_unit_test(test_unlockable_is_refused),
		cmocka_unit_test(test_wipe),
		cmocka_unit_test(test_file_first_line),
		cmocka_unit_test(test_file_lengths),
		cmocka_unit_test(test_file_modes),
		cmocka_unit_test(test_systemd_credential),
		cmocka_unit_test(test_stdin),
		cmocka_unit_test(test_prompt_hides),
		cmocka_unit_test(test_prompt_confirm),
		cmocka_unit_test(test_prompt_interrupted),
		cmocka_unit_test(test_prompt_needs_terminal),
		cmocka_unit_test(test_process_init),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
