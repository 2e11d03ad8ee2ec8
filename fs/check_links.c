/* The check of names against inodes, and of blocks. */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "core/bytes.h"
#include "core/secret.h"
#include "fs/check_internal.h"
#include "fs/walk.h"

bool check_is_orphan(struct check *c, uint64_t id)
{
	CLEANUP_BYTES struct bytes_w w = {0};
	struct rstore_key key = engine_key(SPACE_ORPHAN, &id, 1);

	return rstore_get(c->v->rs, &key, &w, NULL) == 0;
}

static void check_folder(struct check *c, const struct check_inode *ci)
{
	if (ci->nlink != 2 + ci->n_subfolders)
		check_report(c, ci->id, "link count is %u, should be %u", ci->nlink,
			     2 + ci->n_subfolders);
	if (ci->id == VOLUME_ROOT_ID)
		return;
	if (ci->n_names != 1)
		check_report(c, ci->id, "a folder with %u names", ci->n_names);
	else if (ci->parent != ci->named_in)
		check_report(c, ci->id, "its record names file %llu as its parent",
			     (unsigned long long)ci->parent);
}

int check_links(struct check *c)
{
	/* Where entries or inodes could not be read, counts prove nothing. */
	if (c->incomplete)
		return 0;
	if (!check_find(c, VOLUME_ROOT_ID))
		check_report(c, VOLUME_ROOT_ID, "the root folder is missing");
	for (size_t i = 0; i < c->n_inodes; i++) {
		const struct check_inode *ci = &c->inodes[i];

		if (!ci->n_names && check_is_orphan(c, ci->id))
			continue;
		if (S_ISDIR(ci->mode))
			check_folder(c, ci);
		else if (!ci->n_names)
			check_report(c, ci->id, "no name leads to it");
		else if (ci->nlink != ci->n_names)
			check_report(c, ci->id, "link count is %u, should be %u", ci->nlink,
				     ci->n_names);
	}
	return 0;
}

/* ---- blocks ---- */

/* Opens the run of blocks from i on; *io_i moves behind it. */
static void check_run(struct check *c, uint64_t id, uint64_t group, const struct map_group *g,
		      uint8_t *buf, unsigned *io_i)
{
	unsigned first = *io_i, n = 0;

	while (first + n < MAP_GROUP && g->e[first + n].slot != MAP_HOLE)
		n++;
	*io_i += n;
	if (data_read_entries(c->v, id, group, g, first, n, buf) == 0)
		return;
	/* Which of them: one at a time. */
	for (unsigned i = first; i < first + n; i++) {
		int r = data_read_entries(c->v, id, group, g, i, 1, buf);
		if (r && r != -EKEYREVOKED)
			check_report(c, id, "block at byte %llu: %s",
				     (unsigned long long)(group * MAP_GROUP_BYTES + i * MAP_BLOCK),
				     diag_errno(r));
	}
}

struct next_group {
	size_t tag_len;
	uint64_t group;
	struct map_group g;
};

static int take_group(void *arg, const struct rstore_key *key, const void *val, size_t len,
		      uint64_t txn)
{
	struct next_group *ng = arg;

	(void)txn;
	ng->group = bytes_get64be(key->b + 10);
	return map_decode(val, len, ng->tag_len, &ng->g) ? -EUCLEAN : 1;
}

/* Behind the next map of the id that does not open; false when there is none. */
static bool past_bad_map(const struct check *c, const struct rstore_key *to,
			 struct rstore_key *io_from)
{
	for (size_t i = 0; i < c->n_bad_keys; i++) {
		const struct rstore_key *key = &c->bad_keys[i];

		if (rstore_key_cmp(key, io_from) >= 0 && rstore_key_cmp(key, to) < 0) {
			*io_from = walk_key_after(key);
			return true;
		}
	}
	return false;
}

/* One group from *io_from on; false at the end. Maps that do not open are findings already. */
static bool check_group(struct check *c, uint64_t id, struct rstore_key *io_from, uint8_t *buf)
{
	struct rstore_key to = engine_sub_end(id, SUB_MAP);
	struct next_group ng = {.tag_len = engine_tag_len(c->v)};

	engine_enter(c->v);
	int r = rstore_scan(c->v->rs, io_from, &to, take_group, &ng);
	if (r == 1) {
		*io_from = engine_file_key_at(id, SUB_MAP, ng.group + 1);
		for (unsigned i = 0; i < MAP_GROUP;) {
			if (ng.g.e[i].slot == MAP_HOLE)
				i++;
			else
				check_run(c, id, ng.group, &ng.g, buf, &i);
		}
	}
	engine_leave(c->v);
	return r == 1 || (r < 0 && past_bad_map(c, &to, io_from));
}

int check_blocks(struct check *c)
{
	uint8_t *buf = malloc(MAP_GROUP_BYTES);

	if (!buf)
		return -ENOMEM;
	for (size_t i = 0; i < c->n_inodes; i++) {
		struct rstore_key from = engine_file_key_at(c->inodes[i].id, SUB_MAP, 0);

		while (c->inodes[i].in_blocks && check_group(c, c->inodes[i].id, &from, buf))
			;
	}
	secret_wipe(buf, MAP_GROUP_BYTES);
	free(buf);
	return 0;
}
