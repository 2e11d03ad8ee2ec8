/*
 * Repairing sets: what is damaged or lacks in one repository is put back from parity, or from other copies of
 * the same set, after it was compared with what the signed manifest says.
 *
 * Works through all objects of all sets, reading each whole. An object is replaced atomically and read back.
 * Needs no key and believes no copy: bytes count by digest, manifests by signature. A set of which something
 * is lost gets the object "damaged" that names it: no new set builds on it, so the next one stores again what
 * was lost (from the newest whole chain on, or full), and retention does not count its chain; once all is back the mark goes. Not for two at a time on one
 * repository.
 */
#ifndef COFFER_BACKUP_REPAIR_H
#define COFFER_BACKUP_REPAIR_H

#include "backup/set.h"

enum repair_state {
	REPAIR_DONE,     /* replaced; with dry_run: can be */
	REPAIR_LOST,     /* no copy at hand holds it */
};
struct repair_item {
	char set[SET_ID_MAX + 1];
	char what[24]; /* "pack-00003", "manifest" .. */
	enum repair_state state;
	char from[256];    /* url of the copy, or "parity"; of what is done */
	uint64_t len;      /* as it should be; 0 not known */
	uint64_t n_frames; /* of a lost pack: records whose frames can still be walked */
};
struct repair_request {
	struct repo *repo;
	struct repo *const *others;
	size_t n_others;
	const uint8_t *volume_id, *sign_pk;
	const char *set; /* NULL: all */
	bool dry_run;
	/* Before anything of a set is changed, once for each item; non-zero stops. May be NULL. */
	int (*before)(void *arg, const struct repair_item *i, struct diag *d);
	void (*progress)(void *arg, uint64_t n_sets, uint64_t n_bytes);
	void *arg;
};
struct repair_result {
	uint64_t n_sets, n_objects, n_bytes; /* looked at */
	uint64_t n_done, n_lost;
	struct repair_item *items; /* caller frees */
	size_t n_items;
};
/* 0 also when something is lost. *ret is set in any case. */
int repair_run(const struct repair_request *in, struct repair_result *ret, struct diag *d);

/*
 * With keys: the paths, as of that set, of what a lost pack takes along. Reads the index, and each record of the packs
 * lost; those whose own bytes are still good are not lost. fn gets "" for an entry whose name is lost as well.
 * DIAG_SET_DAMAGED when the index does not read.
 */
typedef int (*repair_path_fn)(void *arg, const char *path);
int repair_lost_paths(struct repo *r, struct keyring *kr, const struct set_catalog *c, size_t set,
		      const struct repair_result *res, repair_path_fn fn, void *arg, uint64_t *ret_n_records,
		      struct diag *d);

#endif
