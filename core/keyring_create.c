/*
 * Making a volume's keys: state, anchor, escrows, and the header last, because a store is one from
 * its header on.
 *
 * A failure takes away what was made. A crash leaves files that no header points to; the anchor
 * among them stops the next attempt, which is right, because nobody can tell that it is not a
 * volume's.
 */
#include "core/keyring_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "core/durable.h"

/* A volume in the making, and what of it lies on media already. */
struct making {
	const struct keyring_init *in;
	int store_fd, keys_fd;
	struct header *header;
	struct secret *vk;
	struct anchor_state *at; /* guarded */
	struct keyring_state *state;
	struct anchor *anchor;
	bool made_state, made_anchor, made_header;
	size_t n_made_escrows; /* of state->escrows */
};

static void making_free(struct making *m)
{
	anchor_close(m->anchor);
	keyring_state_free(m->state);
	secret_slab_free(m->at);
	secret_free(m->vk);
	free(m->header);
	cleanup_fd(&m->keys_fd);
	cleanup_fd(&m->store_fd);
}

static void making_undo(struct making *m)
{
	/* First, so that no header is ever left that points to what is gone. */
	if (m->made_header) {
		durable_unlink(m->store_fd, "header");
		durable_unlink(m->store_fd, "header.bak");
	}
	for (size_t i = 0; i < m->n_made_escrows; i++)
		escrow_destroy(m->state->escrows[i], m->in->volume_id);
	if (m->made_anchor)
		anchor_destroy(m->in->anchor);
	if (m->made_state)
		keyring_file_remove(m->keys_fd, m->state->generation);
}

static int init_check(const struct keyring_init *in, struct diag *d)
{
	const char *const forbidden[] = {in->store};

	if (!identity_name_valid(in->name))
		return diag_fail(d, DIAG_USAGE, -EINVAL, "volume name");
	if (!in->passphrase && in->n_slot_cards == 0)
		return diag_fail(d, DIAG_USAGE, -EINVAL, "%s: no unlock slot", in->name);
	if (in->n_recipients > ESCROW_RECIPIENTS_MAX || in->n_escrows > KEYRING_ESCROWS_MAX)
		return diag_fail(d, DIAG_USAGE, -E2BIG, "%s: escrows", in->name);
	if (in->n_escrows > 0 && in->n_recipients == 0)
		return diag_fail(d, DIAG_USAGE, -EINVAL, "%s: escrows without recipient", in->name);
	for (size_t i = 0; i < in->n_escrows; i++) {
		int r = escrow_place_check(in->escrows[i], forbidden, 1, d);

		if (r < 0)
			return r;
	}
	return 0;
}

static int store_open(struct making *m, struct diag *d)
{
	const char *store = m->in->store;
	struct stat st;
	int r;

	m->store_fd = open(store, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (m->store_fd < 0)
		return diag_fail_errno(d, -errno, "%s", store);
	if (fstatat(m->store_fd, "header", &st, 0) == 0 ||
	    fstatat(m->store_fd, "header.bak", &st, 0) == 0)
		return diag_fail(d, DIAG_STORE_EXISTS, -EEXIST, "%s", store);
	r = durable_mkdir(m->store_fd, KEYRING_KEYS_DIR, 0700);
	if (r < 0)
		return diag_fail_errno(d, r, "%s/" KEYRING_KEYS_DIR, store);
	m->keys_fd = openat(m->store_fd, KEYRING_KEYS_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (m->keys_fd < 0)
		return diag_fail_errno(d, -errno, "%s/" KEYRING_KEYS_DIR, store);
	return 0;
}

/* --- in memory --- */

static int slots_make(struct making *m, struct diag *d)
{
	const struct keyring_init *in = m->in;
	const struct header_unlock with = {.passphrase = in->passphrase};
	const char *label = in->slot_label ? in->slot_label : "passphrase";
	int r = 0;

	if (in->passphrase)
		r = header_slot_add(m->header, secret_bytes(m->vk), label, &with, NULL,
				    in->cheap_passphrase, d);
	for (size_t i = 0; i < in->n_slot_cards && r == 0; i++)
		r = header_slot_add(m->header, secret_bytes(m->vk), in->slot_cards[i].name, NULL,
				    in->slot_cards[i].seal_pk, false, d);
	return r;
}

static int header_make(struct making *m, struct diag *d)
{
	const struct keyring_init *in = m->in;
	struct header *h = m->header = calloc(1, sizeof(*h));

	m->vk = secret_new(KDF_KEY_LEN);
	if (!h || !m->vk)
		return diag_fail_errno(d, -ENOMEM, "guarded memory");
	kdf_random(secret_bytes(m->vk), KDF_KEY_LEN);
	memcpy(h->volume_id, in->volume_id, HEADER_ID_LEN);
	strcpy(h->name, in->name);
	h->suite = suite_id(in->suite);
	header_vk_commit(secret_bytes(m->vk), h->vk_commit);
	identity_sign_pk_from_seed(in->sign_seed, h->sign_pk);
	memcpy(h->charter_first, in->charter_first, sizeof(h->charter_first));
	h->created = (int64_t)time(NULL);
	return slots_make(m, d);
}

static int state_make(struct making *m, struct diag *d)
{
	const struct keyring_init *in = m->in;
	struct keyring_state *st = m->state = keyring_state_new();
	int r = st ? 0 : -ENOMEM;

	if (r == 0) {
		st->generation = 1;
		memcpy(st->volume_id, in->volume_id, HEADER_ID_LEN);
		st->suite = suite_id(in->suite);
		st->created = m->header->created;
		memcpy(keyring_state_seed(st), in->sign_seed, KDF_KEY_LEN);
		for (int e = 0; e < KEYRING_N_EPOCH; e++)
			kdf_random(keyring_state_epoch(st, e), KDF_KEY_LEN);
		for (size_t i = 0; i < in->n_recipients; i++)
			st->recipients[st->n_recipients++] = in->recipients[i];
		for (int t = 0; t < KEYRING_N_TREES && r == 0; t++) {
			st->trees[t] = keytree_new();
			r = st->trees[t] ? 0 : -ENOMEM;
		}
	}
	m->at = secret_slab_new(sizeof(*m->at));
	if (r < 0 || !m->at)
		return diag_fail_errno(d, -ENOMEM, "guarded memory");
	m->at->generation = st->generation;
	kdf_random(m->at->tk, KDF_KEY_LEN);
	m->at->id_floor = in->first_id;
	memcpy(m->at->charter_head, in->charter_first, sizeof(m->at->charter_head));
	/* The root of an empty log, RFC 6962. */
	kdf_sha256(m->at->trail_root, "", 0);
	return 0;
}

/* --- on media --- */

static int real_path(const char *dir, char out[HEADER_PATH_MAX + 1], struct diag *d)
{
	char path[PATH_MAX];

	if (!realpath(dir, path))
		return diag_fail_errno(d, -errno, "%s", dir);
	if (strlen(path) > HEADER_PATH_MAX)
		return diag_fail_errno(d, -ENAMETOOLONG, "%s", dir);
	strcpy(out, path);
	return 0;
}

/* Empty escrow files first, because their real paths belong into the state. */
static int escrows_create(struct making *m, struct diag *d)
{
	for (size_t i = 0; i < m->in->n_escrows; i++) {
		char path[HEADER_PATH_MAX + 1];
		int r = escrow_create(m->in->escrows[i], m->in->volume_id, d);

		if (r == 0)
			r = real_path(m->in->escrows[i], path, d);
		if (r < 0)
			return r;
		r = keyring_state_add_escrow(m->state, path);
		if (r < 0)
			return diag_fail_errno(d, r, "escrow %s", path);
		m->n_made_escrows = m->state->n_escrows;
	}
	return 0;
}

static int state_write(struct making *m, struct diag *d)
{
	int r;

	m->made_state = true;
	r = keyring_file_write(m->keys_fd, m->state, m->at->tk);
	return r < 0 ? diag_fail_errno(d, r, "%s/" KEYRING_KEYS_DIR, m->in->store) : 0;
}

static int anchor_make(struct making *m, struct diag *d)
{
	int r = anchor_create(m->in->anchor, m->in->volume_id, d);

	if (r < 0)
		return r;
	m->made_anchor = true;
	r = real_path(m->in->anchor, m->header->anchor, d);
	if (r == 0)
		r = anchor_open(m->header->anchor, m->in->volume_id, secret_bytes(m->vk),
				&m->anchor, d);
	if (r < 0)
		return r;
	r = anchor_put_both(m->anchor, m->at);
	return r < 0 ? diag_fail_errno(d, r, "anchor %s", m->in->anchor) : 0;
}

static int escrows_write(struct making *m, struct diag *d)
{
	struct escrow_content c = {0};
	int r = keyring_state_encode(m->state, &c.state, &c.state_len);

	if (r < 0)
		return diag_fail_errno(d, r, "escrow");
	memcpy(c.volume_id, m->in->volume_id, sizeof(c.volume_id));
	strcpy(c.name, m->in->name);
	memcpy(c.vk, secret_bytes(m->vk), sizeof(c.vk));
	memcpy(c.charter_first, m->in->charter_first, sizeof(c.charter_first));
	c.anchor = *m->at;
	for (size_t i = 0; i < m->state->n_escrows && r == 0; i++)
		r = escrow_write(m->state->escrows[i], &c, m->in->sign_seed, m->state->recipients,
				 m->state->n_recipients, d);
	escrow_content_wipe(&c);
	return r;
}

int keyring_create(const struct keyring_init *in, struct diag *d)
{
	CLEANUP_WITH(making_free)
	struct making m = {.in = in, .store_fd = -1, .keys_fd = -1};
	int r = init_check(in, d);

	if (r == 0)
		r = store_open(&m, d);
	if (r == 0)
		r = header_make(&m, d);
	if (r == 0)
		r = state_make(&m, d);
	if (r == 0)
		r = escrows_create(&m, d);
	if (r == 0)
		r = state_write(&m, d);
	if (r == 0)
		r = anchor_make(&m, d);
	if (r == 0)
		r = escrows_write(&m, d);
	if (r == 0) {
		m.made_header = true;
		r = header_write(m.store_fd, m.header, in->sign_seed, d);
	}
	if (r < 0)
		making_undo(&m);
	return r;
}
