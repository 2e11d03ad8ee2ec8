/*
 * Confinement: what the serving process gave up stays given up, in threads that ran before as well, and what the engine
 * needs still works. Each case runs in a process of its own, because nothing of it can be undone.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/confine.h"

/* Runs fn in a child; its result is the child's exit code: 0 good, else which of its checks failed. */
static int in_child(int (*fn)(void))
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0)
		_exit(fn());
	assert_true(pid > 0 && waitpid(pid, &status, 0) == pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void need_root(void)
{
	if (geteuid() != 0)
		skip();
}

static bool refused(long result)
{
	return result == -1 && errno == EPERM;
}

static int dangerous(void)
{
	char name[] = "true", *const args[] = {name, NULL};

	if (confine_system_calls() != 0)
		return 1;
	if (!refused(execve("/bin/true", args, NULL)))
		return 2;
	if (!refused(syscall(SYS_fork)) || !refused(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0)))
		return 3;
	if (!refused(ptrace(PTRACE_ATTACH, getppid(), 0, 0)))
		return 4;
	if (!refused(mount("none", "/mnt", "tmpfs", 0, NULL)))
		return 5;
	if (!refused(kill(getppid(), 0)))
		return 6;
	if (!refused(unshare(CLONE_NEWNS)))
		return 7;
	if (!refused(syscall(SYS_bpf, 0, 0, 0)) || !refused(syscall(SYS_init_module, 0, 0, 0)))
		return 8;
	if (!refused(setuid(1)))
		return 9;
	return 0;
}

/* Promise 1: whoever takes over the process cannot start, trace or mount anything with the keys in reach. */
static void test_no_program_no_trace_no_mount(void **state)
{
	(void)state;
	need_root();
	assert_int_equal(in_child(dangerous), 0);
}

static int narrowed(void)
{
	if (confine_system_calls() != 0)
		return 1;
	if (socket(AF_PACKET, SOCK_RAW, 0) != -1 || errno != ENOSYS)
		return 2;
	if (syscall(SYS_tgkill, getppid(), getppid(), 0) != -1 || errno != ENOSYS)
		return 3;
	if (prctl(PR_SET_DUMPABLE, 1) != -1)
		return 4;
	if (syscall(SYS_prlimit64, getppid(), 0, NULL, NULL) != -1 || errno != ENOSYS)
		return 5;
	if (syscall(SYS_memfd_secret, 0) != -1 || errno != ENOSYS)
		return 6;
	return 0;
}

/* Calls that are needed are still only for this process and for the sockets it has a use for. */
static void test_arguments_are_looked_at(void **state)
{
	(void)state;
	need_root();
	assert_int_equal(in_child(narrowed), 0);
}

static void *one(void *arg)
{
	*(int *)arg = 1;
	return NULL;
}

static int needed(void)
{
	char dir[] = "/tmp/coffer-confine-XXXXXX", path[64];
	int ran = 0;
	pthread_t t;

	if (confine_system_calls() != 0 || !mkdtemp(dir))
		return 1;
	snprintf(path, sizeof(path), "%s/f", dir);
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (fd < 0 || pwrite(fd, "x", 1, 4096) != 1 || fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) != 0 ||
	    fdatasync(fd) != 0 || close(fd) != 0 || unlink(path) != 0 || rmdir(dir) != 0)
		return 2;
	if (pthread_create(&t, NULL, one, &ran) != 0 || pthread_join(t, NULL) != 0 || !ran)
		return 3;
	if (socket(AF_UNIX, SOCK_STREAM, 0) < 0 || socket(AF_INET, SOCK_STREAM, 0) < 0)
		return 4;
	return 0;
}

/* The engine goes on: files, syncs, threads, sockets. */
static void test_the_engine_goes_on(void **state)
{
	(void)state;
	need_root();
	assert_int_equal(in_child(needed), 0);
}

static pthread_barrier_t confined;

static void *early(void *arg)
{
	char name[] = "true", *const args[] = {name, NULL};

	pthread_barrier_wait(&confined);
	*(bool *)arg = refused(execve("/bin/true", args, NULL));
	return NULL;
}

static int earlier_thread(void)
{
	bool was_refused = false;
	pthread_t t;

	pthread_barrier_init(&confined, NULL, 2);
	if (pthread_create(&t, NULL, early, &was_refused) != 0 || confine_system_calls() != 0)
		return 1;
	pthread_barrier_wait(&confined);
	pthread_join(t, NULL);
	return was_refused ? 0 : 2;
}

/* A thread that ran before is under the filter as well. */
static void test_threads_that_ran_before(void **state)
{
	(void)state;
	need_root();
	assert_int_equal(in_child(earlier_thread), 0);
}

static int capabilities(void)
{
	char line[128];
	unsigned long long eff = 0, bound = 0;
	/* chown, dac_override, dac_read_search, fowner, fsetid, ipc_lock, sys_admin, mknod, setfcap */
	const unsigned long long list = 0x1full | 1ull << 14 | 1ull << 21 | 1ull << 27 | 1ull << 31;

	if (confine_capabilities() != 0)
		return 1;
	FILE *f = fopen("/proc/self/status", "r");
	while (f && fgets(line, sizeof(line), f)) {
		sscanf(line, "CapEff: %llx", &eff);
		sscanf(line, "CapBnd: %llx", &bound);
	}
	if (!f || !eff)
		return 2;
	if (eff & ~list)
		return 3;
	if (bound & ~list)
		return 4;
	return eff & 1ull << 13 || eff & 1ull << 19 ? 5 : 0; /* net_raw, sys_ptrace */
}

static void test_capabilities_go(void **state)
{
	(void)state;
	need_root();
	assert_int_equal(in_child(capabilities), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_program_no_trace_no_mount),
		cmocka_unit_test(test_arguments_are_looked_at),
		cmocka_unit_test(test_the_engine_goes_on),
		cmocka_unit_test(test_threads_that_ran_before),
		cmocka_unit_test(test_capabilities_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
