/*
 * Drawing and printing operations: see the header.
 */
#include "tests/crash/ops.h"

#include <string.h>
#include <sys/stat.h>

#include "tests/crash/reference.h"

const struct op_mix ops_mix_crash = {
    .weight = {[OP_CREATE] = 14,
	       [OP_MKDIR] = 5,
	       [OP_SYMLINK] = 2,
	       [OP_MKNOD] = 1,
	       [OP_LINK] = 4,
	       [OP_UNLINK] = 5,
	       [OP_RMDIR] = 2,
	       [OP_RENAME] = 9,
	       [OP_RENAME_NOREPLACE] = 1,
	       [OP_RENAME_EXCHANGE] = 2,
	       [OP_WRITE] = 26,
	       [OP_TRUNCATE] = 4,
	       [OP_ALLOCATE] = 1,
	       [OP_ALLOCATE_KEEP] = 1,
	       [OP_PUNCH] = 3,
	       [OP_ZERO] = 1,
	       [OP_ZERO_KEEP] = 1,
	       [OP_COPY] = 2,
	       [OP_CHMOD] = 2,
	       [OP_CHOWN] = 1,
	       [OP_SETXATTR] = 3,
	       [OP_REMOVEXATTR] = 1,
	       [OP_OPEN] = 2,
	       [OP_CLOSE] = 2,
	       [OP_TMPFILE] = 1,
	       [OP_FSYNC] = 18,
	       [OP_SYNC] = 3,
	       [OP_SNAPSHOT] = 1,
	       [OP_SNAPSHOT_END] = 1},
    .size_max = 90000,
    .write_max = 12000,
};

const struct op_mix ops_mix_synced = {
    .weight = {[OP_CREATE] = 2,
	       [OP_RENAME] = 1,
	       [OP_WRITE] = 40,
	       [OP_TRUNCATE] = 4,
	       [OP_PUNCH] = 3,
	       [OP_ZERO] = 1,
	       [OP_CHMOD] = 1,
	       [OP_FSYNC] = 50,
	       [OP_SYNC] = 1},
    .size_max = 40000,
    .write_max = 9000,
};

const struct op_mix *ops_mix_of(uint64_t seed)
{
	return seed % 2 ? &ops_mix_crash : &ops_mix_synced;
}

const struct op_mix ops_mix_model = {
    .weight = {[OP_CREATE] = 14,
	       [OP_MKDIR] = 6,
	       [OP_SYMLINK] = 3,
	       [OP_MKNOD] = 3,
	       [OP_LINK] = 5,
	       [OP_UNLINK] = 8,
	       [OP_RMDIR] = 3,
	       [OP_RENAME] = 10,
	       [OP_RENAME_NOREPLACE] = 3,
	       [OP_RENAME_EXCHANGE] = 3,
	       [OP_WRITE] = 30,
	       [OP_TRUNCATE] = 7,
	       [OP_ALLOCATE] = 3,
	       [OP_ALLOCATE_KEEP] = 2,
	       [OP_PUNCH] = 5,
	       [OP_ZERO] = 3,
	       [OP_ZERO_KEEP] = 2,
	       [OP_COPY] = 4,
	       [OP_CHMOD] = 4,
	       [OP_CHOWN] = 2,
	       [OP_SETXATTR] = 5,
	       [OP_REMOVEXATTR] = 3,
	       [OP_OPEN] = 6,
	       [OP_CLOSE] = 5,
	       [OP_TMPFILE] = 2,
	       [OP_READ] = 20,
	       [OP_FSYNC] = 4,
	       [OP_SYNC] = 1,
	       [OP_SNAPSHOT] = 1,
	       [OP_SNAPSHOT_END] = 1,
	       [OP_REMOUNT] = 1},
    .size_max = 600000,
    .write_max = 40000,
};

static const char *const names[OP_KINDS] = {
    "create",
    "mkdir",
    "symlink",
    "mknod",
    "link",
    "unlink",
    "rmdir",
    "rename",
    "rename-noreplace",
    "rename-exchange",
    "write",
    "truncate",
    "allocate",
    "allocate-keep-size",
    "punch",
    "zero",
    "zero-keep-size",
    "copy",
    "chmod",
    "chown",
    "setxattr",
    "removexattr",
    "open",
    "close",
    "tmpfile",
    "read",
    "fsync",
    "sync",
    "snapshot",
    "snapshot-end",
    "remount",
};

uint64_t ops_dice(uint64_t *state, uint64_t below)
{
	uint64_t x = *state += 0x9e3779b97f4a7c15ULL;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
	return (x ^ x >> 31) % below;
}

uint8_t ops_byte(uint32_t salt, size_t at)
{
	return (uint8_t)(salt * 37 + at / 512 * 11 + at + 1);
}

size_t ops_xattr_value(uint32_t salt, uint8_t out[4096])
{
	size_t len = salt % 5 == 0 ? 3000 : salt % 40;

	for (size_t i = 0; i < len; i++)
		out[i] = ops_byte(salt, i);
	return len;
}

/* ---- drawing ---- */

static enum op_kind draw_kind(const struct op_mix *mix, uint64_t *dice)
{
	unsigned sum = 0, at;

	for (unsigned i = 0; i < OP_KINDS; i++)
		sum += mix->weight[i];
	at = (unsigned)ops_dice(dice, sum);
	for (unsigned i = 0; i < OP_KINDS; i++) {
		if (at < mix->weight[i])
			return i;
		at -= mix->weight[i];
	}
	return OP_SYNC;
}

/* Walks down from the root; ends at what is of the type when it meets it (0: at any). */
static void draw_path(const struct reference *r, uint32_t type, uint64_t *dice,
		      char path[OPS_PATH_MAX])
{
	for (unsigned tries = 0; tries < 6; tries++) {
		unsigned node = REFERENCE_ROOT;
		size_t n = 0;

		while (n < 4) {
			unsigned c = (unsigned)ops_dice(dice, OPS_LETTERS);
			unsigned next = r->n[node].child[c];

			path[n++] = (char)('a' + c);
			path[n] = '\0';
			if (!next || r->n[next].type != S_IFDIR || ops_dice(dice, 3) == 0) {
				node = next;
				break;
			}
			node = next;
		}
		if (!type || (node && r->n[node].type == type))
			return;
	}
}

static void draw_handle(uint64_t *dice, char path[OPS_PATH_MAX])
{
	path[0] = '@';
	path[1] = (char)('0' + ops_dice(dice, OPS_HANDLES));
	path[2] = '\0';
}

static void draw_file(const struct reference *r, uint64_t *dice, char path[OPS_PATH_MAX])
{
	if (ops_dice(dice, 6) == 0)
		draw_handle(dice, path);
	else
		draw_path(r, S_IFREG, dice, path);
}

static void draw_range(const struct op_mix *mix, uint64_t *dice, struct op *op)
{
	static const uint32_t small[] = {1,    100,  511,  512,  2047, 2048,
					 2049, 4095, 4096, 4097, 8192};

	op->len = 1 + (uint32_t)ops_dice(dice, mix->write_max);
	if (ops_dice(dice, 2))
		op->len = small[ops_dice(dice, sizeof(small) / sizeof(*small))];
	op->off = ops_dice(dice, ops_dice(dice, 3) ? 5000 : mix->size_max - op->len);
	if (ops_dice(dice, 3) == 0)
		op->off &= ~(uint64_t)4095;
	if (op->kind == OP_PUNCH || op->kind == OP_ZERO || op->kind == OP_ZERO_KEEP)
		op->len *= 1 + (uint32_t)ops_dice(dice, 4);
	if (op->off + op->len > mix->size_max)
		op->len = (uint32_t)(mix->size_max - op->off);
}

struct op ops_draw(const struct op_mix *mix, const struct reference *r, uint64_t *dice)
{
	struct op op = {.kind = draw_kind(mix, dice)};

	op.salt = (uint32_t)ops_dice(dice, 1u << 30);
	switch (op.kind) {
	case OP_WRITE ... OP_ZERO_KEEP:
		draw_file(r, dice, op.path);
		draw_range(mix, dice, &op);
		break;
	case OP_COPY:
		draw_file(r, dice, op.path);
		draw_file(r, dice, op.to);
		draw_range(mix, dice, &op);
		break;
	case OP_FSYNC:
		if (ops_dice(dice, 6) == 0)
			draw_path(r, S_IFDIR, dice, op.path);
		else
			draw_file(r, dice, op.path);
		break;
	case OP_OPEN:
		draw_path(r, S_IFREG, dice, op.path);
		draw_handle(dice, op.to);
		break;
	case OP_CLOSE:
	case OP_TMPFILE:
		draw_handle(dice, op.path);
		break;
	case OP_READ:
		draw_file(r, dice, op.path);
		break;
	case OP_LINK:
		draw_file(r, dice, op.path);
		draw_path(r, 0, dice, op.to);
		break;
	case OP_RENAME:
		/* Half of them are how programs save files. */
		draw_path(r, ops_dice(dice, 2) ? S_IFREG : 0, dice, op.path);
		draw_path(r, ops_dice(dice, 2) ? S_IFREG : 0, dice, op.to);
		break;
	case OP_RMDIR:
		draw_path(r, S_IFDIR, dice, op.path);
		break;
	default:
		draw_path(r, 0, dice, op.path);
		draw_path(r, 0, dice, op.to);
		break;
	}
	return op;
}

void ops_print(FILE *out, const struct op *op)
{
	fprintf(out, "%s /%s", names[op->kind], op->path);
	if (op->kind == OP_LINK || op->kind == OP_COPY || op->kind == OP_OPEN ||
	    (op->kind >= OP_RENAME && op->kind <= OP_RENAME_EXCHANGE))
		fprintf(out, " /%s", op->to);
	if (op->kind >= OP_WRITE && op->kind <= OP_COPY)
		fprintf(out, " at %llu, %u bytes", (unsigned long long)op->off, op->len);
	fprintf(out, " (salt %u)\n", op->salt);
}
