/* See pack_window.h. */
#include "backup/pack_window.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW (256u << 10)
#define COVERED (32u << 10)
#define PACK_WINDOWS 16

/* Begins at any multiple of COVERED, so that a small record never lies across its end. */
struct window {
	const struct set_manifest *m; /* NULL: free */
	uint32_t pack;
	uint64_t off, used; /* used: when */
	size_t len;
	uint8_t *bytes;
};
struct pack_windows {
	struct window w[PACK_WINDOWS];
	uint64_t clock;
};

struct pack_windows *pack_windows_new(void)
{
	return calloc(1, sizeof(struct pack_windows));
}

void pack_windows_free(struct pack_windows *w)
{
	for (size_t i = 0; w && i < PACK_WINDOWS; i++)
		free(w->w[i].bytes);
	free(w);
}

bool pack_windows_cover(const struct set_entry *e)
{
	return e->len <= COVERED;
}

static bool holds(const struct window *x, const struct set_manifest *m, const struct set_entry *e)
{
	return x->m == m && x->pack == e->pack && e->off >= x->off && e->off + (uint64_t)e->len <= x->off + x->len;
}

static int load(struct window *x, struct repo *r, const struct set_manifest *m, const struct set_entry *e)
{
	const uint64_t pack_len = m->packs[e->pack].len, off = e->off / COVERED * COVERED;
	char name[SET_NAME_LEN];

	x->m = NULL;
	if (e->off + (uint64_t)e->len > pack_len)
		return -EBADMSG;
	if (!x->bytes && !(x->bytes = malloc(WINDOW)))
		return -ENOMEM;
	x->len = pack_len - off < WINDOW ? (size_t)(pack_len - off) : WINDOW;
	set_object_pack(m->id, e->pack, name);
	int err = repo_read(r, name, off, x->bytes, x->len);
	if (err)
		return err;
	x->m = m;
	x->pack = e->pack;
	x->off = off;
	return 0;
}

/* A pack that is shorter than it should be may still hold this record. */
static int load_alone(struct window *x, struct repo *r, const struct set_manifest *m, const struct set_entry *e)
{
	char name[SET_NAME_LEN];

	set_object_pack(m->id, e->pack, name);
	int err = x->bytes ? set_damage(repo_read(r, name, e->off, x->bytes, e->len)) : -ENOMEM;
	if (err)
		return err;
	x->m = m;
	x->pack = e->pack;
	x->off = e->off;
	x->len = e->len;
	return 0;
}

int pack_windows_get(struct pack_windows *w, struct repo *r, const struct set_manifest *m, const struct set_entry *e,
		     const uint8_t **ret)
{
	struct window *x = &w->w[0];
	int err = 0;

	for (size_t i = 0; i < PACK_WINDOWS; i++) {
		if (holds(&w->w[i], m, e)) {
			x = &w->w[i];
			break;
		}
		if (w->w[i].used < x->used)
			x = &w->w[i];
	}
	if (!holds(x, m, e)) {
		err = load(x, r, m, e);
		if (err == -ENODATA)
			err = load_alone(x, r, m, e);
	}
	x->used = ++w->clock;
	*ret = err ? NULL : x->bytes + (e->off - x->off);
	return set_damage(err);
}
