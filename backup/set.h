/*
 * Sets: formats of packs, index and manifest, and the catalogue of a repository.
 *
 *   sets/ID/pack-NNNNN  framed records, each sealed under its file's backup key
 *   sets/ID/packs       length, digest and checksum of each pack
 *   sets/ID/index       where the blocks of the index lie in the packs; under the index epoch key,
 *                       as the blocks are: ids, versions, offsets, checksums (backup/set_index.h)
 *   sets/ID/manifest    signed by the volume, written last: without it there is no set
 *
 * ID is UTC time and eight random hex digits: "20261128T091500Z-1a2b3c4d". Format: docs/format.md
 * "Sets". Codecs are stateless.
 */
#ifndef COFFER_BACKUP_SET_H
#define COFFER_BACKUP_SET_H

#include "backup/repo.h"
#include "core/bytes.h"
#include "core/keyring.h"
#include "core/trail.h"

#define SET_ID_MAX 31
#define SET_PACK_MAX (16u << 20)
#define SET_RANGE (1u << 20) /* bytes of a file that one data record covers at most, aligned */
#define SET_FRAME_LEN 48
#define SET_CHECKSUM_LEN 16 /* XXH3-128, canonical byte order */

enum set_kind {
	SET_NODE = 1, /* attributes, xattrs, inline content; key of id */
	SET_NAME = 2, /* parent, link, child and the padded component; key of parent and child */
	SET_DATA = 3, /* one range of a file: data runs and holes; key of id */
	SET_GONE = 4, /* index only: a link that is no more */
	SET_EDGE = 5, /* index only: two ids of one lineage */
	SET_INDEX = 6, /* in packs only: a block of the index, no entry in it */
	SET_SIGN = 7, /* a part of a file's signature, for later deltas; key of id */
	SET_KINDS = 8,
};

/* An index entry. Fields that a kind does not use are zero. */
struct set_entry {
	uint8_t kind;
	uint8_t flags;                 /* SET_OVERLAY, SET_DELTA, SET_LAST, edge kind in SET_EDGE */
	uint64_t id;                   /* NODE, DATA, SIGN; parent of NAME and GONE; a of EDGE */
	uint64_t link;                 /* NAME, GONE; b of EDGE */
	uint64_t child;                /* NAME, GONE */
	uint64_t version;              /* transaction */
	uint64_t range;                /* DATA: off / SET_RANGE; SIGN: part */
	uint64_t basis, as_of;         /* SET_DELTA: made from this id, as of that transaction */
	uint32_t type_mode;            /* NAME: S_IFMT bits */
	uint32_t pack, off, len;       /* frame included */
	uint8_t sum[SET_CHECKSUM_LEN]; /* of the frame and box as stored */
};
#define SET_OVERLAY 1 /* DATA: only blocks that changed since the parent set */
#define SET_DELTA 2   /* DATA: made from another file's content (backup/set_delta.h) */
#define SET_LAST 2    /* GONE: the child's inode is gone too */

struct set_pack {
	uint64_t len;
	uint8_t digest[32]; /* BLAKE2b-256 */
	uint8_t sum[SET_CHECKSUM_LEN];
};
struct set_manifest {
	char id[SET_ID_MAX + 1];
	char parent[SET_ID_MAX + 1]; /* "" full */
	bool full;
	/* Of a merged set, ids separated by blanks, each list ended by NUL; NULL: none. What it was merged from;
	 * and sets that ended where it ends: whoever names one of these as parent builds on it. */
	char *merged, *stands_for;
	char tiers[64]; /* "daily", "daily weekly" */
	uint8_t volume_id[16];
	uint64_t timeline;
	int64_t time; /* of the snapshot */
	uint64_t from_txn, to_txn;
	uint64_t next_id, next_link;
	uint64_t n_nodes, n_names, n_data, n_sign, n_gone;
	uint64_t n_bytes; /* of all bodies before compression */
	uint64_t generation;
	uint8_t charter[32];
	struct trail_head trail;
	struct set_pack index, pack_table;
	size_t n_packs;
	struct set_pack *packs; /* from the pack table: set_catalog_load reads it */
};

/* The signed text, without the packs themselves; parse leaves n_packs 0. -EUCLEAN, -EBADMSG,
 * -EPROTONOSUPPORT. What could not be parsed is not built: -E2BIG beyond SET_LIST_MAX. */
int set_manifest_build(const struct set_manifest *m, const uint8_t sign_seed[32], char **ret_text);
int set_manifest_parse(const char *text, const uint8_t volume_id[16], const uint8_t sign_pk[32],
		       struct set_manifest *ret);
void set_manifest_free(struct set_manifest *m);
#define SET_MERGED_MAX 64 /* sets that are merged at once */
#define SET_LIST_MAX 128  /* ids in each list of a merged set: it may take others' places later on */
/* Whether id is m's own, or that of a set that m stands for. */
bool set_stands_for(const struct set_manifest *m, const char *id);
/* Whether m was merged from the set of that id. */
bool set_merged_from(const struct set_manifest *m, const char *id);

/* The catalogue: every set with a manifest and pack table that verify, oldest first. Damaged ones
 * are counted and named. */
struct set_catalog {
	struct set_manifest *sets;
	size_t n_sets;
	char (*damaged)[SET_ID_MAX + 1];
	size_t n_damaged;
};
int set_catalog_load(struct repo *r, const uint8_t volume_id[16], const uint8_t sign_pk[32],
		     struct set_catalog *ret, struct diag *d);
void set_catalog_free(struct set_catalog *c);
/* By id (or unique prefix), or "latest", or the newest at or before a time (id NULL).
 * DIAG_SET_MISSING. */
int set_catalog_find(const struct set_catalog *c, const char *id, int64_t at, size_t *ret_i,
		     struct diag *d);
/* The set that i builds on: by name, or a merged one that stands for it, which goes first. False when it lacks, does not fit, or i
 * is full. */
bool set_catalog_parent(const struct set_catalog *c, size_t i, size_t *ret);
/* Whether there is a set that was merged from set i, and so takes its place. */
bool set_catalog_superseded(const struct set_catalog *c, size_t i, size_t *ret_by);
/* The chain that restores set i: indices from its full set to itself. DIAG_SET_MISSING when a link
 * lacks. Caller frees. */
int set_catalog_chain(const struct set_catalog *c, size_t i, size_t **ret, size_t *ret_n,
		      struct diag *d);

/* Calls fn for every entry of a set's index, verified; in no order that means anything. */
typedef int (*set_entry_fn)(void *arg, const struct set_entry *e);
int set_index_read(struct repo *r, struct keyring *kr, const struct set_manifest *m,
		   set_entry_fn fn, void *arg, struct diag *d);
/*
 * Fetches, checks and opens one record: plaintext appended to out. -EKEYREVOKED when its keys are
 * destroyed, whatever has become of its bytes; -EBADMSG when it is damaged, lacking or unreadable.
 */
int set_record_read(struct repo *r, struct keyring *kr, const struct set_manifest *m,
		    const struct set_entry *e, struct bytes_w *out);

#endif
