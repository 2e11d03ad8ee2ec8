/*
 * Block maps: where each 4 KiB block of a file lies, and how it was sealed. Pure codec and
 * arithmetic.
 *
 * One map record covers MAP_GROUP consecutive logical blocks. An entry is a hole or {slot, birth
 * transaction, session, counter, tag}. On disk, contiguous entries share all but their tags
 * (docs/format.md "Block map"); a record always fits one page of the database, which has 4096
 * bytes, or 8192 where the suite's tags are long. The record does not say how long a tag is: the
 * volume's suite does. An all-hole
 * record is kept as a tombstone once the group ever held blocks, so that an incremental sees what
 * became a hole; it goes with the file.
 *
 * There are no records of free slots: what is free is what no map names, so nothing can contradict
 * the maps.
 */
#ifndef COFFER_FS_MAP_H
#define COFFER_FS_MAP_H

#include <stdbool.h>
#include <stdint.h>

#include "core/bytes.h"
#include "core/suite.h"

#define MAP_BLOCK 4096u
#define MAP_GROUP 64u
#define MAP_GROUP_BYTES ((uint64_t)MAP_BLOCK * MAP_GROUP)
#define MAP_SESSION_LEN 16
#define MAP_HOLE UINT64_MAX

/* Bounds of what an entry may say; they keep the largest record within MAP_RECORD_MAX. */
#define MAP_SLOT_END ((uint64_t)1 << 40)
#define MAP_BIRTH_END ((uint64_t)1 << 56)
#define MAP_COUNTER_END ((uint64_t)1 << 35)
/* Every block in a run and a session of its own: head, slot, birth, session index, counter, tag. */
#define MAP_RECORD_MAX(tag_len)                                                                    \
	(2 + MAP_GROUP * (MAP_SESSION_LEN + 1 + 6 + 8 + 1 + 5 + (tag_len)))

struct map_entry {
	uint64_t slot;    /* in units of MAP_BLOCK in the file's object; MAP_HOLE */
	uint64_t birth;   /* transaction that published it */
	uint64_t moved;   /* in memory: the birth it keeps although it is not published yet, 0 none */
	uint64_t counter; /* nonce */
	uint8_t session[MAP_SESSION_LEN];
	uint8_t tag[SUITE_TAG_LEN_MAX]; /* as long as the suite has it, then zeros */
};

struct map_group {
	struct map_entry e[MAP_GROUP];
};

void map_init(struct map_group *g); /* all holes */
bool map_all_holes(const struct map_group *g);
/* Appends at most MAP_RECORD_MAX(tag_len) bytes. tag_len is the suite's. An entry out of bounds
 * latches -EOVERFLOW in out. */
void map_encode(const struct map_group *g, size_t tag_len, struct bytes_w *out);
/* Accepts only what map_encode writes. -EUCLEAN */
int map_decode(const void *p, size_t len, size_t tag_len, struct map_group *ret);

#endif
