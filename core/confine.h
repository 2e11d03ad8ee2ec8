/*
 * Confinement: a process gives up for good what it does not need.
 *
 * The process that serves a volume holds every key of it and talks to the kernel, to a control socket and to repositories. Should
 * one of these make it run somebody else's code, that code finds no way to start a program, to trace another process, to
 * load a module or to mount anything. This module owns the two lists of what stays allowed; see confine.c for why each is
 * there. Nothing here can be undone by the process itself.
 *
 * Both functions are called once, from one thread, by the outermost caller. Source: capabilities(7), seccomp(2),
 * Documentation/userspace-api/no_new_privs.rst.
 */
#ifndef COFFER_CORE_CONFINE_H
#define COFFER_CORE_CONFINE_H

/*
 * Drops all capabilities but those of the list, from the bounding set too. Capabilities belong to a thread: to be called before
 * the process has others that matter. An ordinary user's process has none, and gets 0.
 * -EPERM or another -errno when they cannot be dropped; then some may be gone.
 */
int confine_capabilities(void);

/*
 * From here on, in every thread of the process, whatever is no row of the list of system calls fails: with EPERM where a
 * program would be started or the system changed, with ENOSYS else, so that a C library newer than the list falls back to an
 * older call. Sets no_new_privs. Only for root's process: an ordinary user's unmounts through fusermount3, a set-uid program
 * that it must be able to start; it gets 0 and stays as it is.
 * -errno when the filter cannot be loaded; then nothing has changed but no_new_privs, perhaps.
 */
int confine_system_calls(void);

#endif
