/*
 * Writes a well-formed input of every kind, made by the product's own code, as OUT/PARSER/seed.ok. tests/reject/make.py
 * runs it, and makes the malformed inputs and the fuzzers' first corpus out of these.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "backup/set_body.h"
#include "backup/set_internal.h"
#include "core/anchor.h"
#include "core/charter.h"
#include "core/conf.h"
#include "core/durable.h"
#include "core/escrow_internal.h"
#include "core/header.h"
#include "core/keyring_internal.h"
#include "core/order_internal.h"
#include "core/trail_internal.h"
#include "fs/engine_internal.h"
#include "shred/certificate_internal.h"
#include "shred/inventory.h"
#include "tests/reject/known.h"
#include "tests/reject/make_seeds.h"

static const char *out_dir;
static char scratch[] = "/tmp/coffer-seeds-XXXXXX";

static void must(int r, const char *what)
{
	if (r == 0)
		return;
	fprintf(stderr, "%s: %s\n", what, diag_errno(r));
	exit(1);
}

static void put(const char *parser, const char *name, const void *p, size_t len)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", out_dir, parser);
	if (mkdir(path, 0755) != 0 && errno != EEXIST)
		must(-errno, path);
	snprintf(path, sizeof(path), "%s/%s/%s", out_dir, parser, name);
	must(durable_replace(AT_FDCWD, path, p, len, 0644), path);
}

static void put_w(const char *parser, const char *name, struct bytes_w *w)
{
	must(w->err, parser);
	put(parser, name, w->buf, w->len);
	bytes_w_free(w);
}

static void put_text(const char *parser, const char *name, char *text)
{
	put(parser, name, text, strlen(text));
	free(text);
}

/* The body alone: who reads the file signs it. */
static void put_body(const char *parser, const char *note)
{
	size_t len;

	must(note_split(note, &len), parser);
	put(parser, "seed.ok", note, len);
}

/* --- store --- */

static void header_seed(int dir_fd)
{
	static struct header h = {.suite = 3, .created = KNOWN_TIME, .name = "land registry", .anchor = "/srv/anchor"};
	CLEANUP_IDENTITY struct identity *ada = known_member(1);
	struct secret *pass = secret_new(24), *file = secret_new(64);
	CLEANUP_FREE uint8_t *buf = NULL;
	size_t len;

	memcpy(h.volume_id, known_volume_id, 16);
	header_vk_commit(known_vk, h.vk_commit);
	identity_sign_pk_from_seed(known_seed, h.sign_pk);
	memcpy(secret_bytes(pass), "correct horse battery st", 24);
	memset(secret_bytes(file), 7, 64);
	const struct header_unlock with[] = {{.passphrase = pass}, {.identity = ada}, {.keyfile = file}};
	must(header_slot_add(&h, known_vk, "passphrase", &with[0], NULL, true, NULL), "slot");
	must(header_slot_add(&h, known_vk, "Ada 1", &with[1], NULL, true, NULL), "slot");
	must(header_slot_add(&h, known_vk, "key file", &with[2], NULL, true, NULL), "slot");
	must(header_commit(dir_fd, &h, known_seed, NULL), "header");
	must(durable_read(dir_fd, "header", 1 << 20, &buf, &len), "header");
	put("header", "seed.ok", buf, len - IDENTITY_SIG_LEN);
	put("header_file", "seed.ok", buf, len);
	secret_free(pass);
	secret_free(file);
}

static void anchor_seed(int dir_fd)
{
	const struct anchor_state st = {.generation = 3, .tk = {4}, .txn = 9, .id_floor = 4096, .trail_size = 5};
	struct anchor *a;
	CLEANUP_FREE uint8_t *buf = NULL;
	size_t len;

	must(anchor_create(scratch, known_volume_id, NULL), "anchor");
	must(anchor_open(scratch, known_volume_id, known_vk, &a, NULL), "anchor");
	must(anchor_put_both(a, &st), "anchor");
	anchor_close(a);
	must(durable_read(dir_fd, "anchor", 1 << 20, &buf, &len), "anchor");
	put("anchor", "seed.ok", buf, len);
}

static void tree_seeds(struct keyring_state *st)
{
	uint8_t *buf;
	size_t len;

	for (int t = 0; t < KEYRING_N_TREES; t++) {
		st->trees[t] = keytree_new();
		must(keytree_puncture(st->trees[t], 0x4000, 0x7fff), "keytree");
	}
	len = keytree_encoded_len(st->trees[0]);
	buf = malloc(len);
	keytree_encode(st->trees[0], buf);
	put("keytree", "seed.ok", buf, len);
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
	must(keyring_state_add_escrow(st, "/mnt/a"), "escrow");
	must(keyring_state_add_escrow(st, "/mnt/b"), "escrow");
	st->recipients[st->n_recipients++] = *identity_card(ada);
	must(keyring_state_add_gone(st, KEYRING_LIVE, 20, 29, "D-20251128-0001"), "gone");
	must(keyring_state_add_gone(st, KEYRING_LIVE, 40, 40, "D-20251128-0002"), "gone");
	tree_seeds(st);
	must(keyring_state_encode(st, &buf, &len), "state");
	put("keystate", "seed.ok", buf, len);
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
	must(escrow_slot_encode(&c, known_seed, identity_card(ada), 1, 7, KNOWN_TIME, slot), "escrow");
	put("escrow", "seed.ok", slot, len - IDENTITY_SIG_LEN);
	secret_slab_free(c.state);
	free(slot);
}

/* --- notes --- */

static void identity_seeds(void)
{
	CLEANUP_IDENTITY struct identity *ada = known_member(1);
	static const char thing[] = "coffer-thing/1\nkey: value\nempty: \nunicode: \xe9\x94\x81\n";
	CLEANUP_FREE char *card = NULL;
	char *text;

	must(identity_export(ada, NULL, &text), "identity");
	put_text("identity", "seed.ok", text);
	must(identity_card_export(ada, &card), "card");
	put_body("card", card);
	put_text("note", "seed.ok", known_sign(thing, strlen(thing)));
}

static void charter_seed(uint8_t ret_digest[32])
{
	static const unsigned roles[] = {CHARTER_OWNER, CHARTER_SECURITY, CHARTER_OPERATOR, CHARTER_AUDITOR};
	struct charter *c = calloc(1, sizeof(*c));
	char *body;

	memcpy(c->volume_id, known_volume_id, 16);
	identity_sign_pk_from_seed(known_seed, c->sign_pk);
	c->number = 1;
	c->created = KNOWN_TIME;
	for (uint8_t i = 0; i < 4; i++) {
		CLEANUP_IDENTITY struct identity *id = known_member(i + 1);

		c->members[c->n_members++] = (struct charter_member){*identity_card(id), roles[i], i ? -1 : 1000};
	}
	strcpy(c->quorums[0].action, "destroy");
	c->quorums[0].roles = CHARTER_OWNER | CHARTER_SECURITY;
	strcpy(c->quorums[1].action, "charter");
	c->quorums[1].roles = CHARTER_OWNER | CHARTER_SECURITY;
	c->n_quorums = 2;
	must(charter_build(c, &body, NULL), "charter");
	memcpy(ret_digest, c->digest, 32);
	put_text("charter", "seed.ok", body);
	free(c);
}

static void order_seeds(const uint8_t charter[32])
{
	CLEANUP_IDENTITY struct identity *ada = known_member(1);
	struct order o = {.number = "D-20251128-0001", .action = "destroy", .created = KNOWN_TIME,
			  .expires = KNOWN_TIME + 86400, .description = "parcels of 1998", .reason = "retention is over",
			  .legal_basis = "archives act", .method = "crypto erase", .unit = "records office",
			  .n_ids = 3, .n_bytes = 4096};
	struct order_paper p = {.number = "D-20251128-0001",
				.st = {.decision = ORDER_APPROVE, .role = CHARTER_SECURITY, .created = KNOWN_TIME,
				       .expires = KNOWN_TIME + 86400, .opinion = "agreed"}};
	char *body;

	memcpy(o.volume_id, known_volume_id, 16);
	memcpy(o.charter, charter, 32);
	memcpy(o.requester_pk, identity_card(ada)->sign_pk, 32);
	strcpy(o.requester, identity_card(ada)->name);
	must(order_build(&o, &body, NULL), "order");
	put_text("order", "seed.ok", body);
	memcpy(p.volume_id, known_volume_id, 16);
	memcpy(p.charter, charter, 32);
	memcpy(p.digest, o.digest, 32);
	memcpy(p.st.signer_pk, identity_card(ada)->sign_pk, 32);
	strcpy(p.st.signer, identity_card(ada)->name);
	must(order_paper_build(&p, &body), "statement");
	put_text("statement", "seed.ok", body);
}

static void journal_seed(const uint8_t charter[32])
{
	struct bytes_w w = {0};
	char *body;
	uint8_t digest[32] = {6};

	note_begin(&w, "journal", 1);
	note_put_hex(&w, "volume", known_volume_id, 16);
	note_put_hex(&w, "charter", charter, 32);
	note_put(&w, "order", "D-20251128-0001");
	note_put_hex(&w, "order-digest", digest, 32);
	note_put(&w, "step", "quorum-at 1764320400");
	note_put(&w, "step", ORDER_STEP_BEGIN);
	must(note_end(&w, &body), "journal");
	put_text("journal", "seed.ok", body);
}

/* A value for a field of a certificate; readers look at its form only where they use it. */
static void certificate_value(struct bytes_w *w, const char *key)
{
	static const uint8_t zeros[32];

	if (!strcmp(key, "volume"))
		note_put_hex(w, key, known_volume_id, 16);
	else if (!strcmp(key, "charter") || !strcmp(key, "charter-first") || strstr(key, "digest") || strstr(key, "root"))
		note_put_hex(w, key, zeros, 32);
	else if (!strcmp(key, "requested") || !strcmp(key, "began") || !strcmp(key, "completed"))
		note_put_time(w, key, KNOWN_TIME);
	else if (!strcmp(key, "number"))
		note_put(w, key, "D-20251128-0001");
	else
		note_put(w, key, "1");
}

static void certificate_seed(void)
{
	struct bytes_w w = {0};
	char *body;

	note_begin(&w, CERTIFICATE_TYPE, CERTIFICATE_VERSION);
	for (size_t i = 0; i < certificate_n_fields; i++)
		certificate_value(&w, certificate_fields[i].key);
	must(note_end(&w, &body), "certificate");
	put_text("certificate", "seed.ok", body);
}

static void announcement_seed(void)
{
	struct bytes_w w = {0};
	char *body;

	note_begin(&w, "announcement", 1);
	note_put_hex(&w, "volume", known_volume_id, 16);
	note_put(&w, "order", "D-20251128-0001");
	note_put(&w, "trees", "live backup");
	note_put(&w, "range", "20-29");
	note_put(&w, "range", "40-40");
	must(note_end(&w, &body), "announcement");
	put_text("announcement", "seed.ok", body);
}

static void inventory_seed(void)
{
	struct inventory_item items[] = {{20, INVENTORY_TARGET | INVENTORY_PRESENT | INVENTORY_DIR, 0},
					 {21, INVENTORY_PRESENT, 4096},
					 {22, INVENTORY_HISTORY | INVENTORY_MOVED | INVENTORY_KEPT, 10}};
	const struct inventory inv = {.items = items, .n_items = 3, .n_destroy = 2, .n_kept = 1, .n_bytes = 4096,
				      .destroy_linked = true, .sealed = {3}};
	char *text;
	size_t len;

	must(inventory_encode(&inv, &text, &len), "inventory");
	put_text("inventory", "seed.ok", text);
}

/* --- records --- */

static void map_seeds(void)
{
	struct bytes_w w = {0};
	struct map_group g;

	map_init(&g);
	map_encode(&g, &w);
	put_w("map", "holes.ok", &w);
	for (unsigned i = 4; i < 20; i++)
		g.e[i] = (struct map_entry){.slot = 100 + i, .birth = 7, .counter = 50 + i, .session = {1}, .tag = {(uint8_t)i}};
	for (unsigned i = 30; i < 33; i++)
		g.e[i] = (struct map_entry){.slot = 9000 + 2 * i, .birth = 8, .counter = i, .session = {2}, .tag = {(uint8_t)i}};
	map_encode(&g, &w);
	put_w("map", "seed.ok", &w);
}

static const struct volume_attr file_attr = {
	.mode = S_IFREG | 0644, .nlink = 1, .uid = 1000, .gid = 1000, .size = 5,
	.mtime = {.tv_sec = KNOWN_TIME, .tv_nsec = 999999999}};

static void inode_seeds(void)
{
	struct inode_record r = {.attr = file_attr, .inline_data = (const uint8_t *)"hello", .inline_len = 5};
	struct bytes_w w = {0};

	inode_encode(&r, &w);
	put_w("inode", "seed.ok", &w);
	r.attr.mode = S_IFLNK | 0777;
	inode_encode(&r, &w);
	put_w("inode", "symlink.ok", &w);
	r = (struct inode_record){.attr = file_attr, .in_blocks = true, .n_slots = 3, .n_mapped = 2, .has_xattrs = true};
	r.attr.size = 9000;
	inode_encode(&r, &w);
	put_w("inode", "blocks.ok", &w);
}

static void bucket_seed(void)
{
	uint8_t box[SUITE_BOX_OVERHEAD + 64] = {1};
	struct bytes_w w = {0};

	dir_bucket_copy(&(struct dentry_sealed){20, 1, S_IFREG, box, SUITE_BOX_OVERHEAD + 32}, &w);
	dir_bucket_copy(&(struct dentry_sealed){21, 2, S_IFDIR, box, SUITE_BOX_OVERHEAD + 64}, &w);
	put_w("bucket", "seed.ok", &w);
}

static void xattr_seeds(void)
{
	static const uint8_t acl[] = {2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 6, 0, 232, 3, 0, 0, 4, 0, 4, 0,
				      255, 255, 255, 255, 16, 0, 6, 0, 255, 255, 255, 255, 32, 0, 4, 0, 255, 255, 255, 255};
	struct bytes_w one = {0}, two = {0};

	xattr_replace(NULL, 0, "user.note", "hello", 5, &one);
	xattr_replace(one.buf, one.len, "user.empty", "", 0, &two);
	put_w("xattrs", "seed.ok", &two);
	bytes_w_free(&one);
	put("acl", "seed.ok", acl, sizeof(acl));
}

/* --- sets --- */

static void body_seeds(void)
{
	const struct set_node n = {.attr = file_attr, .inline_data = (const uint8_t *)"hello", .inline_len = 5};
	const struct set_node big = {.attr = {.mode = S_IFREG | 0600, .nlink = 2, .size = 8192}, .in_blocks = true, .n_mapped = 1};
	uint8_t what[SET_RANGE_BLOCKS] = {0}, *block;
	struct bytes_w w = {0};

	set_node_encode(&n, &w);
	put_w("node", "seed.ok", &w);
	set_node_encode(&big, &w);
	put_w("node", "blocks.ok", &w);
	set_name_encode("parcels of 1998", &w);
	put_w("name", "seed.ok", &w);
	memset(what, SET_BLOCK_HOLE, 10);
	what[10] = SET_BLOCK_DATA;
	set_data_encode_runs(what, &w);
	block = bytes_w_room(&w, MAP_BLOCK);
	memset(block, 'x', MAP_BLOCK);
	put_w("data", "seed.ok", &w);
}

static void manifest_seed(void)
{
	struct set_manifest m = {.id = "20251128T090000Z-1a2b3c4d", .parent = "20251127T090000Z-0a0b0c0d", .tiers = "daily weekly",
				 .timeline = 1, .time = KNOWN_TIME, .from_txn = 5, .to_txn = 9, .next_id = 40, .next_link = 7,
				 .n_nodes = 3, .n_names = 2, .n_data = 1, .n_bytes = 4096, .generation = 3,
				 .charter = {1}, .trail = {5, {2}}, .index = {100, {3}, {4}}, .pack_table = {56, {5}, {6}}};
	CLEANUP_FREE char *text = NULL;

	memcpy(m.volume_id, known_volume_id, 16);
	must(set_manifest_build(&m, known_seed, &text), "manifest");
	put_body("manifest", text);
}

static void record_seeds(void)
{
	struct bytes_w w = {0};

	seed_index(&w);
	put_w("index", "seed.ok", &w);
	seed_frame(&w);
	put_w("frame", "seed.ok", &w);
	seed_packed(false, &w);
	put_w("packed", "stored.ok", &w);
	seed_packed(true, &w);
	put_w("packed", "seed.ok", &w);
}

/* --- trail and configuration --- */

static void trail_seeds(void)
{
	const struct trail_head h = {.size = 300, .root = {8}};
	CLEANUP_FREE char *text = NULL;
	uint8_t entry[SUITE_BOX_OVERHEAD + 60] = {3};
	struct bytes_w w = {0};

	must(trail_checkpoint_make(&h, known_volume_id, known_seed, &text), "checkpoint");
	put_body("checkpoint", text);
	for (uint64_t i = 0; i < 3; i++)
		trail_frame_put(&w, &(struct trail_frame){.index = 300 + i, .synced = 300 + i, .entry = entry, .len = sizeof(entry)});
	put_w("tail", "seed.ok", &w);
	for (uint64_t i = 0; i < 3; i++)
		trail_bundle_put(&w, entry, sizeof(entry) - i);
	put_w("bundle", "seed.ok", &w);
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
	must(conf_write(dir_fd, &c, NULL), "conf");
	must(durable_read(dir_fd, CONF_FILE, 1 << 20, &buf, &len), "conf");
	put("conf", "seed.ok", buf, len);
}

int main(int argc, char **argv)
{
	uint8_t charter[32];

	if (argc != 2 || !mkdtemp(scratch))
		return 2;
	out_dir = argv[1];
	CLEANUP_FD int dir_fd = open(scratch, O_RDONLY | O_DIRECTORY);
	header_seed(dir_fd);
	anchor_seed(dir_fd);
	state_seed();
	escrow_seed();
	identity_seeds();
	charter_seed(charter);
	order_seeds(charter);
	journal_seed(charter);
	certificate_seed();
	announcement_seed();
	inventory_seed();
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
