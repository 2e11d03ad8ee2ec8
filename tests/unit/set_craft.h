/* Sets made by hand, for what a backup run would not write. */
#ifndef COFFER_TESTS_UNIT_SET_CRAFT_H
#define COFFER_TESTS_UNIT_SET_CRAFT_H

#include "backup/set_body.h"
#include "backup/set_writer.h"
#include "tests/unit/backup_fixture.h"

static inline void put_record(struct set_writer *w, struct set_entry e, struct bytes_w *body)
{
	assert_int_equal(
	    set_writer_record(w, &e, e.kind == SET_NAME ? e.child : 0, body->buf, body->len), 0);
	bytes_w_reset(body);
}

static inline void put_node(struct set_writer *w, uint64_t id, const struct set_node *n,
		     struct bytes_w *body)
{
	set_node_encode(n, body);
	put_record(w, (struct set_entry){.kind = SET_NODE, .id = id}, body);
}

static inline void put_name(struct set_writer *w, uint64_t link, uint64_t child, const char *name,
		     size_t len, struct bytes_w *body)
{
	uint8_t *p = bytes_w_room(body, (len + 32) / 32 * 32);

	memset(p, 0, body->len);
	memcpy(p, name, len);
	put_record(w,
		   (struct set_entry){.kind = SET_NAME,
				      .id = VOLUME_ROOT_ID,
				      .link = link,
				      .child = child,
				      .type_mode = S_IFREG},
		   body);
}

/* A set made by hand: a root, and files that put adds. */
static inline void craft(struct backup_fixture *b, void (*put)(struct set_writer *w, struct bytes_w *body))
{
	CLEANUP_BYTES struct bytes_w body = {0};
	struct set_manifest m = {.full = true,
				 .tiers = "daily",
				 .timeline = 1,
				 .to_txn = 9,
				 .time = 1000},
			    done;
	const struct set_node root = {
	    .attr = {.mode = S_IFDIR | 0755, .nlink = 2, .uid = geteuid(), .gid = getegid()}};
	struct set_writer *w;

	memcpy(m.volume_id, keyring_volume_id(keys(b)), 16);
	assert_int_equal(set_writer_new(b->repo, keys(b), &m, &w), 0);
	put_node(w, VOLUME_ROOT_ID, &root, &body);
	put(w, &body);
	assert_int_equal(set_writer_finish(w, keyring_sign_seed(keys(b)), &done), 0);
	set_writer_free(w);
	set_manifest_free(&done);
}

/* File 100, "f", of three blocks, of which one lacks. */
static inline void put_half_a_file(struct set_writer *w, struct bytes_w *body)
{
	const struct set_node n = {.attr = {.mode = S_IFREG | 0644,
					    .nlink = 1,
					    .size = 3 * MAP_BLOCK,
					    .uid = geteuid(),
					    .gid = getegid()},
				   .in_blocks = true,
				   .n_mapped = 3};
	uint8_t what[SET_RANGE_BLOCKS] = {SET_BLOCK_DATA, SET_BLOCK_DATA};

	memset(what + 2, SET_BLOCK_HOLE, sizeof(what) - 2);
	put_node(w, 100, &n, body);
	put_name(w, 100, 100, "f", 1, body);
	set_data_encode_runs(what, body);
	memset(bytes_w_room(body, 2 * MAP_BLOCK), 'x', 2 * MAP_BLOCK);
	put_record(w, (struct set_entry){.kind = SET_DATA, .id = 100}, body);
}

#endif
