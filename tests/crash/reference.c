/*
 * The reference: see the header.
 */
#include "tests/crash/reference.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void *need(void *p)
{
	if (!p)
		abort();
	return p;
}

/* ---- content ---- */

static struct blob *blob_new(void)
{
	struct blob *b = need(calloc(1, sizeof(*b)));

	b->refs = 1;
	return b;
}

static void blob_drop(struct blob *b)
{
	if (!b || --b->refs)
		return;
	free(b->p);
	free(b);
}

/* One that only n has, of len bytes. */
static uint8_t *own(struct reference_node *n, size_t len)
{
	struct blob *b = n->content;

	if (b->refs > 1) {
		struct blob *mine = blob_new();

		mine->len = b->len;
		mine->p = need(malloc(b->len + 1));
		memcpy(mine->p, b->p ? b->p : (uint8_t *)"", b->len);
		b->refs--;
		n->content = b = mine;
	}
	if (len != b->len) {
		b->p = need(realloc(b->p, len + 1));
		if (len > b->len)
			memset(b->p + b->len, 0, len - b->len);
		b->len = len;
	}
	if (!b->p)
		b->p = need(calloc(1, 1));
	return b->p;
}

/* ---- nodes ---- */

void reference_init(struct reference *r)
{
	*r = (struct reference){.next_serial = 2};
	r->n[REFERENCE_ROOT] = (struct reference_node){.serial = 1,
						       .id = 1,
						       .type = S_IFDIR,
						       .mode = 0755,
						       .nlink = 2,
						       .uid = 1000,
						       .gid = 1000,
						       .parent = REFERENCE_ROOT};
}

void reference_copy(struct reference *to, const struct reference *from)
{
	*to = *from;
	for (unsigned i = 0; i < REFERENCE_NODES; i++) {
		if (to->n[i].content)
			to->n[i].content->refs++;
	}
}

void reference_drop(struct reference *r)
{
	for (unsigned i = 0; i < REFERENCE_NODES; i++)
		blob_drop(r->n[i].content);
	memset(r, 0, sizeof(*r));
}

unsigned reference_parent(const struct reference *r, const char *path, unsigned *ret_letter)
{
	unsigned node = REFERENCE_ROOT;
	size_t n = strlen(path);

	if (!n || path[0] == '@')
		return 0;
	for (size_t i = 0; i + 1 < n; i++) {
		node = r->n[node].child[path[i] - 'a'];
		if (!node || r->n[node].type != S_IFDIR)
			return 0;
	}
	*ret_letter = (unsigned)(path[n - 1] - 'a');
	return node;
}

unsigned reference_find(const struct reference *r, const char *path)
{
	unsigned letter = 0;

	if (!*path)
		return REFERENCE_ROOT;
	if (path[0] == '@')
		return r->handle[path[1] - '0'];
	unsigned dir = reference_parent(r, path, &letter);
	return dir ? r->n[dir].child[letter] : 0;
}

const struct reference_node *reference_by_serial(const struct reference *r, uint64_t serial)
{
	for (unsigned i = 1; i < REFERENCE_NODES; i++) {
		if (r->n[i].serial == serial)
			return &r->n[i];
	}
	return NULL;
}

unsigned reference_count(const struct reference *r)
{
	unsigned n = 0;

	for (unsigned i = 1; i < REFERENCE_NODES; i++)
		n += r->n[i].serial != 0;
	return n;
}

static void settle(struct reference *r, unsigned i)
{
	struct reference_node *n = &r->n[i];

	if (n->nlink || n->n_open)
		return;
	blob_drop(n->content);
	*n = (struct reference_node){0};
}

void reference_close_all(struct reference *r)
{
	for (unsigned h = 0; h < OPS_HANDLES; h++) {
		unsigned i = r->handle[h];

		r->handle[h] = 0;
		if (!i)
			continue;
		r->n[i].n_open--;
		settle(r, i);
	}
}

static bool dir_empty(const struct reference_node *n)
{
	for (unsigned c = 0; c < OPS_LETTERS; c++) {
		if (n->child[c])
			return false;
	}
	return true;
}

static unsigned new_node(struct reference *r, uint32_t type, uint32_t salt, unsigned step)
{
	unsigned i = REFERENCE_ROOT + 1;

	while (i < REFERENCE_NODES && r->n[i].serial)
		i++;
	if (i == REFERENCE_NODES)
		return 0;
	r->n[i] = (struct reference_node){.serial = r->next_serial++,
					  .type = type,
					  .mode = type == S_IFLNK ? 0777 : 0644,
					  .nlink = type == S_IFDIR ? 2 : 1,
					  .uid = 1000,
					  .gid = 1000,
					  .target = salt,
					  .named = step};
	if (type == S_IFREG)
		r->n[i].content = blob_new();
	if (type == S_IFCHR)
		r->n[i].rdev = salt % 1000;
	return i;
}

/* A name goes: of a folder, the folder. */
static void drop_name(struct reference *r, unsigned dir, unsigned letter, unsigned step)
{
	unsigned i = r->n[dir].child[letter];

	r->n[dir].child[letter] = 0;
	r->n[i].named = step;
	if (r->n[i].type == S_IFDIR) {
		r->n[i].nlink = 0;
		r->n[dir].nlink--;
	} else {
		r->n[i].nlink--;
		/* So that an unlinked file that is open is told from an O_TMPFILE. */
		if (r->n[i].type == S_IFREG)
			r->n[i].target = 0;
	}
	settle(r, i);
}

/* ---- namespace operations ---- */

static int do_make(struct reference *r, const struct op *op, unsigned step)
{
	static const uint32_t special[] = {S_IFIFO, S_IFSOCK, S_IFCHR};
	unsigned letter = 0, dir = reference_parent(r, op->path, &letter), i;
	uint32_t type = op->kind == OP_CREATE    ? S_IFREG
			: op->kind == OP_MKDIR   ? S_IFDIR
			: op->kind == OP_SYMLINK ? S_IFLNK
						 : special[op->salt % 3];

	if (!dir)
		return REFERENCE_SKIP;
	if (r->n[dir].child[letter])
		return -EEXIST;
	i = new_node(r, type, op->salt, step);
	if (!i)
		return REFERENCE_SKIP;
	r->n[dir].child[letter] = (uint8_t)i;
	r->n[i].parent = (uint8_t)dir;
	r->n[dir].nlink += type == S_IFDIR;
	return 0;
}

static int do_link(struct reference *r, const struct op *op, unsigned step)
{
	unsigned letter = 0, i = reference_find(r, op->path);
	unsigned dir = reference_parent(r, op->to, &letter);

	/* The kernel lets no name be given to what lost its last one, but to an O_TMPFILE. */
	if (!i || !dir || r->n[i].type == S_IFDIR || (!r->n[i].nlink && !r->n[i].target))
		return REFERENCE_SKIP;
	if (r->n[dir].child[letter])
		return -EEXIST;
	r->n[dir].child[letter] = (uint8_t)i;
	r->n[i].nlink++;
	r->n[i].named = step;
	return 0;
}

static int do_remove(struct reference *r, const struct op *op, unsigned step)
{
	unsigned letter = 0, dir = reference_parent(r, op->path, &letter);
	unsigned i = dir ? r->n[dir].child[letter] : 0;
	bool folder = i && r->n[i].type == S_IFDIR;

	if (!dir)
		return REFERENCE_SKIP;
	if (!i)
		return -ENOENT;
	if (op->kind == OP_UNLINK && folder)
		return -EISDIR;
	if (op->kind == OP_RMDIR && !folder)
		return -ENOTDIR;
	if (folder && !dir_empty(&r->n[i]))
		return -ENOTEMPTY;
	drop_name(r, dir, letter, step);
	return 0;
}

static bool below(const struct reference *r, unsigned dir, unsigned top)
{
	for (; dir != REFERENCE_ROOT; dir = r->n[dir].parent) {
		if (dir == top)
			return true;
	}
	return false;
}

static int rename_error(const struct reference *r, const struct op *op, unsigned fd, unsigned td,
			unsigned from, unsigned to)
{
	bool from_dir = from && r->n[from].type == S_IFDIR, to_dir = to && r->n[to].type == S_IFDIR;

	if (!from)
		return -ENOENT;
	if (to && op->kind == OP_RENAME_NOREPLACE)
		return -EEXIST;
	if (!to && op->kind == OP_RENAME_EXCHANGE)
		return -ENOENT;
	if (from_dir && below(r, td, from))
		return -EINVAL;
	if (op->kind == OP_RENAME_EXCHANGE)
		return to_dir && below(r, fd, to) ? -EINVAL : 0;
	if (!to || to == from)
		return 0;
	if (!from_dir)
		return to_dir ? -EISDIR : 0;
	return !to_dir ? -ENOTDIR : !dir_empty(&r->n[to]) ? -ENOTEMPTY : 0;
}

static void place(struct reference *r, unsigned i, unsigned dir, unsigned letter, unsigned step)
{
	r->n[dir].child[letter] = (uint8_t)i;
	r->n[i].named = step;
	if (r->n[i].type == S_IFDIR) {
		r->n[i].parent = (uint8_t)dir;
		r->n[dir].nlink++;
	}
}

static int do_rename(struct reference *r, const struct op *op, unsigned step)
{
	unsigned a = 0, b = 0;
	unsigned fd = reference_parent(r, op->path, &a), td = reference_parent(r, op->to, &b);

	if (!fd || !td)
		return REFERENCE_SKIP;
	unsigned from = r->n[fd].child[a], to = r->n[td].child[b];
	int err = rename_error(r, op, fd, td, from, to);
	if (err || from == to)
		return err;
	if (op->kind == OP_RENAME_EXCHANGE) {
		r->n[fd].nlink -= r->n[from].type == S_IFDIR;
		r->n[td].nlink -= r->n[to].type == S_IFDIR;
		place(r, to, fd, a, step);
	} else {
		if (to)
			drop_name(r, td, b, step);
		r->n[fd].child[a] = 0;
		r->n[fd].nlink -= r->n[from].type == S_IFDIR;
	}
	place(r, from, td, b, step);
	if (to)
		r->n[from].heir = step;
	return 0;
}

/* ---- content ---- */

static int do_content(struct reference *r, const struct op *op)
{
	unsigned i = reference_find(r, op->path);
	struct reference_node *n = &r->n[i];

	if (!i || n->type != S_IFREG)
		return REFERENCE_SKIP;
	size_t size = n->content->len, end = op->off + op->len;
	size_t grown = end > size ? end : size, within = end < size ? end : size;
	bool keeps =
	    op->kind == OP_PUNCH || op->kind == OP_ZERO_KEEP || op->kind == OP_ALLOCATE_KEEP;
	uint8_t *p = own(n, op->kind == OP_TRUNCATE ? op->off : keeps ? size : grown);

	if (op->kind == OP_WRITE) {
		for (size_t k = 0; k < op->len; k++)
			p[op->off + k] = ops_byte(op->salt, k);
	} else if (op->kind >= OP_PUNCH && op->off < within) {
		memset(p + op->off, 0, within - op->off);
	}
	return 0;
}

static int do_copy(struct reference *r, const struct op *op)
{
	unsigned s = reference_find(r, op->path), d = reference_find(r, op->to);
	struct reference_node *from = &r->n[s], *to = &r->n[d];

	if (!s || !d || s == d || from->type != S_IFREG || to->type != S_IFREG)
		return REFERENCE_SKIP;
	size_t src_off = op->salt % 5000;
	if (src_off >= from->content->len)
		return 0;
	size_t len =
	    from->content->len - src_off < op->len ? from->content->len - src_off : op->len;
	size_t end = op->off + len;
	uint8_t *p = own(to, end > to->content->len ? end : to->content->len);
	memcpy(p + op->off, from->content->p + src_off, len);
	return 0;
}

/* ---- the rest ---- */

static int do_attr(struct reference *r, const struct op *op, unsigned step)
{
	unsigned i = reference_find(r, op->path), k = op->salt % REFERENCE_XATTRS;
	struct reference_node *n = &r->n[i];

	if (!i || n->type == S_IFLNK)
		return REFERENCE_SKIP;
	switch (op->kind) {
	case OP_CHMOD:
		n->mode = op->salt & 0777;
		break;
	case OP_CHOWN:
		n->uid = op->salt % 1000;
		n->gid = op->salt / 1000 % 1000;
		break;
	case OP_SETXATTR:
		n->xattr[k] = op->salt | 1u << 30;
		break;
	default:
		if (!n->xattr[k])
			return -ENODATA;
		n->xattr[k] = 0;
		break;
	}
	n->named = step;
	return 0;
}

static int do_handle(struct reference *r, const struct op *op, unsigned step)
{
	unsigned h = (unsigned)((op->kind == OP_OPEN ? op->to : op->path)[1] - '0');
	unsigned i;

	if (op->kind == OP_CLOSE) {
		i = r->handle[h];
		if (!i)
			return REFERENCE_SKIP;
		r->handle[h] = 0;
		r->n[i].n_open--;
		settle(r, i);
		return 0;
	}
	i = op->kind == OP_OPEN ? reference_find(r, op->path) : 0;
	if (r->handle[h] || (op->kind == OP_OPEN && (!i || r->n[i].type != S_IFREG)))
		return REFERENCE_SKIP;
	if (op->kind == OP_TMPFILE) {
		i = new_node(r, S_IFREG, 1, step);
		if (!i)
			return REFERENCE_SKIP;
		r->n[i].nlink = 0;
	}
	r->handle[h] = (uint8_t)i;
	r->n[i].n_open++;
	return 0;
}

/* The last change of the names that lead to it, or of its attributes. */
static unsigned depends_on(const struct reference *r, unsigned i)
{
	unsigned last = r->n[i].named;

	for (unsigned d = 1; d < REFERENCE_NODES; d++) {
		bool holds = false;

		for (unsigned c = 0; r->n[d].serial && c < OPS_LETTERS; c++)
			holds |= r->n[d].child[c] == i;
		for (unsigned up = d; holds; up = r->n[up].parent) {
			if (r->n[up].named > last)
				last = r->n[up].named;
			if (up == REFERENCE_ROOT)
				break;
		}
	}
	return last;
}

static int do_sync(struct reference *r, const struct op *op, unsigned step)
{
	unsigned only = 0, from = step;

	if (op->kind == OP_FSYNC) {
		only = reference_find(r, op->path);
		if (!only || (r->n[only].type != S_IFREG && r->n[only].type != S_IFDIR))
			return REFERENCE_SKIP;
		if (r->n[only].type == S_IFREG)
			from = depends_on(r, only);
	}
	for (unsigned i = 1; i < REFERENCE_NODES; i++) {
		if (i == only || !only)
			r->n[i].synced = step;
	}
	if (from > r->names_from)
		r->names_from = from;
	return 0;
}

int reference_do(struct reference *r, const struct op *op, unsigned step)
{
	switch (op->kind) {
	case OP_CREATE ... OP_MKNOD:
		return do_make(r, op, step);
	case OP_LINK:
		return do_link(r, op, step);
	case OP_UNLINK:
	case OP_RMDIR:
		return do_remove(r, op, step);
	case OP_RENAME ... OP_RENAME_EXCHANGE:
		return do_rename(r, op, step);
	case OP_WRITE ... OP_ZERO_KEEP:
		return do_content(r, op);
	case OP_COPY:
		return do_copy(r, op);
	case OP_CHMOD ... OP_REMOVEXATTR:
		return do_attr(r, op, step);
	case OP_OPEN ... OP_TMPFILE:
		return do_handle(r, op, step);
	case OP_READ:
		return reference_find(r, op->path) ? 0 : REFERENCE_SKIP;
	case OP_REMOUNT:
		do_sync(r, op, step);
		reference_close_all(r);
		return 0;
	case OP_FSYNC:
	case OP_SYNC:
	case OP_SNAPSHOT:
		return do_sync(r, op, step);
	default:
		return 0;
	}
}

void reference_torn(struct reference *r, const struct op *op)
{
	if (op->kind >= OP_WRITE && op->kind <= OP_COPY)
		r->n[reference_find(r, op->kind == OP_COPY ? op->to : op->path)].torn = true;
}
