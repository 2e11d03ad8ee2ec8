/* See medium.h. */
#include "backup/medium.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backup/set_internal.h"
#include "core/cleanup.h"
#include "core/kdf.h"
#include "core/note.h"

#define TYPE "medium"
#define VERSION 1
#define FOLDER "media/"

void medium_free(struct medium *m)
{
	free(m->sets);
	m->sets = NULL;
	m->n_sets = 0;
}

bool medium_label_valid(const char *label)
{
	size_t n = strlen(label);

	return n > 0 && n <= CONF_NAME_MAX && !strchr(label, '/') && note_value_valid(label, n);
}

bool medium_has_set(const struct medium *m, const char *id)
{
	for (size_t i = 0; i < m->n_sets; i++)
		if (!strcmp(m->sets[i], id))
			return true;
	return false;
}

void medium_digest(const struct set_manifest *const *sets, size_t n, uint8_t ret[32])
{
	struct kdf_hash_state st;

	kdf_hash_init(&st);
	for (size_t i = 0; i < n; i++) {
		kdf_hash_update(&st, sets[i]->index.digest, 32);
		kdf_hash_update(&st, sets[i]->pack_table.digest, 32);
	}
	kdf_hash_final(&st, ret);
}

/* --- the note --- */

static int body(const struct medium *m, const uint8_t volume_id[16], char **ret)
{
	CLEANUP_BYTES struct bytes_w w = {0};

	if (!medium_label_valid(m->label) || m->kept == CONF_KEPT_UNSAID || m->n_sets > MEDIUM_SETS_MAX)
		return -EINVAL;
	for (size_t i = 0; i < m->n_sets; i++)
		if (!set_id_valid(m->sets[i]))
			return -EINVAL;
	note_begin(&w, TYPE, VERSION);
	note_put_hex(&w, "volume", volume_id, 16);
	note_put(&w, "id", m->id);
	note_put_time(&w, "time", m->time);
	note_put(&w, "label", m->label);
	note_put_u64(&w, "number", m->number);
	note_put(&w, "kept", conf_kept_name(m->kept));
	note_put(&w, "state", m->forgotten ? "forgotten" : "present");
	note_put(&w, "by", m->by);
	note_put(&w, "reason", m->reason);
	note_put_u64(&w, "bytes", m->n_bytes);
	note_put_hex(&w, "digest", m->digest, 32);
	for (size_t i = 0; i < m->n_sets; i++)
		note_put(&w, "set", m->sets[i]);
	return note_end(&w, ret);
}

int medium_build(const struct medium *m, const uint8_t volume_id[16], const uint8_t sign_seed[32],
		 char **ret_text)
{
	CLEANUP_FREE char *text = NULL;
	int err = body(m, volume_id, &text);

	return err ? err : note_sign_volume(text, volume_id, sign_seed, ret_text);
}

static int read_sets(const struct note *n, struct medium *m)
{
	size_t count = 0;

	while (note_get_nth(n, "set", count))
		count++;
	if (count > MEDIUM_SETS_MAX)
		return -EUCLEAN;
	m->sets = calloc(count + 1, sizeof(*m->sets));
	if (!m->sets)
		return -ENOMEM;
	for (; m->n_sets < count; m->n_sets++) {
		const char *id = note_get_nth(n, "set", m->n_sets);

		if (!set_id_valid(id))
			return -EUCLEAN;
		strcpy(m->sets[m->n_sets], id);
	}
	return 0;
}

/* A word that is neither of the two does not come back the same, and is found so. */
static int read_fields(const struct note *n, struct medium *m)
{
	char kept[16], state[16];

	if (note_get_text(n, "id", m->id, sizeof(m->id)) || !set_id_valid(m->id) ||
	    note_get_time(n, "time", &m->time) || note_get_text(n, "label", m->label, sizeof(m->label)) ||
	    note_get_text(n, "kept", kept, sizeof(kept)) || note_get_text(n, "state", state, sizeof(state)) ||
	    note_get_text(n, "by", m->by, sizeof(m->by)) ||
	    note_get_text(n, "reason", m->reason, sizeof(m->reason)) ||
	    note_get_u64(n, "number", &m->number) || note_get_u64(n, "bytes", &m->n_bytes) || note_get_hex(n, "digest", m->digest, 32))
		return -EUCLEAN;
	m->kept = strcmp(kept, "platform") ? CONF_KEPT_DEPARTMENT : CONF_KEPT_PLATFORM;
	m->forgotten = !strcmp(state, "forgotten");
	return read_sets(n, m);
}

int medium_parse(const char *text, const uint8_t volume_id[16], const uint8_t sign_pk[32],
		 struct medium *ret)
{
	CLEANUP_NOTE struct note n = {0};
	CLEANUP_FREE char *again = NULL;
	CLEANUP_WITH(medium_free) struct medium m = {0};
	int err = note_open_volume(text, volume_id, sign_pk, TYPE, VERSION, &n);

	if (err == 0)
		err = read_fields(&n, &m);
	if (err == 0)
		err = body(&m, volume_id, &again);
	if (err == -EINVAL || (err == 0 && !note_body_is(text, again)))
		err = -EUCLEAN;
	if (err)
		return err;
	*ret = m;
	m = (struct medium){0};
	return 0;
}

/* --- the register --- */

static int load(struct repo *r, const char *name, const uint8_t volume_id[16],
		const uint8_t sign_pk[32], struct medium *ret)
{
	CLEANUP_FREE char *text = NULL;
	int err = repo_get_note(r, name, &text);

	return err ? err : medium_parse(text, volume_id, sign_pk, ret);
}

int medium_read(struct repo *r, const uint8_t volume_id[16], const uint8_t sign_pk[32],
		struct medium *ret)
{
	int err = load(r, MEDIUM_OBJECT, volume_id, sign_pk, ret);

	return err == -ENOENT ? err : set_damage(err);
}

void medium_list_free(struct medium *m, size_t n)
{
	for (size_t i = 0; m && i < n; i++)
		medium_free(&m[i]);
	free(m);
}

static int by_label(const void *a, const void *b)
{
	return strcmp(((const struct medium *)a)->label, ((const struct medium *)b)->label);
}

/* Takes m over. Of one label the later entry stays; two of one number were entered at once. */
static void enter(struct medium *list, size_t *io_n, struct medium *m)
{
	for (size_t i = 0; i < *io_n; i++) {
		if (strcmp(list[i].label, m->label) != 0)
			continue;
		bool later = m->number != list[i].number ? m->number > list[i].number
							 : strcmp(m->id, list[i].id) > 0;
		medium_free(later ? &list[i] : m);
		if (later)
			list[i] = *m;
		return;
	}
	list[(*io_n)++] = *m;
}

int medium_list(struct repo *r, const uint8_t volume_id[16], const uint8_t sign_pk[32],
		struct medium **ret, size_t *ret_n, size_t *ret_n_bad, struct diag *d)
{
	struct medium *list = NULL;
	char **ids = NULL, name[SET_NAME_LEN];
	size_t n = 0, n_list = 0, n_bad = 0;
	int err = repo_list(r, FOLDER, &ids, &n);

	if (err == 0) {
		list = calloc(n + 1, sizeof(*list));
		err = list ? 0 : -ENOMEM;
	}
	for (size_t i = 0; err == 0 && i < n; i++) {
		struct medium m = {0};

		if (!set_id_valid(ids[i]))
			continue;
		snprintf(name, sizeof(name), FOLDER "%s", ids[i]);
		int one = load(r, name, volume_id, sign_pk, &m);
		if (one == -ENOMEM)
			err = one;
		if (one == 0 && strcmp(m.id, ids[i]) == 0) {
			enter(list, &n_list, &m);
		} else {
			medium_free(&m);
			n_bad++;
		}
	}
	repo_list_free(ids, n);
	if (err) {
		medium_list_free(list, n_list);
		return diag_fail_errno(d, err, "%s/" FOLDER, repo_url(r));
	}
	if (n_list)
		qsort(list, n_list, sizeof(*list), by_label);
	*ret = list;
	*ret_n = n_list;
	*ret_n_bad = n_bad;
	return 0;
}

static int next_number(struct repo *r, const uint8_t volume_id[16], const uint8_t sign_seed[32],
		       struct medium *m, struct diag *d)
{
	uint8_t pk[IDENTITY_KEY_LEN];
	struct medium *list = NULL;
	size_t n = 0, n_bad;

	identity_sign_pk_from_seed(sign_seed, pk);
	int err = medium_list(r, volume_id, pk, &list, &n, &n_bad, d);
	m->number = 1;
	for (size_t i = 0; i < n; i++)
		if (!strcmp(list[i].label, m->label))
			m->number = list[i].number + 1;
	medium_list_free(list, n);
	return err;
}

int medium_put(struct repo *r, const uint8_t volume_id[16], const uint8_t sign_seed[32],
	       struct medium *io, char **ret_text, struct diag *d)
{
	CLEANUP_FREE char *text = NULL;
	char name[SET_NAME_LEN];

	int err = next_number(r, volume_id, sign_seed, io, d);
	if (err)
		return err;
	set_id_new(io->time, io->id);
	snprintf(name, sizeof(name), FOLDER "%s", io->id);
	err = medium_build(io, volume_id, sign_seed, &text);
	if (err == 0)
		err = repo_put_new(r, name, text, strlen(text));
	if (err)
		return diag_fail_errno(d, err, "%s/%s", repo_url(r), name);
	if (ret_text)
		*ret_text = STEAL_PTR(text);
	return 0;
}
