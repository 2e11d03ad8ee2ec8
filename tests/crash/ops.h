/*
 * Operations on a volume as data: lists of them are made from a seed, printed, cut short and done
 * again.
 *
 * A path has one letter a component ("abc" is /a/b/c, "" the root) so that what an operation means
 * does not depend on those before it: any sublist of a list is a list. The letters g and h stand
 * for names of 255 bytes. "@0" .. "@3" is a file that is held open.
 */
#ifndef COFFER_TESTS_CRASH_OPS_H
#define COFFER_TESTS_CRASH_OPS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define OPS_LETTERS 8u
#define OPS_HANDLES 4u
#define OPS_PATH_MAX 8

enum op_kind {
	OP_CREATE,
	OP_MKDIR,
	OP_SYMLINK,
	OP_MKNOD,
	OP_LINK,
	OP_UNLINK,
	OP_RMDIR,
	OP_RENAME,
	OP_RENAME_NOREPLACE,
	OP_RENAME_EXCHANGE,
	OP_WRITE,
	OP_TRUNCATE,
	OP_ALLOCATE,
	OP_ALLOCATE_KEEP,
	OP_PUNCH,
	OP_ZERO,
	OP_ZERO_KEEP,
	OP_COPY,
	OP_CHMOD,
	OP_CHOWN,
	OP_SETXATTR,
	OP_REMOVEXATTR,
	OP_OPEN,
	OP_CLOSE,
	OP_TMPFILE,
	OP_READ, /* compares the file */
	OP_FSYNC,
	OP_SYNC,
	OP_SNAPSHOT,     /* opens it */
	OP_SNAPSHOT_END, /* compares it and closes it */
	OP_REMOUNT,
	OP_KINDS,
};

struct op {
	enum op_kind kind;
	char path[OPS_PATH_MAX], to[OPS_PATH_MAX];
	uint64_t off;
	uint32_t len;
	uint32_t salt; /* of content, mode, owner, xattr */
};

/* What a list is drawn from: how often each kind comes, and how large files become. */
struct op_mix {
	uint8_t weight[OP_KINDS];
	uint64_t size_max;
	uint32_t write_max;
};
/* For recordings, which are cut and mounted many times: small, many syncs. */
extern const struct op_mix ops_mix_crash;
/* Likewise: few files, written to and synced again and again, as databases do. */
extern const struct op_mix ops_mix_synced;
/* One of the two, by the seed. */
const struct op_mix *ops_mix_of(uint64_t seed);
/* For long runs against the reference. */
extern const struct op_mix ops_mix_model;

uint64_t ops_dice(uint64_t *state, uint64_t below);

struct reference;
/* The next operation; paths are drawn so that most lead somewhere in the reference. */
struct op ops_draw(const struct op_mix *mix, const struct reference *r, uint64_t *dice);
void ops_print(FILE *out, const struct op *op);
/* The byte at an offset within what a write with this salt puts down. */
uint8_t ops_byte(uint32_t salt, size_t at);
/* The value that OP_SETXATTR sets; its length. */
size_t ops_xattr_value(uint32_t salt, uint8_t out[4096]);

#endif
