/*
 * Retention: which sets of a repository may go, and taking them away so that nothing that stays
 * loses its ground.
 *
 * The newest sets of each tier stay, as many as the policy says; so do the newest complete chain,
 * sets under a hold, and everything that a set which stays builds on. A set whose own chain is
 * broken brings nothing back: it takes nobody's place in the count. Nor does one that was merged into another
 * set (merge.h), which takes its place: it goes. What no rule speaks of (a tier
 * without a section, a damaged manifest) stays.
 *
 * A set goes in two steps. First its manifest: from then on it does not exist, for nobody. Then,
 * after a grace time in which whoever read it can end, its packs and index. States of a folder
 * sets/ID without a manifest:
 *
 *   object in it   what it is                                  what a later prune does
 *   pruned         a removed set; holds the time of that       removes the rest after the grace
 * time unfinished     a run that goes on, or was killed           removes it when it began longer
 * ago than the grace time and a later set is complete (runs do not overlap) neither        a crash
 * between the two steps, a copy that  puts "pruned" there: its grace time begins is on its way
 * here, or a manifest was lost
 *
 * prune_plan is pure. None of these needs a key. A manifest is removed newest first, so that a
 * crash never leaves a set without its parent. Not for two at a time on one repository.
 */
#ifndef COFFER_BACKUP_PRUNE_H
#define COFFER_BACKUP_PRUNE_H

#include "backup/set.h"
#include "core/conf.h"

#define PRUNE_WHY_MAX 199

/* True when something forbids that the set goes; why (64 bytes) says what. */
typedef bool (*prune_held_fn)(void *arg, const struct set_manifest *m, char why[64]);

struct prune_rules {
	unsigned keep[CONF_N_TIERS]; /* 0: no rule, every set of the tier stays */
	prune_held_fn held;          /* NULL: nothing is */
	void *arg;
};
struct prune_verdict {
	bool keep;
	bool own;  /* for its own sake: not only because others build on it */
	bool held; /* rules->held says so */
	char why[PRUNE_WHY_MAX + 1];
};

void prune_rules_of(const struct conf *c, struct prune_rules *ret);
/* An object "hold" in the set's folder. arg is the repository. Whoever cannot look must not remove:
 * an error holds. */
bool prune_held_by_object(void *arg, const struct set_manifest *m, char why[64]);

/*
 * For each set of the catalogue whether all of its chain is there: by the manifests, and, unless r
 * is NULL, by the presence of their objects. Caller frees. -ENOMEM.
 */
int prune_survey(struct repo *r, const struct set_catalog *c, bool **ret_whole);
/* A verdict for each set; caller frees. A survey without objects never lets more stay than one with
 * them. -ENOMEM. */
int prune_plan(const struct set_catalog *c, const struct prune_rules *rules, const bool *whole,
	       struct prune_verdict **ret);

enum prune_orphan_state {
	PRUNE_ORPHAN_DUE,      /* may be removed */
	PRUNE_ORPHAN_WAITING,  /* in its grace time, which ends at until */
	PRUNE_ORPHAN_UNMARKED, /* its grace time has not begun */
	PRUNE_ORPHAN_RUNNING,  /* may be a run that goes on */
	PRUNE_ORPHAN_HELD,     /* a set under a hold that lost its manifest: to be repaired */
};
struct prune_orphan {
	char id[SET_ID_MAX + 1];
	enum prune_orphan_state state;
	bool unfinished;
	int64_t until;
};
/* Folders without a manifest, by id; caller frees. */
int prune_orphans(struct repo *r, const struct set_catalog *c, int64_t now, int64_t grace_seconds,
		  struct prune_orphan **ret, size_t *ret_n);

/* Step one, and the beginning of the grace time. -EPERM when the set is held, also since it was planned. */
int prune_remove_manifest(struct repo *r, const char *id, int64_t now);
/* Begins the grace time of an orphan. */
int prune_orphan_mark(struct repo *r, const char *id, int64_t now);
/* Step two. -EBUSY when there is a manifest after all. */
int prune_remove_rest(struct repo *r, const char *id);

#endif
