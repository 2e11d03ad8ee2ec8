/*
 * What the store lies on, and whether overwriting there reaches the old bytes.
 *
 * Only of a plain filesystem on a rotating disk can that be said. On flash, copy-on-write,
 * log-structured, network, stacked and virtual media the old bytes may stay: there destruction
 * rests on the puncture alone, and the certificate says so. Stateless.
 */
#ifndef COFFER_SHRED_MEDIA_H
#define COFFER_SHRED_MEDIA_H

#include <stdbool.h>
#include <stddef.h>

#define MEDIA_TEXT_MAX 512

/* The folder behind a descriptor, in words; never longer than fits a note's value. */
void media_describe(int dir_fd, char out[MEDIA_TEXT_MAX]);
/* The same for a path or a repository URL that is one. */
void media_describe_path(const char *path, char out[MEDIA_TEXT_MAX]);
bool media_overwriting_reaches(const char *description);

#endif
