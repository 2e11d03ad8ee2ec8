/*
 * The block map codec.
 *
 * A record is a table of the sessions that occur, in order of first use, and then runs that cover
 * the group from its first block to its last. There is one encoding of a group: runs are as long as
 * they can be, and the decoder refuses any other, so that what was read and what would be written
 * are the same bytes.
 */
#include "fs/map.h"

#include <errno.h>
#include <string.h>

#define VERSION 1
#define RUN_HOLE 0x80u
#define RUN_LEN_MASK 0x3fu
#define RUN_RESERVED 0x40u

void map_init(struct map_group *g)
{
	memset(g, 0, sizeof(*g));
	for (unsigned i = 0; i < MAP_GROUP; i++)
		g->e[i].slot = MAP_HOLE;
}

bool map_all_holes(const struct map_group *g)
{
	for (unsigned i = 0; i < MAP_GROUP; i++) {
		if (g->e[i].slot != MAP_HOLE)
			return false;
	}
	return true;
}

static bool is_hole(const struct map_entry *e)
{
	return e->slot == MAP_HOLE;
}

/* Whether b, the block after a, belongs to the same run. */
static bool continues(const struct map_entry *a, const struct map_entry *b)
{
	if (is_hole(a) || is_hole(b))
		return is_hole(a) && is_hole(b);
	return b->slot == a->slot + 1 && b->counter == a->counter + 1 && b->birth == a->birth &&
	       !memcmp(b->session, a->session, MAP_SESSION_LEN);
}

static unsigned run_len(const struct map_group *g, unsigned first)
{
	unsigned n = 1;

	while (first + n < MAP_GROUP && continues(&g->e[first + n - 1], &g->e[first + n]))
		n++;
	return n;
}

/* ---- encoding ---- */

struct sessions {
	unsigned n;
	const uint8_t *s[MAP_GROUP];
};

/* The index of the session; equal to t->n when it is not in the table. */
static unsigned session_index(const struct sessions *t, const uint8_t *session)
{
	unsigned i = 0;

	while (i < t->n && memcmp(t->s[i], session, MAP_SESSION_LEN))
		i++;
	return i;
}

static void encode_sessions(const struct map_group *g, struct sessions *t, struct bytes_w *out)
{
	for (unsigned i = 0; i < MAP_GROUP; i++) {
		const struct map_entry *e = &g->e[i];

		if (!is_hole(e) && session_index(t, e->session) == t->n)
			t->s[t->n++] = e->session;
	}
	bytes_w_u8(out, (uint8_t)t->n);
	for (unsigned i = 0; i < t->n; i++)
		bytes_w_raw(out, t->s[i], MAP_SESSION_LEN);
}

static bool run_in_bounds(const struct map_entry *e, unsigned n)
{
	return e->slot < MAP_SLOT_END && n <= MAP_SLOT_END - e->slot && e->birth < MAP_BIRTH_END &&
	       e->counter < MAP_COUNTER_END && n <= MAP_COUNTER_END - e->counter;
}

static void encode_run(const struct map_entry *e, unsigned n, const struct sessions *t,
		       size_t tag_len, struct bytes_w *out)
{
	if (!run_in_bounds(e, n)) {
		out->err = out->err ? out->err : -EOVERFLOW;
		return;
	}
	bytes_w_u8(out, (uint8_t)(n - 1));
	bytes_w_varint(out, e->slot);
	bytes_w_varint(out, e->birth);
	bytes_w_u8(out, (uint8_t)session_index(t, e->session));
	bytes_w_varint(out, e->counter);
	for (unsigned i = 0; i < n; i++)
		bytes_w_raw(out, e[i].tag, tag_len);
}

void map_encode(const struct map_group *g, size_t tag_len, struct bytes_w *out)
{
	struct sessions t = {0};

	bytes_w_u8(out, VERSION);
	encode_sessions(g, &t, out);
	for (unsigned i = 0, n; i < MAP_GROUP; i += n) {
		n = run_len(g, i);
		if (is_hole(&g->e[i]))
			bytes_w_u8(out, (uint8_t)(RUN_HOLE | (n - 1)));
		else
			encode_run(&g->e[i], n, &t, tag_len, out);
	}
}

/* ---- decoding ---- */

static void decode_sessions(struct bytes_r *r, struct sessions *t)
{
	unsigned n = bytes_r_u8(r);

	if (n > MAP_GROUP)
		bytes_r_fail(r);
	for (unsigned i = 0; i < n && !r->err; i++) {
		const uint8_t *s = bytes_r_raw(r, MAP_SESSION_LEN);

		if (s && session_index(t, s) == t->n)
			t->s[t->n++] = s;
		else
			bytes_r_fail(r);
	}
}

/* *io_used counts the sessions met so far, which come in the table's order. */
static void decode_run(struct bytes_r *r, const struct sessions *t, size_t tag_len,
		       unsigned *io_used, struct map_entry *e, unsigned n)
{
	struct map_entry first = {.slot = bytes_r_varint(r)};

	first.birth = bytes_r_varint(r);
	unsigned session = bytes_r_u8(r);
	first.counter = bytes_r_varint(r);
	if (r->err || !run_in_bounds(&first, n) || session >= t->n || session > *io_used) {
		bytes_r_fail(r);
		return;
	}
	if (session == *io_used)
		++*io_used;
	memcpy(first.session, t->s[session], MAP_SESSION_LEN);
	for (unsigned i = 0; i < n; i++) {
		e[i] = first;
		e[i].slot += i;
		e[i].counter += i;
		bytes_r_copy(r, e[i].tag, tag_len);
	}
}

static void decode_runs(struct bytes_r *r, const struct sessions *t, size_t tag_len,
			struct map_group *g)
{
	unsigned used = 0;

	for (unsigned i = 0, n; i < MAP_GROUP && !r->err; i += n) {
		uint8_t head = bytes_r_u8(r);

		n = (head & RUN_LEN_MASK) + 1u;
		if (head & RUN_RESERVED || n > MAP_GROUP - i) {
			bytes_r_fail(r);
			return;
		}
		if (!(head & RUN_HOLE))
			decode_run(r, t, tag_len, &used, &g->e[i], n);
		if (i && !r->err && continues(&g->e[i - 1], &g->e[i]))
			bytes_r_fail(r);
	}
	if (used != t->n)
		bytes_r_fail(r);
}

int map_decode(const void *p, size_t len, size_t tag_len, struct map_group *ret)
{
	struct bytes_r r = bytes_r_init(p, len);
	struct sessions t = {0};
	struct map_group g;

	map_init(&g);
	if (bytes_r_u8(&r) != VERSION)
		bytes_r_fail(&r);
	decode_sessions(&r, &t);
	decode_runs(&r, &t, tag_len, &g);
	if (bytes_r_done(&r) < 0)
		return -EUCLEAN;
	*ret = g;
	return 0;
}
