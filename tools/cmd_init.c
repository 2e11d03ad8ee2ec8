/*
 * coffer init: a new volume, from its charter to its first trail record.
 *
 * Everything is checked before anything is written. The store folder must be new or empty; when a later step fails,
 * what was made in it is removed again, with the anchor, so that init can simply be repeated.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "backup/hold.h"
#include "backup/repo.h"
#include "core/charter.h"
#include "core/cleanup.h"
#include "core/conf.h"
#include "core/durable.h"
#include "core/escrow.h"
#include "core/note.h"
#include "core/trail.h"
#include "fs/volume.h"
#include "tools/charter_copy.h"
#include "tools/cmd_init.h"

static const char usage[] =
	"usage: coffer init STORE --name NAME --owner CARD --security CARD .. --identity FILE [options]\n\n"
	"Makes a volume: STORE holds its ciphertext, the anchor its tree key, the escrows what a lost disk needs.\n\n"
	"  --name NAME              the volume's name\n"
	"  --owner CARD[,uid=N]     a member with this role, by card (FILE.card of `coffer id new`); repeatable\n"
	"  --security CARD[,uid=N]  security administrator        --operator CARD[,uid=N]\n"
	"  --auditor CARD[,uid=N]   --custodian CARD              the other roles\n"
	"  --quorum ACTION=ROLES    who must agree, as in destroy=owner+security; the same for hold-release\n"
	"                           when they are left out\n"
	"  --identity FILE          the founding owner's identity, which signs the charter\n"
	"  --identity-passphrase-file FILE\n"
	"  --passphrase-file FILE   the passphrase that will unlock the volume; otherwise asked for, twice\n"
	"  --anchor DIR             erasable place for the tree key, outside STORE (default /var/lib/coffer/anchor/ID)\n"
	"  --anchor-in-store        puts it into STORE: a copy of the store then undoes destructions, and an older one is not noticed\n"
	"  --escrow DIR             existing erasable place for recovery, on another disk or host; repeatable; at least one,\n"
	"  --no-escrow              or say that losing the anchor may lose the volume\n"
	"  --recovery CARD          who can open an escrow (default: every owner and custodian); repeatable\n"
	"  --repo DIR|URL           backup repository: a folder, or S3 as s3+https://HOST/BUCKET/PREFIX; repeatable\n"
	"  --suite S                aes256gcm or xchacha20poly1305 (default: the fastest here), or aegis256, for which\n"
	"                           libsodium 1.0.19 or newer is needed wherever the volume is opened\n"
	"  --kdf-floor              lowest allowed cost for the passphrase (Argon2id 64 MiB), for tests and demonstrations\n"
	"  --json\n";

/* --- checks and preparation, before anything is written --- */

static int store_is_free(struct init *in, struct diag *d)
{
	CLEANUP_DIR DIR *dir = opendir(in->store);
	struct dirent *de;

	if (!dir)
		return errno == ENOENT ? 0 : diag_fail_errno(d, -errno, "%s", in->store);
	while ((de = readdir(dir)))
		if (strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0 &&
		    strcmp(de->d_name, "lost+found") != 0)
			return diag_fail(d, DIAG_STORE_EXISTS, -EEXIST, "%s", in->store);
	return 0;
}

static void default_quorum(struct init *in, const char *action)
{
	struct charter *c = &in->charter;

	if (!charter_quorum(c, action) && c->n_quorums < CHARTER_QUORUMS_MAX) {
		struct charter_quorum *q = &c->quorums[c->n_quorums++];

		snprintf(q->action, sizeof(q->action), "%s", action);
		q->roles = CHARTER_OWNER | CHARTER_SECURITY;
	}
}

static void default_quorum_and_recovery(struct init *in)
{
	default_quorum(in, "destroy");
	default_quorum(in, HOLD_ACTION);
	if (in->n_recipients)
		return;
	for (size_t i = 0; i < in->charter.n_members && in->n_recipients < ESCROW_RECIPIENTS_MAX; i++)
		if (in->charter.members[i].roles & (CHARTER_OWNER | CHARTER_CUSTODIAN))
			in->recipients[in->n_recipients++] = in->charter.members[i].card;
}

static int secrets(struct init *in, struct diag *d)
{
	struct secret **pass = &in->secrets.passphrase;
	int err = cli_identity_get(&in->secrets, d);

	if (err)
		return err;
	err = in->secrets.passphrase_file ? secret_from_file(in->secrets.passphrase_file, pass)
					  : secret_prompt("New passphrase of the volume: ", 1, pass);
	if (err)
		return diag_fail(d, DIAG_SECRET_FILE, err, "%s",
				 in->secrets.passphrase_file ? in->secrets.passphrase_file : "passphrase");
	CLEANUP_FREE struct header *h = calloc(1, sizeof(*h));
	if (!h)
		return diag_fail_errno(d, -ENOMEM, "%s", in->store);
	snprintf(h->name, sizeof(h->name), "%s", in->name);
	return header_passphrase_rules(h, *pass, d);
}

/* Signed by the founding owner and by the volume: the digest is the volume's fingerprint. */
static int make_charter(struct init *in, char **ret, struct diag *d)
{
	CLEANUP_FREE char *body = NULL, *signed_once = NULL;
	char key_name[NOTE_KEY_NAME_MAX + 1];

	kdf_random(in->volume_id, sizeof(in->volume_id));
	in->sign_seed = secret_new(32);
	if (!in->sign_seed)
		return diag_fail_errno(d, -ENOMEM, "%s", in->store);
	kdf_random(secret_bytes(in->sign_seed), 32);
	memcpy(in->charter.volume_id, in->volume_id, 16);
	identity_sign_pk_from_seed(secret_bytes(in->sign_seed), in->charter.sign_pk);
	in->charter.number = 1;
	in->charter.created = time(NULL);
	const struct charter_member *m =
		charter_find_key(&in->charter, identity_card(in->secrets.identity)->sign_pk);
	if (!m || !(m->roles & CHARTER_OWNER))
		return diag_fail(d, DIAG_ROLE, -EPERM, "%s founds the volume and must be one of its owners",
				 in->secrets.identity_file);
	int err = charter_build(&in->charter, &body, d);
	if (err)
		return err;
	note_volume_key_name(in->volume_id, key_name);
	err = note_sign(body, in->secrets.identity, &signed_once);
	if (err == 0)
		err = note_cosign_seed(signed_once, key_name, secret_bytes(in->sign_seed), ret);
	return err ? diag_fail_errno(d, err, "signing the charter") : 0;
}

static int places(struct init *in, struct diag *d)
{
	const char *forbidden[CONF_REPOSITORIES_MAX + 1] = {in->store_path};
	char hex[33];

	bytes_hex(hex, in->volume_id, 16);
	if (in->anchor_in_store)
		snprintf(in->anchor_path, sizeof(in->anchor_path), "%.4000s/anchor", in->store_path);
	else if (!in->anchor)
		snprintf(in->anchor_path, sizeof(in->anchor_path), "/var/lib/coffer/anchor/%s", hex);
	else if (*in->anchor == '/')
		snprintf(in->anchor_path, sizeof(in->anchor_path), "%s", in->anchor);
	else {
		char cwd[PATH_MAX / 2];
		if (!getcwd(cwd, sizeof(cwd)))
			return diag_fail_errno(d, -errno, "%s", in->anchor);
		snprintf(in->anchor_path, sizeof(in->anchor_path), "%s/%.2000s", cwd, in->anchor);
	}
	for (size_t i = 0; i < in->conf.n_repositories; i++)
		forbidden[i + 1] = in->conf.repositories[i].url;
	for (size_t i = 0; i < in->n_escrows; i++) {
		/* Made anew it would lie on the disk under the place where a medium is to be attached. */
		if (access(in->escrows[i], F_OK) != 0)
			return diag_fail(d, DIAG_ESCROW, -errno, "%s", in->escrows[i]);
		int err = escrow_place_check(in->escrows[i], forbidden, in->conf.n_repositories + 1, d);
		if (err)
			return err;
	}
	return 0;
}

/* --- writing --- */

static int make_parents(const char *path)
{
	char p[PATH_MAX];

	snprintf(p, sizeof(p), "%s", path);
	for (char *s = p + 1; (s = strchr(s, '/')); s++) {
		*s = 0;
		bool made = mkdir(p, 0700) == 0;
		if (!made && errno != EEXIST)
			return -errno;
		int err = made ? durable_mkdir(AT_FDCWD, p, 0700) : 0;
		if (err)
			return err;
		*s = '/';
	}
	return 0;
}

static int create_keys(struct init *in, struct diag *d)
{
	CLEANUP_FREE struct identity_card *cards = NULL;
	size_t n = 0;

	cards = calloc(in->charter.n_members + 1, sizeof(*cards));
	if (!cards)
		return diag_fail_errno(d, -ENOMEM, "%s", in->store);
	/* Owners can unlock with their identity; nobody else gets a slot. */
	for (size_t i = 0; i < in->charter.n_members; i++)
		if (in->charter.members[i].roles & CHARTER_OWNER)
			cards[n++] = in->charter.members[i].card;
	struct keyring_init k = {.store = in->store_path, .anchor = in->anchor_path, .name = in->name,
				 .suite = in->suite, .charter_first = in->charter.digest,
				 .escrows = in->escrows, .n_escrows = in->n_escrows,
				 .recipients = in->recipients, .n_recipients = in->n_recipients,
				 .first_id = VOLUME_FIRST_ID, .slot_label = "passphrase",
				 .passphrase = in->secrets.passphrase, .cheap_passphrase = in->cheap,
				 .slot_cards = cards, .n_slot_cards = n, .volume_id = in->volume_id,
				 .sign_seed = secret_bytes(in->sign_seed)};
	int err = make_parents(in->anchor_path);
	return err ? diag_fail_errno(d, err, "%s", in->anchor_path) : keyring_create(&k, d);
}

static int first_record(struct init *in, int store_fd, struct keyring *kr, struct diag *d)
{
	struct trail_event ev = {.uid = (uint32_t)getuid(), .pid = (uint32_t)getpid()};
	struct keyring_fresh fresh;
	struct trail *t;
	struct trail_head head;

	int err = trail_create(store_fd, kr, d);
	if (err == 0)
		err = trail_open(store_fd, kr, NULL, &t, d);
	if (err)
		return err;
	strcpy(ev.operation, "init");
	strcpy(ev.result, "ok");
	snprintf(ev.member, sizeof(ev.member), "%s", identity_card(in->secrets.identity)->name);
	snprintf(ev.object, sizeof(ev.object), "volume %s", in->name);
	err = trail_append(t, &ev, true);
	if (err == 0)
		err = trail_checkpoint(t, &head, NULL);
	trail_close(t);
	if (err)
		return diag_fail(d, DIAG_TRAIL, err, "%s", in->store);
	keyring_fresh_get(kr, &fresh);
	memcpy(fresh.charter_head, in->charter.digest, 32);
	fresh.trail_size = head.size;
	memcpy(fresh.trail_root, head.root, 32);
	err = keyring_fresh_put(kr, &fresh);
	return err ? diag_fail_errno(d, err, "%s", in->anchor_path) : 0;
}

/* With the charter: a recovery from it needs to know the members. */
static int create_repository(struct init *in, const char *url, int store_fd, struct diag *d)
{
	struct repo *r;
	int err = repo_create(url, in->volume_id, secret_bytes(in->sign_seed), d);

	if (err == 0)
		err = repo_open(url, in->volume_id, in->charter.sign_pk, &r, d);
	if (err)
		return err;
	err = charter_copy_put(store_fd, in->charter.number, r, d);
	repo_close(r);
	return err;
}

static int fill(struct init *in, int store_fd, const char *charter, struct diag *d)
{
	struct header_unlock with = {.passphrase = in->secrets.passphrase};
	char path[PATH_MAX + 8];
	struct keyring *kr;

	snprintf(path, sizeof(path), "%s/anchor", in->anchor_path);
	if (access(path, F_OK) == 0)
		return diag_fail(d, DIAG_EXISTS, -EEXIST, "%s, an anchor", path);
	in->begun = true;
	int err = create_keys(in, d);
	if (err == 0)
		err = charter_store(store_fd, &in->charter, charter, d);
	if (err == 0)
		err = keyring_open(in->store_path, &with, 0, &kr, d);
	if (err)
		return err;
	struct volume_config cfg = {.store = in->store_path, .kr = kr};
	err = volume_create(&cfg, (uint32_t)getuid(), (uint32_t)getgid(), d);
	if (err == 0)
		err = first_record(in, store_fd, kr, d);
	if (in->conf.n_repositories)
		conf_default_schedule(&in->conf);
	if (err == 0)
		err = conf_write(store_fd, &in->conf, d);
	for (size_t i = 0; err == 0 && i < in->conf.n_repositories; i++)
		err = create_repository(in, in->conf.repositories[i].url, store_fd, d);
	keyring_close(kr);
	return err;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *f)
{
	(void)st, (void)type;
	return f->level == 0 ? 0 : remove(path);
}

static void undo(struct init *in)
{
	char path[PATH_MAX + 8], id[33];

	nftw(in->store_path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
	if (in->made_store)
		rmdir(in->store_path);
	if (!in->begun)
		return;
	snprintf(path, sizeof(path), "%s/anchor", in->anchor_path);
	unlink(path);
	rmdir(in->anchor_path);
	bytes_hex(id, in->volume_id, 16);
	for (size_t i = 0; i < in->n_escrows; i++) {
		snprintf(path, sizeof(path), "%.4000s/%s.escrow", in->escrows[i], id);
		unlink(path);
	}
}

static void report(const struct init *in)
{
	char id[33], fingerprint[65], medium[256], place[PATH_MAX];

	bytes_hex(id, in->volume_id, 16);
	bytes_hex(fingerprint, in->charter.digest, 32);
	anchor_medium(in->anchor_path, medium, sizeof(medium));
	if (in->json) {
		cli_json(json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "name", in->name, "volume", id, "store",
				   in->store_path, "anchor", in->anchor_path, "medium", medium, "suite",
				   suite_name(in->suite), "charter", fingerprint));
		return;
	}
	printf("volume    %s (%s)\nstore     %s\nanchor    %s\n          %s\n", in->name, id, in->store_path,
	       in->anchor_path, medium);
	for (size_t i = 0; i < in->n_escrows; i++)
		printf("escrow    %s\n", realpath(in->escrows[i], place) ? place : in->escrows[i]);
	if (!in->n_escrows)
		printf("escrow    none: losing the anchor loses the volume\n");
	if (in->anchor_in_store)
		printf("note      the anchor lies in the store: a copy of the store undoes destructions, and an older copy is not noticed\n");
	printf("suite     %s; a recovery needs: %s\n", suite_name(in->suite), suite_needs(in->suite));
	printf("charter   %s\n          keep this fingerprint elsewhere: it tells this volume from a substitute\n",
	       fingerprint);
}

static int init(struct init *in, int argc, char **argv, struct diag *d)
{
	CLEANUP_FREE char *charter = NULL;
	CLEANUP_FD int store_fd = -1;
	int err = init_arguments(in, argc, argv, d);

	if (err == 0)
		err = store_is_free(in, d);
	if (err)
		return err;
	default_quorum_and_recovery(in);
	err = secrets(in, d);
	if (err == 0)
		err = make_charter(in, &charter, d);
	if (err)
		return err;
	in->made_store = mkdir(in->store, 0700) == 0;
	if (!realpath(in->store, in->store_path))
		return diag_fail_errno(d, -errno, "%s", in->store);
	/* Its name has to outlive a power cut as what is in it does. */
	err = in->made_store ? durable_mkdir(AT_FDCWD, in->store_path, 0700) : 0;
	if (err)
		return diag_fail_errno(d, err, "%s", in->store);
	store_fd = open(in->store_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	err = store_fd < 0 ? diag_fail_errno(d, -errno, "%s", in->store) : places(in, d);
	if (err == 0)
		err = fill(in, store_fd, charter, d);
	if (err)
		undo(in);
	return err;
}

static int run(int argc, char **argv)
{
	struct diag d = {0};
	struct init *in = calloc(1, sizeof(*in));

	if (!in)
		return DIAG_EXIT_FAILED;
	in->suite = suite_best();
	conf_init(&in->conf);
	int err = init(in, argc, argv, &d);
	int code = err ? cli_fail(&d) : DIAG_EXIT_DONE;
	if (err == 0)
		report(in);
	cli_unlock_free(&in->secrets);
	secret_free(in->sign_seed);
	free(in);
	return code;
}

const struct cli_command cmd_init = {"init", "make a volume", usage, run};
