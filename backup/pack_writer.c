/* The pipeline of a set: queue, sealers, packs, putter. See pack_writer.h. What is done with a full pack is in
 * pack_put.c. */
#include "backup/pack_writer.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backup/pack_put.h"
#include "core/cleanup.h"

#define QUEUE_BYTES (6u << 20)
#define THREADS_FROM (512u << 10) /* queued bytes from which sealers are worth their start */
#define SEALERS_MAX 3

struct job {
	struct job *next;
	struct set_entry e;
	uint64_t basis;
	size_t len;
	uint8_t body[];
};

/* All below is guarded by lock but what says otherwise. */
struct pack_writer {
	struct repo *repo; /* constant */
	struct keyring *kr;
	char id[SET_ID_MAX + 1];
	struct throttle *throttle;
	struct set_sealer *own; /* of the caller */

	pthread_mutex_t lock;
	pthread_cond_t changed;
	int err;
	bool stop;
	struct job *first, **last;
	size_t queued; /* bytes of jobs not yet sealed */
	unsigned n_sealing;
	pthread_t sealers[SEALERS_MAX];
	unsigned n_sealers;

	struct bytes_w pack; /* being filled */
	struct bytes_w full; /* the putter's while is_full */
	bool is_full;
	pthread_t putter;
	bool has_putter;

	struct set_pack *packs; /* put, or in full */
	size_t n_packs, cap_packs;

	struct pack_sealed *sealed;
	size_t n_sealed, cap_sealed;
};

int pack_writer_new(struct repo *r, struct keyring *kr, const struct set_manifest *m, struct throttle *throttle,
		    struct pack_writer **ret)
{
	struct pack_writer *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->repo = r;
	p->kr = kr;
	p->throttle = throttle;
	memcpy(p->id, m->id, sizeof(p->id));
	p->last = &p->first;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->changed, NULL);
	p->own = set_sealer_new();
	p->packs = calloc(m->n_packs + 16, sizeof(*p->packs));
	p->cap_packs = m->n_packs + 16;
	if (!p->own || !p->packs) {
		pack_writer_free(p);
		return -ENOMEM;
	}
	if (m->n_packs)
		memcpy(p->packs, m->packs, m->n_packs * sizeof(*p->packs));
	p->n_packs = m->n_packs;
	*ret = p;
	return 0;
}

/* The lock is held. */
static void fail(struct pack_writer *p, int err)
{
	if (err && !p->err)
		p->err = err;
	if (p->err)
		pthread_cond_broadcast(&p->changed);
}

static void wait(struct pack_writer *p)
{
	pthread_cond_wait(&p->changed, &p->lock);
}

/* --- full packs --- */

/* Puts what is in full, without the lock, which is held again afterwards. */
static void put_full(struct pack_writer *p)
{
	size_t number = p->n_packs - 1;
	struct set_pack done = {0};

	pthread_mutex_unlock(&p->lock);
	int err = pack_put(p->repo, p->kr, p->id, (uint32_t)number, &p->full, p->throttle, &done);
	pthread_mutex_lock(&p->lock);
	p->packs[number] = done;
	fail(p, err);
	bytes_w_reset(&p->full);
	p->is_full = false;
	pthread_cond_broadcast(&p->changed);
}

static void *putter_main(void *arg)
{
	struct pack_writer *p = arg;

	pthread_mutex_lock(&p->lock);
	for (;;) {
		while (!p->is_full && !p->stop)
			wait(p);
		if (!p->is_full)
			break;
		put_full(p);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

/* The pack being filled becomes the full one, whose turn it is. */
static int hand_over(struct pack_writer *p)
{
	if (p->n_packs == p->cap_packs) {
		struct set_pack *more = reallocarray(p->packs, 2 * p->cap_packs, sizeof(*more));
		if (!more)
			return -ENOMEM;
		p->packs = more;
		p->cap_packs *= 2;
	}
	p->packs[p->n_packs++] = (struct set_pack){0};
	const struct bytes_w empty = p->full;
	p->full = p->pack;
	p->pack = empty;
	p->is_full = true;
	if (!p->has_putter) {
		int err = -pthread_create(&p->putter, NULL, putter_main, p);
		if (err)
			return err;
		p->has_putter = true;
	}
	pthread_cond_broadcast(&p->changed);
	return 0;
}

/* The lock is held, and may be let go meanwhile. */
static int append(struct pack_writer *p, const void *bytes, size_t len, uint32_t *ret_pack, uint32_t *ret_off)
{
	int err = p->err;

	/* Looked at anew after waiting: somebody else may have handed it over. */
	while (err == 0 && p->pack.len && p->pack.len + len > SET_PACK_MAX) {
		if (p->is_full)
			wait(p);
		else
			err = hand_over(p);
		err = err ? err : p->err;
	}
	if (err)
		return err;
	*ret_pack = (uint32_t)p->n_packs;
	*ret_off = (uint32_t)p->pack.len;
	bytes_w_raw(&p->pack, bytes, len);
	return p->pack.err;
}

/* --- sealing --- */

static int note_sealed(struct pack_writer *p, const struct set_entry *e, size_t len)
{
	if (p->n_sealed == p->cap_sealed) {
		size_t cap = p->cap_sealed ? 2 * p->cap_sealed : 256;
		struct pack_sealed *more = reallocarray(p->sealed, cap, sizeof(*more));
		if (!more)
			return -ENOMEM;
		p->sealed = more;
		p->cap_sealed = cap;
	}
	p->sealed[p->n_sealed++] = (struct pack_sealed){*e, len};
	return 0;
}

/* Takes the first job, seals it without the lock, and appends it. */
static void seal_one(struct pack_writer *p, struct set_sealer *s, struct bytes_w *out)
{
	struct job *j = p->first;

	p->first = j->next;
	if (!p->first)
		p->last = &p->first;
	p->n_sealing++;
	pthread_mutex_unlock(&p->lock);
	bytes_w_reset(out);
	int err = set_sealer_record(s, p->kr, &j->e, j->basis, j->body, j->len, out);
	pthread_mutex_lock(&p->lock);
	p->queued -= sizeof(*j) + j->len;
	if (err == 0)
		err = append(p, out->buf, out->len, &j->e.pack, &j->e.off);
	if (err == 0)
		err = note_sealed(p, &j->e, j->len);
	fail(p, err == -EKEYREVOKED ? 0 : err);
	p->n_sealing--;
	free(j);
	pthread_cond_broadcast(&p->changed);
}

static void *sealer_main(void *arg)
{
	struct pack_writer *p = arg;
	struct set_sealer *s = set_sealer_new();
	struct bytes_w out = {0};

	pthread_mutex_lock(&p->lock);
	if (!s)
		fail(p, -ENOMEM);
	for (;;) {
		while ((!p->first || p->err) && !p->stop)
			wait(p);
		if (p->stop || !s)
			break;
		seal_one(p, s, &out);
	}
	pthread_mutex_unlock(&p->lock);
	bytes_w_free(&out);
	set_sealer_free(s);
	return NULL;
}

/* One less than processors: the caller seals as well when the others do not keep up. */
static void start_sealers(struct pack_writer *p)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN) - 1;

	if (p->n_sealers || p->queued < THREADS_FROM)
		return;
	n = n < 1 ? 1 : n > SEALERS_MAX ? SEALERS_MAX : n;
	while (p->n_sealers < (unsigned)n &&
	       pthread_create(&p->sealers[p->n_sealers], NULL, sealer_main, p) == 0)
		p->n_sealers++;
}

/* Seals jobs until at most so many bytes wait, or (0) until nothing waits and nobody seals. */
static int seal_down_to(struct pack_writer *p, size_t bytes)
{
	CLEANUP_BYTES struct bytes_w out = {0};

	while (!p->err && p->first && p->queued > bytes)
		seal_one(p, p->own, &out);
	while (!p->err && bytes == 0 && p->n_sealing)
		wait(p);
	return p->err;
}

int pack_writer_add(struct pack_writer *p, const struct set_entry *e, uint64_t basis, const void *body, size_t len)
{
	if (len > SET_RECORD_MAX)
		return -E2BIG;
	struct job *j = malloc(sizeof(*j) + len);
	if (!j)
		return -ENOMEM;
	*j = (struct job){.e = *e, .basis = basis, .len = len};
	if (len)
		memcpy(j->body, body, len);
	pthread_mutex_lock(&p->lock);
	*p->last = j;
	p->last = &j->next;
	p->queued += sizeof(*j) + len;
	start_sealers(p);
	if (p->n_sealers)
		pthread_cond_broadcast(&p->changed);
	int err = seal_down_to(p, QUEUE_BYTES);
	pthread_mutex_unlock(&p->lock);
	return err;
}

int pack_writer_sealed(struct pack_writer *p, struct pack_sealed **ret, size_t *ret_n)
{
	pthread_mutex_lock(&p->lock);
	*ret = p->sealed;
	*ret_n = p->n_sealed;
	p->sealed = NULL;
	p->n_sealed = p->cap_sealed = 0;
	int err = p->err;
	pthread_mutex_unlock(&p->lock);
	return err;
}

int pack_writer_drain(struct pack_writer *p)
{
	pthread_mutex_lock(&p->lock);
	int err = seal_down_to(p, 0);
	pthread_mutex_unlock(&p->lock);
	return err;
}

int pack_writer_raw(struct pack_writer *p, const void *bytes, size_t len, uint32_t *ret_pack, uint32_t *ret_off)
{
	pthread_mutex_lock(&p->lock);
	int err = append(p, bytes, len, ret_pack, ret_off);
	pthread_mutex_unlock(&p->lock);
	return err;
}

int pack_writer_flush(struct pack_writer *p)
{
	pthread_mutex_lock(&p->lock);
	int err = seal_down_to(p, 0);
	while (err == 0 && (p->is_full || p->pack.len)) {
		if (p->is_full)
			wait(p);
		else
			err = hand_over(p);
		err = err ? err : p->err;
	}
	fail(p, err);
	pthread_mutex_unlock(&p->lock);
	return err;
}

const struct set_pack *pack_writer_packs(const struct pack_writer *p, size_t *ret_n)
{
	*ret_n = p->n_packs;
	return p->packs;
}

static void stop_threads(struct pack_writer *p)
{
	pthread_mutex_lock(&p->lock);
	p->stop = true;
	fail(p, -ECANCELED);
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < p->n_sealers; i++)
		pthread_join(p->sealers[i], NULL);
	if (p->has_putter)
		pthread_join(p->putter, NULL);
}

void pack_writer_free(struct pack_writer *p)
{
	if (!p)
		return;
	stop_threads(p);
	for (struct job *j = p->first, *next; j; j = next) {
		next = j->next;
		free(j);
	}
	pthread_cond_destroy(&p->changed);
	pthread_mutex_destroy(&p->lock);
	set_sealer_free(p->own);
	bytes_w_free(&p->pack);
	bytes_w_free(&p->full);
	free(p->packs);
	free(p->sealed);
	free(p);
}
