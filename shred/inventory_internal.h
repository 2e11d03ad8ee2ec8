/* Shared by shred/inventory*.c: the table of ids that a closure reaches, and what the sets know. */
#ifndef COFFER_SHRED_INVENTORY_INTERNAL_H
#define COFFER_SHRED_INVENTORY_INTERNAL_H

#include "shred/inventory.h"

/* --- inventory_table.c --- */

/* What the closure knows of an id. */
struct closure_node {
	uint64_t id;
	unsigned flags; /* enum inventory_flag */
	uint64_t bytes;
	bool gone;      /* no tree derives it any more: walked through, not listed */
	bool condemned; /* to be destroyed; a folder's children are visited */
	bool settled;   /* kept or condemned for good */
	bool copied;    /* reached as a copy or a restored copy: where it lives does not save it */
	bool followed;  /* its lineage was looked at */
	bool descended; /* its children were visited */
	uint32_t n_in, n_out; /* present links from condemned folders, and from others */
};
/* Nodes never move within v, but v does when it grows: hold positions. Zero-initialise. */
struct closure_table {
	struct closure_node *v;
	size_t n, cap;
	size_t *slots; /* position + 1, 0 free */
	size_t n_slots;
};
void closure_table_free(struct closure_table *t);
/* SIZE_MAX when it is not there. */
size_t closure_table_find(const struct closure_table *t, uint64_t id);
/* Its position; *ret_new when it was added. -ENOMEM */
int closure_table_add(struct closure_table *t, uint64_t id, size_t *ret, bool *ret_new);

/* --- inventory_sets.c --- */

struct set_pair {
	uint64_t a, b;
	uint8_t kind; /* of an edge */
};
struct set_pairs {
	struct set_pair *v; /* sorted by a, b, kind; distinct once loaded */
	size_t n, cap;
};
/* parent -> child and lineages (both ways), of every set. */
struct set_knowledge {
	struct set_pairs children, edges;
};
/* DIAG_SET_DAMAGED: an index or a manifest that does not read could hold anything. */
int set_knowledge_load(struct repo *const *repos, size_t n_repos, struct keyring *kr,
		       struct set_knowledge *ret, struct diag *d);
void set_knowledge_free(struct set_knowledge *k);
/* How many pairs begin with a, from *ret_first on. */
size_t set_pairs_of(const struct set_pairs *p, uint64_t a, size_t *ret_first);

/* --- inventory_closure.c --- */

struct closure {
	const struct inventory_request *in;
	struct set_knowledge sets;
	struct closure_table t;
};
void closure_free(struct closure *c);
/* Folders and what stands or stood in them, then who keeps a link outside. */
int closure_walk(struct closure *c, struct diag *d);
/* Visits the children of every condemned folder that was not descended into yet. */
int closure_descend(struct closure *c, struct diag *d);
/* Reaches an id for the reason that flag says. */
int closure_reach(struct closure *c, uint64_t id, unsigned flag, size_t *ret, struct diag *d);
/* Decides about every node that is not settled. */
int closure_settle(struct closure *c, struct diag *d);

/* --- inventory_lineage.c --- */

/* Lineages of everything condemned, transitively. */
int closure_follow_lineages(struct closure *c, struct diag *d);

#endif
