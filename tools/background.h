/*
 * Going to the background once what was asked for stands, so that a script's next line finds it.
 *
 * The child is forked before any secret is read: locked memory does not survive a fork. It still has the terminal, asks,
 * and gives its word by background_tell; then the parent ends with success and the child leaves the terminal. What goes
 * wrong before that the parent tells, and its exit code says. One thread until then.
 */
#ifndef COFFER_TOOLS_BACKGROUND_H
#define COFFER_TOOLS_BACKGROUND_H

#include <stdbool.h>

#include "core/diag.h"

/* ready_fd is for background_tell; -1 in the foreground. Returns an exit code, having told why it is not 0. */
typedef int (*background_fn)(void *arg, int ready_fd);
/* The parent's exit code; in the foreground fn's, whose log goes to standard error. Else it goes to syslog. */
int background_run(background_fn fn, void *arg, bool foreground);
/* d NULL: it stands. Else why not, which the parent then prints. */
void background_tell(int ready_fd, const struct diag *d);

#endif
