/*
 * Writes a well-formed input of every kind, made by the product's own code, as OUT/PARSER/seed.ok.
 * tests/reject/make.py runs it, and makes the malformed inputs and the fuzzers' first corpus out of
 * these.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "backup/set_body.h"
#include "backup/set_internal.h"
#include "core/anchor.h"
#include "core/conf.h"
#include "core/durable.h"
#include "core/escrow_internal.h"
#include "core/header.h"
#include "core/keyring_internal.h"
#include "core/trail_internal.h"
#include "fs/engine_internal.h"
#include "tests/reject/known.h"
#include "tests/reject/make_seeds.h"

static const char *out_dir;
static char scratch[] = "/tmp/coffer-seeds-XXXXXX";

void seed_must(int r, const char *what)
{
	if (r == 0)
		return;
	fprintf(stderr, "%s: %s\n", what, diag_errno(r));
	exit(1);
}

void seed_put(const char *parser, const char *name, const void *p, size_t len)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", out_dir, parser);
	if (mkdir(path, 0755) != 0 && errno != EEXIST)
		seed_must(-errno, path);
	snprintf(path, sizeof(path), "%s/%s/%s", out_dir, parser, name);
	seed_must(durable_replace(AT_FDCWD, path, p, len, 0644), path);
}

void seed_put_w(const char *parser, const char *name, struct bytes_w *w)
{
	seed_must(w->err, parser);
	seed_put(parser, name, w->buf, w->len);
	bytes_w_free(w);
}

void seed_put_text(const char *parser, const char *name, char *text)
{
	seed_put(parser, name, text, strlen(text));
	free(text);
}

/* The body alone: who reads the file signs it. */
void seed_put_body(const char *parser, const char *note)
{
	size_t len;

	seed_must(note_split(note, &len), parser);
	seed_put(parser, "seed.ok", note, len);
}

/* --- store --- */

static void header_seed(int dir_fd)
{
	static struct header h = {
	    .suite = 3, .created = KNOWN_TIME, .name = "land registry", .anchor = "/srv/anchor"};
	CLEANUP_IDENTITY struct identity *ada = known_member(1);
	struct secret *pass = secret_new(24), *file = secret_new(64);
	CLEANUP_FREE uint8_t *buf = NULL;
	size_t len;

	memcpy(h.volume_id, known_volume_id, 16);
	header_vk_commit(known_vk, h.vk_commit);
	identity_sign_pk_from_seed(known_seed, h.sign_pk);
	memcpy(secret_bytes(pass), "correct horse battery st", 24);
	memset(secret_bytes(file), 7, 64);
	const struct header_unlock with[] = {
	    {.passphrase = pass}, {.identity = ada}, {.keyfile = file}};
	seed_must(header_slot_add(&h, known_vk, "passphrase", &with[0], NULL, true, NULL), "slot");
	seed_must(header_slot_add(&h, known_vk, "Ada 1", &with[1], NULL, true, NULL), "slot");
	seed_must(header_slot_add(&h, known_vk, "key file", &with[2], NULL, true, NULL), "slot");
	seed_must(header_commit(dir_fd, &h, known_seed, NULL), "header");
	seed_must(durable_read(dir_fd, "header", 1 << 20, &buf, &len), "header");
	seed_put("header", "seed.ok", buf, len - IDENTITY_SIG_LEN);
	seed_put("header_file", "seed.ok", buf, len);
	secret_free(pass);
	secret_free(file);
}

static void anchor_seed(int dir_fd)
{
	const struct anchor_state st = {
	    .generation = 3, .tk = {4}, .txn = 9, .id_floor = 4096, .trail_size = 5};
	struct anchor *a;
	CLEANUP_FREE uint8_t *buf = NULL;
	size_t len;

	seed_must(anchor_create(scratch, known_volume_id, NULL), "anchor");
	seed_must(anchor_open(scratch, known_volume_id, known_vk, &a, NULL), "anchor");
	seed_must(anchor_put_both(a, &st), "anchor");
	anchor_close(a);
	seed_must(durable_read(dir_fd, "anchor", 1 << 20, &buf, &len), "anchor");
	seed_put("anchor", "seed.ok", buf, len);
}

static void tree_seeds(struct keyring_state *st)
{
	uint8_t *buf;
	size_t len;

	for (int t = 0; t < KEYRING_N_TREES; t++) {
		st->trees[t] = keytree_new();
		seed_must(keytree_puncture(st->trees[t], 0x4000, 0x7fff), "keytree");
	}
	len = keytree_encoded_len(st->trees[0]);
	buf = malloc(len);
	keytree_encode(st->trees[0], buf);
	seed_put("keytree", "seed.ok", buf, len);
	free(buf);
}

static void state_seed(void)
{
	CLEANUP_IDENTITY struct identity *ada = known_member(1);
	struct keyring_state *st = keyring_state_new();
	uint8_t *buf;
	size_t len;

	st->generation = 3;
	st->suite = 3;
	st->created = KNOWN_TIME;
	memcpy(st->volume_id, known_volume_id, 16);
	memset(secret_bytes(st->fixed), 9, secret_len(st->fixed));
	seed_must(keyring_state_add_escrow(st, "/mnt/a"), "escrow");
	seed_must(keyring_state_add_escrow(st, "/mnt/b"), "escrow");
	st->recipients[st->n_recipients++] = *identity_card(ada);
	seed_must(keyring_state_add_gone(st, KEYRING_LIVE, 20, 29, "D-20251128-0001"), "gone");
	seed_must(keyring_state_add_gone(st, KEYRING_LIVE, 40, 40, "D-20251128-0002"), "gone");
	tree_seeds(st);
	seed_must(keyring_state_encode(st, &buf, &len), "state");
	seed_put("keystate", "seed.ok", buf, len);
	secret_slab_free(buf);
	keyring_state_free(st);
}

static void escrow_seed(void)
{
	CLEANUP_IDENTITY struct identity *ada = known_member(1);
	struct escrow_content c = {.name = "land registry", .anchor = {.generation = 3, .tk = {4}}};
	uint8_t *slot;
	size_t len;

	memcpy(c.volume_id, known_volume_id, 16);
	memcpy(c.vk, known_vk, 32);
	c.state_len = 100;
	c.state = secret_slab_new(c.state_len);
	memset(c.state, 5, c.state_len);
	len = escrow_slot_len(&c, 1);
	slot = malloc(len);
	seed_must(escrow_slot_encode(&c, known_seed, identity_card(ada), 1, 7, KNOWN_TIME, slot),
		  "escrow");
	seed_put("escrow", "seed.ok", slot, len - IDENTITY_SIG_LEN);
	secret_slab_free(c.state);
	free(slot);
}

/* --- records --- */

static void map_seeds(void)
{
	struct bytes_w w = {0};
	struct map_group g;

	map_init(&g);
	map_encode(&g, SUITE_TAG_LEN, &w);
	seed_put_w("map", "holes.ok", &w);
	for (unsigned i = 4; i < 20; i++)
		g.e[i] = (struct map_entry){.slot = 100 + i,
					    .birth = 7,
					    .counter = 50 + i,
					    .session = {1},
					    .tag = {(uint8_t)i}};
	for (unsigned i = 30; i < 33; i++)
		g.e[i] = (struct map_entry){.slot = 9000 + 2 * i,
					    .birth = 8,
					    .counter = i,
					    .session = {2},
					    .tag = {(uint8_t)i}};
	map_encode(&g, SUITE_TAG_LEN, &w);
	seed_put_w("map", "seed.ok", &w);
}

static const struct volume_attr file_attr = {.mode = S_IFREG | 0644,
					     .nlink = 1,
					     .uid = 1000,
					     .gid = 1000,
					     .size = 5,
					     .mtime = {.tv_sec = KNOWN_TIME, .tv_nsec = 999999999}};

static void inode_seeds(void)
{
	struct inode_record r = {
	    .attr = file_attr, .inline_data = (const uint8_t *)"hello", .inline_len = 5};
	struct bytes_w w = {0};

	inode_encode(&r, &w);
	seed_put_w("inode", "seed.ok", &w);
	r.attr.mode = S_IFLNK | 0777;
	inode_encode(&r, &w);
	seed_put_w("inode", "symlink.ok", &w);
	r = (struct inode_record){
	    .attr = file_attr, .in_blocks = true, .n_slots = 3, .n_mapped = 2, .has_xattrs = true};
	r.attr.size = 9000;
	inode_encode(&r, &w);
	seed_put_w("inode", "blocks.ok", &w);
}

static void bucket_seed(void)
{
	uint8_t box[SUITE_BOX_OVERHEAD + 64] = {1};
	struct bytes_w w = {0};

	dir_bucket_copy(&(struct dentry_sealed){20, 1, S_IFREG, box, SUITE_BOX_OVERHEAD + 32}, &w);
	dir_bucket_copy(&(struct dentry_sealed){21, 2, S_IFDIR, box, SUITE_BOX_OVERHEAD + 64}, &w);
	seed_put_w("bucket", "seed.ok", &w);
}

static void xattr_seeds(void)
{
	static const uint8_t acl[] = {2,   0,   0,   0,   1,   0,   6,  0,   255, 255, 255,
				      255, 2,   0,   6,   0,   232, 3,  0,   0,   4,   0,
				      4,   0,   255, 255, 255, 255, 16, 0,   6,   0,   255,
				      255, 255, 255, 32,  0,   4,   0,  255, 255, 255, 255};
	struct bytes_w one = {0}, two = {0};

	xattr_replace(NULL, 0, "user.note", "hello", 5, &one);
	xattr_replace(one.buf, one.len, "user.empty", "", 0, &two);
	seed_put("xattrs", "seed.ok", two.buf, two.len);
	record_pad(&two, two.len);
	seed_put_w("xattr_record", "seed.ok", &two);
	bytes_w_free(&one);
	seed_put("acl", "seed.ok", acl, sizeof(acl));
}

/* --- sets --- */

static void body_seeds(void)
{
	const struct set_node n = {
	    .attr = file_attr, .inline_data = (const uint8_t *)"hello", .inline_len = 5};
	const struct set_node big = {.attr = {.mode = S_IFREG | 0600, .nlink = 2, .size = 8192},
				     .in_blocks = true,
				     .n_mapped = 1};
	uint8_t what[SET_RANGE_BLOCKS] = {0}, *block;
	struct bytes_w w = {0};

	set_node_encode(&n, &w);
	seed_put_w("node", "seed.ok", &w);
	set_node_encode(&big, &w);
	seed_put_w("node", "blocks.ok", &w);
	set_name_encode("parcels of 1998", &w);
	seed_put_w("name", "seed.ok", &w);
	memset(what, SET_BLOCK_HOLE, 10);
	what[10] = SET_BLOCK_DATA;
	set_data_encode_runs(what, &w);
	block = bytes_w_room(&w, MAP_BLOCK);
	memset(block, 'x', MAP_BLOCK);
	seed_put_w("data", "seed.ok", &w);
}

static void manifest_seed(void)
{
	char merged[] = "20251127T100000Z-0a0b0c0e 20251127T110000Z-0a0b0c0f";
	char stands_for[] = "20251127T110000Z-0a0b0c0f";
	struct set_manifest m = {.id = "20251128T090000Z-1a2b3c4d",
				 .merged = merged,
				 .stands_for = stands_for,
				 .parent = "20251127T090000Z-0a0b0c0d",
				 .tiers = "daily weekly",
				 .timeline = 1,
				 .time = KNOWN_TIME,
				 .from_txn = 5,
				 .to_txn = 9,
				 .next_id = 40,
				 .next_link = 7,
				 .n_nodes = 3,
				 .n_names = 2,
				 .n_data = 1,
				 .n_bytes = 4096,
				 .generation = 3,
				 .charter = {1},
				 .trail = {5, {2}},
				 .index = {100, {3}, {4}},
				 .pack_table = {56, {5}, {6}}};
	CLEANUP_FREE char *text = NULL;

	memcpy(m.volume_id, known_volume_id, 16);
	seed_must(set_manifest_build(&m, known_seed, &text), "manifest");
	seed_put_body("manifest", text);
}

static void record_seeds(void)
{
	struct bytes_w w = {0};

	seed_index(&w);
	seed_put_w("index", "seed.ok", &w);
	seed_frame(&w);
	seed_put_w("frame", "seed.ok", &w);
	seed_packed(false, &w);
	seed_put_w("packed", "stored.ok", &w);
	seed_packed(true, &w);
	seed_put_w("packed", "seed.ok", &w);
}

/* --- trail and configuration --- */

/* Sound frames from the first index to 302; the checkpoint stands at 300. */
static void tail_seed(const char *name, uint64_t first)
{
	const uint8_t entry[SUITE_BOX_OVERHEAD + 60] = {3};
	struct bytes_w w = {0};

	for (uint64_t i = first; i <= 302; i++)
		trail_frame_put(&w, &(struct trail_frame){.index = i, .synced = i, .entry = entry,
							  .len = sizeof(entry)});
	seed_put_w("tail", name, &w);
}

static void trail_seeds(void)
{
	const struct trail_head h = {.size = 300, .root = {8}};
	CLEANUP_FREE char *text = NULL;
	uint8_t entry[SUITE_BOX_OVERHEAD + 60] = {3};
	struct bytes_w w = {0};

	seed_must(trail_checkpoint_make(&h, known_volume_id, known_seed, &text), "checkpoint");
	seed_put_body("checkpoint", text);
	tail_seed("seed.ok", 300);
	tail_seed("from-before.ok", 298);
	for (uint64_t i = 0; i < 3; i++)
		trail_bundle_put(&w, entry, sizeof(entry) - i);
	seed_put_w("bundle", "seed.ok", &w);
}

static void conf_seed(int dir_fd)
{
	struct conf c;
	CLEANUP_FREE uint8_t *buf = NULL;
	size_t len;

	conf_init(&c);
	conf_default_schedule(&c);
	c.n_repositories = 1;
	strcpy(c.repositories[0].name, "main");
	strcpy(c.repositories[0].url, "/srv/repo");
	seed_must(conf_write(dir_fd, &c, NULL), "conf");
	seed_must(durable_read(dir_fd, CONF_FILE, 1 << 20, &buf, &len), "conf");
	seed_put("conf", "seed.ok", buf, len);
}

int main(int argc, char **argv)
{
	if (argc != 2 || !mkdtemp(scratch))
		return 2;
	out_dir = argv[1];
	CLEANUP_FD int dir_fd = open(scratch, O_RDONLY | O_DIRECTORY);
	header_seed(dir_fd);
	anchor_seed(dir_fd);
	state_seed();
	escrow_seed();
	seed_notes();
	map_seeds();
	inode_seeds();
	bucket_seed();
	xattr_seeds();
	body_seeds();
	manifest_seed();
	record_seeds();
	trail_seeds();
	conf_seed(dir_fd);
	unlinkat(dir_fd, "header", 0);
	unlinkat(dir_fd, CONF_FILE, 0);
	anchor_destroy(scratch);
	return rmdir(scratch) == 0 ? 0 : 1;
}
