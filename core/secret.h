/*
 * Guarded memory for secrets: locked against swap, fenced by guard pages, wiped when freed.
 *
 * A struct secret owns one secret of fixed length. Keys on the stack are allowed for the
 * length of one operation and end with secret_wipe. Thread rule: a secret has one owner.
 */
#ifndef COFFER_CORE_SECRET_H
#define COFFER_CORE_SECRET_H

#include <stddef.h>
#include <stdint.h>

#include "core/cleanup.h"

struct secret;

/*
 * Zero-filled; NULL when the memory cannot be had or locked (RLIMIT_MEMLOCK). Each takes a page and
 * its guard pages: many keys belong in one slab.
 */
struct secret *secret_new(size_t len);
void secret_free(struct secret *s);
uint8_t *secret_bytes(struct secret *s);
size_t secret_len(const struct secret *s);
/* Wipes n bytes in a way the compiler keeps. */
void secret_wipe(void *p, size_t n);

/*
 * Guarded memory for arrays of keys (slabs): zero-filled, aligned to 64 bytes (a struct suite_key
 * may lie in it), wiped by secret_slab_free. NULL on failure.
 */
void *secret_slab_new(size_t len);
void secret_slab_free(void *p);

/*
 * The first line of a file, without its newline (at most 1024 bytes), as a secret. path "-" is
 * standard input. -EINVAL when empty or over-long, -EPERM when a regular file is readable by group
 * or others (unless it is a systemd credential, below $CREDENTIALS_DIRECTORY), else -errno.
 */
int secret_from_file(const char *path, struct secret **ret);
/*
 * Prompts on the terminal without echo; confirm asks twice. -ENOTTY without a terminal, -EINVAL
 * when empty or over-long, -EKEYREJECTED when the two entries differ, -EINTR after a signal (which
 * then takes its usual effect, with the terminal as it was). Not from two threads at once.
 */
int secret_prompt(const char *prompt, int confirm, struct secret **ret);

/*
 * What every process that will hold keys does first: initialises the library, forbids core dumps
 * and ptrace by others, and raises RLIMIT_MEMLOCK as far as this user may. To be called again
 * after exec or a change of user, which undo a part of it. 0 or -errno.
 */
int secret_process_init(void);

CLEANUP_DEFINE(secret, struct secret *, secret_free)
#define CLEANUP_SECRET __attribute__((cleanup(cleanup_secret)))

#endif
