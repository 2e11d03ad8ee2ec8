/* See proof.h. */
#include "backup/proof.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backup/set_internal.h"
#include "core/cleanup.h"
#include "core/note.h"

#define VERSION 1

static const struct {
	const char *type, *folder;
} kinds[] = {
    [PROOF_DRILL] = {"drill", "drills/"},
    [PROOF_VERIFY] = {"verify", "verified/"},
};

/* --- the note --- */

static bool share_valid(const struct proof *p)
{
	return p->kind == PROOF_VERIFY ? p->percent >= 1 && p->percent <= 100 : p->percent == 0;
}

static int body(const struct proof *p, const uint8_t volume_id[16], char **ret)
{
	CLEANUP_BYTES struct bytes_w w = {0};

	if (!share_valid(p))
		return -EINVAL;
	note_begin(&w, kinds[p->kind].type, VERSION);
	note_put_hex(&w, "volume", volume_id, 16);
	note_put(&w, "id", p->id);
	note_put_time(&w, "time", p->time);
	note_put(&w, "set", p->set);
	note_put_u64(&w, "sets", p->n_sets);
	if (p->kind == PROOF_VERIFY)
		note_put_u64(&w, "percent", p->percent);
	note_put_u64(&w, "checked", p->n_checked);
	note_put_u64(&w, "bytes", p->n_bytes);
	note_put_u64(&w, "live", p->n_live);
	note_put_u64(&w, "destroyed", p->n_destroyed);
	note_put_u64(&w, "bad", p->n_bad);
	if (p->n_bad)
		note_put(&w, "first-bad", p->first_bad);
	return note_end(&w, ret);
}

int proof_build(const struct proof *p, const uint8_t volume_id[16], const uint8_t sign_seed[32],
		char **ret_text)
{
	CLEANUP_FREE char *text = NULL;
	int err = body(p, volume_id, &text);

	return err ? err : note_sign_volume(text, volume_id, sign_seed, ret_text);
}

static int read_fields(const struct note *n, struct proof *p)
{
	uint64_t percent = 0;

	if (note_get_text(n, "id", p->id, sizeof(p->id)) || !set_id_valid(p->id) ||
	    note_get_text(n, "set", p->set, sizeof(p->set)) || (*p->set && !set_id_valid(p->set)) ||
	    note_get_time(n, "time", &p->time) || note_get_u64(n, "sets", &p->n_sets) ||
	    note_get_u64(n, "checked", &p->n_checked) || note_get_u64(n, "bytes", &p->n_bytes) ||
	    note_get_u64(n, "live", &p->n_live) || note_get_u64(n, "destroyed", &p->n_destroyed) ||
	    note_get_u64(n, "bad", &p->n_bad) ||
	    (p->kind == PROOF_VERIFY && (note_get_u64(n, "percent", &percent) || percent > 100)))
		return -EUCLEAN;
	p->percent = (unsigned)percent;
	if (!share_valid(p))
		return -EUCLEAN;
	return p->n_bad ? note_get_text(n, "first-bad", p->first_bad, sizeof(p->first_bad)) : 0;
}

int proof_parse(const char *text, enum proof_kind kind, const uint8_t volume_id[16],
		const uint8_t sign_pk[32], struct proof *ret)
{
	CLEANUP_NOTE struct note n = {0};
	CLEANUP_FREE char *again = NULL;
	struct proof p = {.kind = kind};
	int err = note_open_volume(text, volume_id, sign_pk, kinds[kind].type, VERSION, &n);

	if (err == 0)
		err = read_fields(&n, &p);
	if (err == 0)
		err = body(&p, volume_id, &again);
	if (err == 0 && !note_body_is(text, again))
		err = -EUCLEAN;
	if (err == 0)
		*ret = p;
	return err;
}

/* --- in the repository --- */

static void object_name(enum proof_kind kind, const char *id, char out[SET_NAME_LEN])
{
	snprintf(out, SET_NAME_LEN, "%s%s", kinds[kind].folder, id);
}

int proof_put(struct repo *r, const uint8_t volume_id[16], const uint8_t sign_seed[32],
	      struct proof *io, struct diag *d)
{
	CLEANUP_FREE char *text = NULL;
	char name[SET_NAME_LEN];

	set_id_new(io->time, io->id);
	object_name(io->kind, io->id, name);
	int err = proof_build(io, volume_id, sign_seed, &text);
	if (err == 0)
		err = repo_put_new(r, name, text, strlen(text));
	return err ? diag_fail_errno(d, err, "%s/%s", repo_url(r), name) : 0;
}

static int load(struct repo *r, enum proof_kind kind, const char *id, const uint8_t volume_id[16],
		const uint8_t sign_pk[32], struct proof *ret)
{
	CLEANUP_FREE char *text = NULL;
	char name[SET_NAME_LEN];
	struct proof p;

	object_name(kind, id, name);
	int err = repo_get_note(r, name, &text);
	if (err == 0)
		err = proof_parse(text, kind, volume_id, sign_pk, &p);
	if (err == 0 && strcmp(p.id, id) != 0) /* an old one put in a newer one's place */
		err = -EBADMSG;
	if (err == 0)
		*ret = p;
	return err;
}

int proof_last(struct repo *r, enum proof_kind kind, bool passed, const uint8_t volume_id[16],
	       const uint8_t sign_pk[32], struct proof *ret)
{
	char **ids = NULL;
	struct proof p;
	size_t n = 0;
	int err = repo_list(r, kinds[kind].folder, &ids, &n), found = -ENOENT;

	for (size_t i = n; err == 0 && found && i-- > 0;) {
		if (!set_id_valid(ids[i]) || load(r, kind, ids[i], volume_id, sign_pk, &p) != 0 ||
		    (passed && p.n_bad))
			continue;
		*ret = p;
		found = 0;
	}
	repo_list_free(ids, n);
	return err ? err : found;
}
