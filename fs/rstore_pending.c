/*
 * The overlay of pending records: a skip list in key order.
 *
 * It only grows until a commit empties it whole, so nothing is ever removed from its middle. Values
 * are plaintext and wiped when they go.
 */
#include <string.h>

#include "fs/rstore_internal.h"

/* Heights with odds of one in four; balance needs no secrecy, only spread. */
static unsigned draw_height(struct pending *p)
{
	unsigned h = 1;

	if (!p->rng)
		p->rng = 0x9e3779b97f4a7c15u;
	p->rng ^= p->rng << 13;
	p->rng ^= p->rng >> 7;
	p->rng ^= p->rng << 17;
	for (uint64_t r = p->rng; h < PENDING_HEIGHT && (r & 3) == 0; r >>= 2)
		h++;
	return h;
}

/* For each level the link that leads to the first item with a key >= key. */
static struct pending_item *seek(struct pending *p, const struct rstore_key *key,
				 struct pending_item **ret_links[PENDING_HEIGHT])
{
	struct pending_item **links = p->head;

	for (int level = PENDING_HEIGHT - 1; level >= 0; level--) {
		while (links[level] && rstore_key_cmp(&links[level]->key, key) < 0)
			links = links[level]->next;
		ret_links[level] = &links[level];
	}
	return links[0];
}

struct pending_item *rstore_pending_from(struct pending *p, const struct rstore_key *key)
{
	struct pending_item **links[PENDING_HEIGHT];

	if (!key)
		return p->head[0];
	return seek(p, key, links);
}

struct pending_item *rstore_pending_find(struct pending *p, const struct rstore_key *key)
{
	struct pending_item *it;

	if (!p->n)
		return NULL;
	it = rstore_pending_from(p, key);
	return it && rstore_key_cmp(&it->key, key) == 0 ? it : NULL;
}

struct pending_item *rstore_pending_at(struct pending *p, const struct rstore_key *key)
{
	struct pending_item **links[PENDING_HEIGHT];
	struct pending_item *it = seek(p, key, links);
	unsigned height;

	if (it && rstore_key_cmp(&it->key, key) == 0)
		return it;
	height = draw_height(p);
	it = calloc(1, sizeof(*it) + height * sizeof(it->next[0]));
	if (!it)
		return NULL;
	it->key = *key;
	for (unsigned level = 0; level < height; level++) {
		it->next[level] = *links[level];
		*links[level] = it;
	}
	p->n++;
	/* Deletions take memory, too. */
	p->bytes += sizeof(*it) + height * sizeof(it->next[0]);
	return it;
}

static void drop_value(struct pending *p, struct pending_item *it)
{
	if (it->val) {
		secret_wipe(it->val, it->len);
		free(it->val);
	}
	p->bytes -= it->len;
	it->val = NULL;
	it->len = 0;
}

void rstore_pending_set(struct pending *p, struct pending_item *it, bool has_val, uint8_t *val,
			size_t len)
{
	drop_value(p, it);
	it->has_val = has_val;
	it->val = val;
	it->len = len;
	p->bytes += len;
}

void rstore_pending_clear(struct pending *p)
{
	struct pending_item *next;

	for (struct pending_item *it = p->head[0]; it; it = next) {
		next = it->next[0];
		drop_value(p, it);
		free(it);
	}
	memset(p->head, 0, sizeof(p->head));
	p->n = p->bytes = 0;
}
