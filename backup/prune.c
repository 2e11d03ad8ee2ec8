/* Retention. See prune.h. */
#include "backup/prune.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backup/hold.h"
#include "backup/policy.h"
#include "backup/set_internal.h"
#include "core/cleanup.h"

#define PRUNED "pruned"
#define MARK_MAX 32

void prune_rules_of(const struct conf *c, struct prune_rules *ret)
{
	*ret = (struct prune_rules){0};
	for (int t = 0; t < CONF_N_TIERS; t++)
		ret->keep[t] = c->tiers[t].set ? c->tiers[t].keep : 0;
}

bool prune_held_by_object(void *arg, const struct set_manifest *m, char why[64])
{
	char name[SET_NAME_LEN];
	uint64_t size;

	set_object(m->id, HOLD_OBJECT, name);
	int err = repo_size(arg, name, &size);
	if (err == -ENOENT)
		return false;
	snprintf(why, 64, "%s", err ? "whether it is held cannot be read" : "held");
	return true;
}

/* --- which chains are whole --- */

int prune_survey(struct repo *r, const struct set_catalog *c, bool **ret_whole)
{
	CLEANUP_FREE bool *present = calloc(c->n_sets + 1, sizeof(*present));
	CLEANUP_FREE bool *whole = calloc(c->n_sets + 1, sizeof(*whole));

	if (!present || !whole)
		return -ENOMEM;
	for (size_t i = 0; i < c->n_sets; i++)
		present[i] = !r || set_objects_present(r, &c->sets[i]) == 0;
	for (size_t i = 0; i < c->n_sets; i++) {
		CLEANUP_FREE size_t *chain = NULL;
		size_t n = 0;
		int err = set_catalog_chain(c, i, &chain, &n, NULL);

		if (err == -ENOMEM)
			return err;
		whole[i] = err == 0;
		for (size_t k = 0; whole[i] && k < n; k++)
			whole[i] = present[chain[k]];
	}
	*ret_whole = STEAL_PTR(whole);
	return 0;
}

/* --- the plan --- */

struct planning {
	const struct set_catalog *c;
	const struct prune_rules *rules;
	const bool *whole;
	const bool *superseded; /* merged into a set whose chain is whole */
	struct prune_verdict *v;
};

static void keep(struct planning *p, size_t i, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void keep(struct planning *p, size_t i, const char *fmt, ...)
{
	struct prune_verdict *v = &p->v[i];
	size_t at = strlen(v->why);
	va_list ap;

	v->keep = true;
	if (at && at < PRUNE_WHY_MAX - 2) {
		strcat(v->why, ", ");
		at += 2;
	}
	va_start(ap, fmt);
	vsnprintf(v->why + at, sizeof(v->why) - at, fmt, ap);
	va_end(ap);
}

static void keep_tier(struct planning *p, enum conf_tier_name t)
{
	const unsigned max = p->rules->keep[t];
	const char *tier = conf_tier_name(t);
	unsigned n = 0;

	for (size_t i = p->c->n_sets; i-- > 0;) {
		if (!(policy_tiers_of(p->c->sets[i].tiers) & POLICY_TIER(t)) || p->superseded[i])
			continue;
		if (max == 0)
			keep(p, i, "no rule for %s", tier);
		else if (n < max && p->whole[i])
			keep(p, i, "%s %u of %u", tier, ++n, max);
		else if (n < max)
			keep(p, i, "%s, not counted: its chain is broken", tier);
	}
}

static void keep_newest(struct planning *p)
{
	for (size_t i = p->c->n_sets; i-- > 0;) {
		if (!p->whole[i] || p->superseded[i])
			continue;
		keep(p, i, "the newest complete chain");
		return;
	}
}

static void keep_unspoken(struct planning *p)
{
	char why[64];

	for (size_t i = 0; i < p->c->n_sets; i++) {
		const struct set_manifest *m = &p->c->sets[i];

		if (policy_tiers_of(m->tiers) == 0 && !p->superseded[i])
			keep(p, i, "of no known tier");
		p->v[i].held = p->rules->held && p->rules->held(p->rules->arg, m, why);
		if (p->v[i].held)
			keep(p, i, "%s", why);
	}
}

/* Whatever is a parent by name counts as one, also in a chain that does not fit together; and what stands for it. A
 * held set needs those that it was taken on, whether or not they were merged. */
static bool keep_parent(struct planning *p, size_t child)
{
	const struct set_manifest *m = &p->c->sets[child];
	bool news = false;

	for (size_t i = 0; *m->parent && i < p->c->n_sets; i++) {
		bool passed = p->superseded[i] && !p->superseded[child];

		if (i == child || p->v[i].keep || passed || !set_stands_for(&p->c->sets[i], m->parent))
			continue;
		keep(p, i, "set %s builds on it", m->id);
		news = true;
	}
	return news;
}

static void keep_parents(struct planning *p)
{
	bool more;

	/* Once is enough for sets in order; those of one transaction and second may stand the wrong
	 * way round. */
	do {
		more = false;
		for (size_t i = p->c->n_sets; i-- > 0;)
			more |= p->v[i].keep && keep_parent(p, i);
	} while (more);
}

static void explain(struct planning *p, size_t i)
{
	size_t by;

	if (p->superseded[i] && set_catalog_superseded(p->c, i, &by))
		snprintf(p->v[i].why, sizeof(p->v[i].why), "merged into set %s", p->c->sets[by].id);
	else
		snprintf(p->v[i].why, sizeof(p->v[i].why), "newer %s sets are enough", p->c->sets[i].tiers);
}

int prune_plan(const struct set_catalog *c, const struct prune_rules *rules, const bool *whole,
	       struct prune_verdict **ret)
{
	CLEANUP_FREE struct prune_verdict *v = calloc(c->n_sets + 1, sizeof(*v));
	CLEANUP_FREE bool *superseded = calloc(c->n_sets + 1, sizeof(*superseded));
	struct planning p = {.c = c, .rules = rules, .whole = whole, .superseded = superseded, .v = v};
	size_t by;

	if (!v || !superseded)
		return -ENOMEM;
	for (size_t i = 0; i < c->n_sets; i++)
		superseded[i] = set_catalog_superseded(c, i, &by) && whole[by];
	for (int t = 0; t < CONF_N_TIERS; t++)
		keep_tier(&p, t);
	keep_newest(&p);
	keep_unspoken(&p);
	for (size_t i = 0; i < c->n_sets; i++)
		v[i].own = v[i].keep;
	keep_parents(&p);
	for (size_t i = 0; i < c->n_sets; i++)
		if (!v[i].keep)
			explain(&p, i);
	*ret = STEAL_PTR(v);
	return 0;
}

/* --- folders without a manifest --- */

/* 0, -ENOENT, or another error; a mark that cannot be understood holds no time. */
static int mark_read(struct repo *r, const char *id, int64_t *ret)
{
	CLEANUP_FREE uint8_t *text = NULL;
	char name[SET_NAME_LEN];
	size_t len = 0;
	int end = 0;

	set_object(id, PRUNED, name);
	int err = repo_get(r, name, MARK_MAX, &text, &len);
	if (err && err != -EFBIG)
		return err;
	if (err || sscanf((const char *)text, "%" SCNd64 "\n%n", ret, &end) != 1 ||
	    (size_t)end != len)
		return -EUCLEAN;
	return 0;
}

static bool has(struct repo *r, const char *id, const char *what, int *ret_err)
{
	char name[SET_NAME_LEN];
	uint64_t size;

	set_object(id, what, name);
	int err = repo_size(r, name, &size);
	if (err && err != -ENOENT)
		*ret_err = err;
	return err == 0;
}

static bool later_set(const struct set_catalog *c, const char *id)
{
	for (size_t i = 0; i < c->n_sets; i++)
		if (strcmp(c->sets[i].id, id) > 0)
			return true;
	return false;
}

static int judge_orphan(struct repo *r, const struct set_catalog *c, int64_t now, int64_t grace,
			struct prune_orphan *o)
{
	char oldest[SET_ID_MAX + 1];
	int64_t since;
	int err = 0;

	if (has(r, o->id, HOLD_OBJECT, &err))
		o->state = PRUNE_ORPHAN_HELD;
	if (err || o->state == PRUNE_ORPHAN_HELD)
		return err;
	err = mark_read(r, o->id, &since);

	if (err == 0 && since <= now + POLICY_CLOCK_SLACK) {
		o->until = since + grace;
		o->state = o->until <= now ? PRUNE_ORPHAN_DUE : PRUNE_ORPHAN_WAITING;
		return 0;
	}
	if (err && err != -ENOENT && err != -EUCLEAN)
		return err;
	/* A mark from the future, after the clock was set back, or a malformed one: the time begins
	 * again. */
	o->state = PRUNE_ORPHAN_UNMARKED;
	err = 0;
	o->unfinished = has(r, o->id, SET_UNFINISHED, &err);
	if (err || !o->unfinished)
		return err;
	set_id_stamp(now - grace, oldest);
	o->state = strcmp(o->id, oldest) < 0 && later_set(c, o->id) ? PRUNE_ORPHAN_DUE
								    : PRUNE_ORPHAN_RUNNING;
	return 0;
}

int prune_orphans(struct repo *r, const struct set_catalog *c, int64_t now, int64_t grace_seconds,
		  struct prune_orphan **ret, size_t *ret_n)
{
	CLEANUP_FREE struct prune_orphan *list = NULL;
	char **ids = NULL;
	size_t n = 0, n_orphans = 0;
	int err = repo_list(r, "sets/", &ids, &n);

	if (err)
		return err;
	list = calloc(n + 1, sizeof(*list));
	err = list ? 0 : -ENOMEM;
	for (size_t i = 0; err == 0 && i < n; i++) {
		struct prune_orphan *o = &list[n_orphans];

		/* A manifest that is there but cannot be read is damage, and no orphan. */
		if (!set_id_valid(ids[i]) || has(r, ids[i], "manifest", &err) || err)
			continue;
		strcpy(o->id, ids[i]);
		err = judge_orphan(r, c, now, grace_seconds, o);
		n_orphans++;
	}
	repo_list_free(ids, n);
	if (err)
		return err;
	*ret = STEAL_PTR(list);
	*ret_n = n_orphans;
	return 0;
}

/* --- removing --- */

int prune_orphan_mark(struct repo *r, const char *id, int64_t now)
{
	char name[SET_NAME_LEN], text[MARK_MAX];

	if (!set_id_valid(id))
		return -EINVAL;
	set_object(id, PRUNED, name);
	snprintf(text, sizeof(text), "%" PRId64 "\n", now);
	return repo_put(r, name, text, strlen(text));
}

/* The manifest before the mark: a set that has its manifest is never half removed. */
int prune_remove_manifest(struct repo *r, const char *id, int64_t now)
{
	char name[SET_NAME_LEN];
	int err = 0;

	if (!set_id_valid(id))
		return -EINVAL;
	if (has(r, id, HOLD_OBJECT, &err) || err)
		return err ? err : -EPERM;
	set_object(id, "manifest", name);
	err = repo_delete(r, name);
	return err ? err : prune_orphan_mark(r, id, now);
}

int prune_remove_rest(struct repo *r, const char *id)
{
	int err = 0;

	if (!set_id_valid(id))
		return -EINVAL;
	/* A run that was slower than anybody thought has made it a set. */
	if (has(r, id, "manifest", &err) || err)
		return err ? err : -EBUSY;
	return set_remove(r, id);
}
