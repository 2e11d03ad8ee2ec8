/*
 * From the changes of a snapshot to the records of a set. See backup_scan.h.
 *
 * Map groups arrive in order, four to a range of 1 MiB. They are collected until the range or the
 * file changes, then become one DATA record: the blocks born since the parent set, and the holes of
 * every group that changed. When that is more than half of the range, and all of it is at hand, the
 * whole range is stored, so that restoring needs no older record; so it is when too much lies over the
 * record that the older sets have of it.
 *
 * A file that is stored whole gets a signature on the way (backup_sums.h); one that the parent does not
 * have and that was saved over one it has becomes a delta (backup_delta.h).
 */
#include "backup/backup_scan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "backup/backup_delta.h"
#include "backup/backup_sums.h"
#include "backup/set_body.h"
#include "backup/throttle.h"
#include "core/cleanup.h"

struct scan {
	const struct backup_request *in;
	struct volume_snapshot *snap;
	struct set_writer *w;
	uint64_t since, since_next_id;
	struct bytes_w body;
	struct backup_lineage *lineage; /* NULL when there is no parent */
	/* the file at hand, when its content comes whole */
	uint64_t file;
	struct backup_sums sums;
	struct backup_delta *delta; /* NULL: not stored as one */
	/* the range being collected */
	uint64_t id, range, version;
	unsigned present; /* bit i: group i of the range came */
	struct map_group groups[SET_RANGE_GROUPS];
	uint8_t *content; /* SET_RANGE bytes: of the range, zeros where it has no data of its own */
	struct throttle reading;
	struct timespec told;
	int put_err; /* from the set writer: the repository's, not the volume's */
};

static int tell(struct scan *s)
{
	struct backup_progress p = {.phase = "copying"};
	struct timespec now;

	if (!s->in->progress)
		return 0;
	clock_gettime(CLOCK_MONOTONIC, &now);
	if ((now.tv_sec - s->told.tv_sec) * 1000 + (now.tv_nsec - s->told.tv_nsec) / 1000000 < 250)
		return 0;
	s->told = now;
	set_writer_figures(s->w, &p.n_records, &p.n_bytes);
	return s->in->progress(s->in->arg, &p) ? -EINTR : 0;
}

/* A record whose file was destroyed while this ran is left out: nobody could open it. */
static int put_body(struct scan *s, struct set_entry *e, uint64_t basis, const struct bytes_w *body)
{
	if (body->err)
		return body->err;
	int err = set_writer_record(s->w, e, basis, body->buf, body->len);
	if (err == -EKEYREVOKED)
		return 0;
	if (err)
		s->put_err = err;
	return err ? err : tell(s);
}

static int put(struct scan *s, struct set_entry *e, uint64_t basis)
{
	return put_body(s, e, basis, &s->body);
}

static int put_entry(struct scan *s, const struct set_entry *e)
{
	s->put_err = set_writer_entry(s->w, e);
	return s->put_err;
}

static const struct map_entry *entry(const struct scan *s, size_t block)
{
	return &s->groups[block / MAP_GROUP].e[block % MAP_GROUP];
}

/* What each block of the range is, seen from the parent set; true when the record stands alone. */
static bool classify(const struct scan *s, uint8_t what[SET_RANGE_BLOCKS])
{
	const unsigned all = (1u << SET_RANGE_GROUPS) - 1;
	size_t n_new = 0, n_mapped = 0;

	for (size_t i = 0; i < SET_RANGE_BLOCKS; i++) {
		bool present = s->present >> (i / MAP_GROUP) & 1;
		bool hole = !present || entry(s, i)->slot == MAP_HOLE;
		bool fresh = !hole && entry(s, i)->birth > s->since;

		what[i] = !present ? SET_BLOCK_SAME
			  : hole   ? SET_BLOCK_HOLE
			  : fresh  ? SET_BLOCK_DATA
				   : SET_BLOCK_SAME;
		n_new += fresh;
		n_mapped += !hole;
	}
	bool alone = s->since == 0 || s->id >= s->since_next_id ||
		     (s->present == all && n_new * 2 > n_mapped);
	for (size_t i = 0; alone && i < SET_RANGE_BLOCKS; i++)
		if (what[i] ==
		    SET_BLOCK_SAME) /* not changed, but at hand; or a group that never was */
			what[i] =
			    s->present >> (i / MAP_GROUP) & 1 ? SET_BLOCK_DATA : SET_BLOCK_HOLE;
	return alone;
}

/* Data blocks, in runs that lie in one group; zeros elsewhere. */
static int read_blocks(struct scan *s, const uint8_t what[SET_RANGE_BLOCKS])
{
	for (size_t i = 0; i < SET_RANGE_BLOCKS;) {
		uint8_t *at = s->content + i * MAP_BLOCK;
		size_t n = 1;

		while ((i + n) % MAP_GROUP && what[i + n] == what[i])
			n++;
		if (what[i] == SET_BLOCK_DATA) {
			throttle_wait(&s->reading, n * MAP_BLOCK);
			int err = volume_snapshot_read(s->in->volume, s->snap, s->id,
						       s->range * SET_RANGE_GROUPS + i / MAP_GROUP,
						       &s->groups[i / MAP_GROUP], i % MAP_GROUP,
						       (unsigned)n, at);
			if (err)
				return err;
		} else {
			memset(at, 0, n * MAP_BLOCK);
		}
		i += n;
	}
	return 0;
}

/* Blocks that were overwritten or unlinked under us by a destruction look damaged; they are not. */
static bool is_destroyed(const struct scan *s)
{
	char order[KEYRING_ORDER_REF_MAX + 1];

	return keyring_gone(volume_keyring(s->in->volume), KEYRING_LIVE, s->id, order);
}

static int put_range(struct scan *s, const uint8_t what[SET_RANGE_BLOCKS], bool alone)
{
	struct set_entry e = {.kind = SET_DATA,
			      .flags = alone ? 0 : SET_OVERLAY,
			      .id = s->id,
			      .range = s->range,
			      .version = s->version};

	bytes_w_reset(&s->body);
	set_data_encode_runs(what, &s->body);
	for (size_t i = 0; i < SET_RANGE_BLOCKS; i++)
		if (what[i] == SET_BLOCK_DATA)
			bytes_w_raw(&s->body, s->content + i * MAP_BLOCK, MAP_BLOCK);
	return put(s, &e, alone ? 0 : s->since);
}

/* From a file's delta. */
static int put_made(void *arg, struct set_entry *e, const struct bytes_w *body)
{
	struct scan *s = arg;

	e->id = s->file;
	return put_body(s, e, e->basis, body);
}

/* A range of a file whose content comes whole. */
static int add_range(struct scan *s, const uint8_t what[SET_RANGE_BLOCKS])
{
	int err = backup_sums_range(&s->sums, s->range, s->content);

	if (err || !s->delta)
		return err ? err : put_range(s, what, true);
	struct backup_delta_range r = {.range = s->range,
				       .version = s->version,
				       .what = what,
				       .content = s->content,
				       .log = s->sums.log};
	if (s->range * SET_RANGE < s->sums.n_blocks * MAP_BLOCK)
		r.sums = backup_sums_of(&s->sums, s->range, &r.len);
	return backup_delta_range(s->delta, &r);
}

/* The groups that did not change, too: everything that the range holds. */
static int complete_range(struct scan *s, uint8_t what[SET_RANGE_BLOCKS])
{
	int err = 0;

	for (size_t i = 0; err == 0 && i < SET_RANGE_GROUPS; i++)
		if (!(s->present >> i & 1))
			err = volume_snapshot_map(s->in->volume, s->snap, s->id,
						  s->range * SET_RANGE_GROUPS + i, &s->groups[i]);
	for (size_t i = 0; i < SET_RANGE_BLOCKS; i++)
		what[i] = entry(s, i)->slot == MAP_HOLE ? SET_BLOCK_HOLE : SET_BLOCK_DATA;
	return err;
}

/* What of the range is to be stored, and its bytes. */
static int take_range(struct scan *s, uint8_t what[SET_RANGE_BLOCKS], bool *ret_alone)
{
	int worn = 0, err = 0;

	*ret_alone = classify(s, what);
	if (!*ret_alone)
		worn = backup_lineage_worn(s->lineage, s->id, s->range);
	if (worn > 0) {
		*ret_alone = true;
		err = complete_range(s, what);
	}
	return worn < 0 ? worn : err ? err : read_blocks(s, what);
}

static int flush_range(struct scan *s)
{
	uint8_t what[SET_RANGE_BLOCKS];
	bool alone;

	if (!s->present)
		return 0;
	int err = take_range(s, what, &alone);
	s->present = 0;
	if (err) { /* without its record the file is incomplete, and a restore that counts its blocks
		      will say so */
		s->sums.on = false;
		return err == -EKEYREVOKED || is_destroyed(s) ? 0 : err;
	}
	return s->sums.on && s->file == s->id ? add_range(s, what) : put_range(s, what, alone);
}

/* --- files that come whole --- */

static int put_signature(struct scan *s, unsigned depth, uint64_t carried)
{
	const struct backup_sums *b = &s->sums;
	uint64_t n_sums = set_sign_sums(b->n_blocks, b->log);
	int err = 0;

	for (uint64_t first = 0; err == 0 && first < n_sums; first += SET_SIGN_PART) {
		struct set_entry e = {.kind = SET_SIGN,
				      .id = s->file,
				      .range = first / SET_SIGN_PART,
				      .version = s->snap->snap.txn};
		const struct set_sign part = {
		    .block_log = b->log,
		    .depth = depth,
		    .n_blocks = b->n_blocks,
		    .carried = carried,
		    .sums = b->sums.buf + first * DELTA_SUM_LEN,
		    .n_sums = n_sums - first < SET_SIGN_PART ? n_sums - first : SET_SIGN_PART};

		bytes_w_reset(&s->body);
		set_sign_encode(&part, &s->body);
		err = put(s, &e, 0);
	}
	return err;
}

/* All that comes before this place is in the set. */
static int checkpoint(struct scan *s, uint64_t id, uint64_t group)
{
	const struct set_progress p = {
	    .snap_id = s->snap->snap.id, .snap_txn = s->snap->snap.txn, .id = id, .group = group};

	if (!set_writer_checkpoint_due(s->w))
		return 0;
	s->put_err = set_writer_checkpoint(s->w, &p);
	if (s->put_err)
		return s->put_err;
	/* From now on there is something to go on with. */
	return volume_snapshot_keep(s->in->volume, s->snap, time(NULL) + VOLUME_SNAPSHOT_KEEP_SECONDS);
}

/* Nothing more comes of the file at hand. */
static int end_file(struct scan *s)
{
	unsigned depth = 0;
	uint64_t carried = 0;
	int err = flush_range(s);

	if (err == 0 && s->delta)
		err = backup_delta_end(s->delta, &depth, &carried);
	backup_delta_free(s->delta);
	s->delta = NULL;
	if (err == 0)
		err = backup_sums_end(&s->sums);
	if (err == 0 && s->sums.on)
		err = put_signature(s, depth, carried);
	s->sums.on = false;
	return err;
}

/* Everything of the file will come: no set that this one rests on has it. */
static int begin_file(struct scan *s, const struct volume_attr *a, uint64_t n_mapped)
{
	const struct backup_delta_out out = {put_made, s};
	struct backup_basis basis = {0};
	int err = -ENOENT;

	s->file = a->id;
	backup_sums_begin(&s->sums, a->size, n_mapped, 0);
	if (s->sums.on && s->lineage)
		err = backup_lineage_basis(s->lineage, a->id, &basis);
	if (err)
		return err == -ENOENT ? 0 : err;
	backup_sums_begin(&s->sums, a->size, n_mapped, delta_basis_log(basis.sums));
	return backup_delta_new(&basis, s->sums.n_blocks, &out, &s->delta);
}

static int on_map(void *arg, uint64_t id, uint64_t group, uint64_t txn, const struct map_group *g)
{
	struct scan *s = arg;
	uint64_t range = group / SET_RANGE_GROUPS;

	if (s->present && (s->id != id || s->range != range)) {
		int err = s->id != id ? end_file(s) : flush_range(s);
		/* A file that is gone on with in its middle gets no signature; a delta cannot be. */
		if (err == 0 && s->id == id && !s->delta)
			err = checkpoint(s, id, group);
		if (err)
			return err;
	}
	if (!s->present) {
		s->id = id;
		s->range = range;
		s->version = txn;
		for (size_t i = 0; i < SET_RANGE_GROUPS; i++)
			map_init(&s->groups[i]);
	}
	if (txn > s->version)
		s->version = txn;
	s->groups[group % SET_RANGE_GROUPS] = *g;
	s->present |= 1u << (group % SET_RANGE_GROUPS);
	return 0;
}

static int on_inode(void *arg, const struct volume_snap_inode *in)
{
	struct scan *s = arg;
	struct set_node n = {.attr = in->attr,
			     .inline_data = in->inline_data,
			     .inline_len = in->inline_len,
			     .xattrs = in->xattrs,
			     .xattrs_len = in->xattrs_len};
	struct set_entry e = {.kind = SET_NODE, .id = in->attr.id, .version = in->txn};
	int err = end_file(s);

	if (err == 0)
		err = checkpoint(s, in->attr.id, 0);
	if (err)
		return err;
	n.in_blocks = S_ISREG(in->attr.mode) && !in->inline_data &&
		      (in->attr.size > 0 || in->attr.blocks > 0);
	n.n_mapped = n.in_blocks ? in->attr.blocks / (MAP_BLOCK / 512) : 0;
	bytes_w_reset(&s->body);
	set_node_encode(&n, &s->body);
	err = put(s, &e, 0);
	if (err == 0 && n.in_blocks && (s->since == 0 || in->attr.id >= s->since_next_id))
		err = begin_file(s, &in->attr, n.n_mapped);
	return err;
}

static int on_name(void *arg, uint64_t parent, uint64_t link, uint64_t child, uint32_t type_mode,
		   const char *name, int name_err)
{
	struct scan *s = arg;
	struct set_entry e = {.kind = SET_NAME,
			      .id = parent,
			      .link = link,
			      .child = child,
			      .type_mode = type_mode,
			      .version = s->snap->snap.txn};
	int err = end_file(s);

	if (err == 0 && name_err == -EKEYREVOKED)
		return 0; /* destroyed while this ran: it has no name any more */
	if (err == 0)
		err = name_err;
	if (err)
		return err;
	bytes_w_reset(&s->body);
	set_name_encode(name, &s->body);
	return put(s, &e, child);
}

static int on_gone(void *arg, uint64_t parent, uint64_t link, uint64_t child, bool last)
{
	struct scan *s = arg;
	struct set_entry e = {.kind = SET_GONE,
			      .flags = last ? SET_LAST : 0,
			      .id = parent,
			      .link = link,
			      .child = child};
	int err = end_file(s);

	return err ? err : put_entry(s, &e);
}

static int on_edge(void *arg, uint64_t a, uint64_t b, uint8_t kind)
{
	struct scan *s = arg;
	struct set_entry e = {.kind = SET_EDGE, .flags = kind, .id = a, .link = b};
	int err = end_file(s);

	return err ? err : put_entry(s, &e);
}

static int explain(const struct scan *s, int err, struct diag *d)
{
	if (err == -EINTR && !s->put_err)
		return diag_fail(d, DIAG_INTERRUPTED, err, "backup into %s", repo_url(s->in->repo));
	if (err == -EIO && !s->put_err)
		return diag_fail(d, DIAG_STORE_DAMAGED, err, "reading the snapshot");
	return diag_fail_errno(d, err, "backup into %s", repo_url(s->in->repo));
}

static void scan_free(struct scan *s)
{
	if (!s)
		return;
	backup_delta_free(s->delta);
	backup_lineage_free(s->lineage);
	backup_sums_free(&s->sums);
	throttle_destroy(&s->reading);
	bytes_w_free(&s->body);
	free(s->content);
	free(s);
}
CLEANUP_DEFINE(scan, struct scan *, scan_free)

int backup_scan(const struct backup_request *in, struct volume_snapshot *snap,
		const struct set_catalog *catalog, const struct set_manifest *parent,
		const struct set_progress *from, struct set_writer *w, struct diag *d)
{
	const struct volume_snap_ops ops = {
	    .inode = on_inode, .name = on_name, .map = on_map, .gone = on_gone, .edge = on_edge};
	__attribute__((cleanup(cleanup_scan))) struct scan *s = calloc(1, sizeof(*s));

	if (s) {
		throttle_init(&s->reading, in->read_rate);
		s->content = malloc(SET_RANGE);
	}
	if (s && parent)
		s->lineage = backup_lineage_new(in->volume, in->repo, catalog,
						(size_t)(parent - catalog->sets));
	if (!s || !s->content || (parent && !s->lineage))
		return diag_fail_errno(d, -ENOMEM, "backup into %s", repo_url(in->repo));
	s->in = in;
	s->snap = snap;
	s->w = w;
	s->since = parent ? parent->to_txn : 0;
	s->since_next_id = parent ? parent->next_id : 0;
	int err = volume_snapshot_scan_from(in->volume, snap, s->since, from ? from->id : 0, from ? from->group : 0,
					    &ops, s);
	if (err == 0)
		err = end_file(s);
	return err ? explain(s, err, d) : 0;
}
