/*
 * coffer backup diff and find: what the paths of sets say. Both read names, so both take the secret,
 * beside the serving process or without one. Every name is printed as one line's worth: control
 * characters as '?'.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "backup/setdiff.h"
#include "backup/setfind.h"
#include "core/cleanup.h"
#include "tools/cmd_backup.h"
#include "tools/control.h"

static int open_keys(const struct located_repo *lr, struct cli_unlock *secrets, struct keyring **ret, struct diag *d)
{
	struct header_unlock with;
	int err = cli_unlock_get(secrets, "Passphrase of the volume: ", &with, d);

	return err ? err : keyring_open(lr->l.store, &with, KEYRING_READ_ONLY, ret, d);
}

static void print_path(const char *path)
{
	for (; *path; path++)
		putchar((unsigned char)*path < 0x20 || *path == 0x7f ? '?' : *path);
}

/* A name need not be UTF-8, which JSON wants: then its bytes come in hexadecimal as well. */
static void put_path(json_t *j, const char *key, const char *path)
{
	json_t *s = json_string(path);
	char hex_key[32];

	if (s) {
		json_object_set_new(j, key, s);
		return;
	}
	CLEANUP_FREE char *plain = strdup(path), *hex = malloc(2 * strlen(path) + 1);
	if (!plain || !hex)
		return;
	bytes_hex(hex, path, strlen(path));
	for (char *p = plain; *p; p++)
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	snprintf(hex_key, sizeof(hex_key), "%s_hex", key);
	json_object_set_new(j, key, json_string(plain));
	json_object_set_new(j, hex_key, json_string(hex));
}

static const char *type_name(uint32_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return "file";
	case S_IFDIR:
		return "folder";
	case S_IFLNK:
		return "link";
	default:
		return "special";
	}
}

/* --- diff --- */

struct differing {
	json_t *entries; /* NULL: print */
};

static const char *how(const struct setdiff_entry *e)
{
	return e->content && e->attributes ? "content, attributes"
	       : e->content		   ? "content"
	       : e->attributes		   ? "attributes"
					   : "";
}

static int on_difference(void *arg, const struct setdiff_entry *e)
{
	struct differing *x = arg;

	if (x->entries) {
		json_t *j = json_pack("{s:s, s:s, s:b, s:b}", "what", setdiff_name(e->what), "type",
				      type_name(e->type_mode), "content", e->content, "attributes", e->attributes);
		put_path(j, "path", e->path);
		if (e->from)
			put_path(j, "from", e->from);
		return json_array_append_new(x->entries, j) ? -ENOMEM : 0;
	}
	printf("%-8s ", setdiff_name(e->what));
	if (e->from) {
		print_path(e->from);
		printf(" -> ");
	}
	print_path(e->path);
	printf("%s%s%s%s\n", S_ISDIR(e->type_mode) ? "/" : "", *how(e) ? " (" : "", how(e), *how(e) ? ")" : "");
	return 0;
}

static void diff_json(json_t *entries, const char *first, const char *second, const struct setdiff_result *r)
{
	cli_json(json_pack("{s:s, s:s, s:o, s:I, s:I, s:I, s:I, s:[I, I], s:s, s:[I, I], s:o}", "first", first, "second",
			   second, "entries", entries, "added", (json_int_t)r->n[SETDIFF_ADDED], "removed",
			   (json_int_t)r->n[SETDIFF_REMOVED], "changed", (json_int_t)r->n[SETDIFF_CHANGED], "renamed",
			   (json_int_t)r->n[SETDIFF_RENAMED], "destroyed", (json_int_t)r->n_destroyed[0],
			   (json_int_t)r->n_destroyed[1], "order", r->order, "damaged", (json_int_t)r->n_damaged[0],
			   (json_int_t)r->n_damaged[1], "first_damaged", control_text(r->first_damaged)));
}

static void diff_summary(const struct setdiff_result *r)
{
	printf("%llu added, %llu removed, %llu changed, %llu renamed\n", (unsigned long long)r->n[SETDIFF_ADDED],
	       (unsigned long long)r->n[SETDIFF_REMOVED], (unsigned long long)r->n[SETDIFF_CHANGED],
	       (unsigned long long)r->n[SETDIFF_RENAMED]);
	if (r->n_destroyed[0] || r->n_destroyed[1])
		printf("destroyed under order %s: %llu entries of the first set, %llu of the second; they can no longer be "
		       "named or compared\n",
		       r->order, (unsigned long long)r->n_destroyed[0], (unsigned long long)r->n_destroyed[1]);
}

static int compare(const struct located_repo *lr, struct keyring *kr, size_t i, size_t k, bool json, struct diag *d)
{
	struct differing x = {.entries = json ? json_array() : NULL};
	struct setview *a = NULL, *b = NULL;
	struct setdiff_result r = {0};
	int err = setview_open(lr->repo, kr, &lr->catalog, i, &a, d);

	if (err == 0)
		err = setview_open(lr->repo, kr, &lr->catalog, k, &b, d);
	if (err == 0)
		err = setdiff_run(a, b, on_difference, &x, &r, d);
	setview_close(a);
	setview_close(b);
	if (err) {
		json_decref(x.entries);
		return err;
	}
	if (json)
		diff_json(x.entries, lr->catalog.sets[i].id, lr->catalog.sets[k].id, &r);
	else
		diff_summary(&r);
	uint64_t n = r.n_damaged[0] + r.n_damaged[1];
	return n ? diag_fail(d, DIAG_SET_DAMAGED, -EBADMSG, "%llu entries could not be compared, first %s",
			     (unsigned long long)n, r.first_damaged)
		 : 0;
}

int cmd_backup_diff(const struct located_repo *lr, struct cli_unlock *secrets, const char *first, const char *second,
		    bool json, struct diag *d)
{
	struct keyring *kr;
	size_t i = 0, k = 0;
	int err = set_catalog_find(&lr->catalog, first, 0, &i, d);

	if (err == 0)
		err = set_catalog_find(&lr->catalog, second, 0, &k, d);
	if (err == 0)
		err = open_keys(lr, secrets, &kr, d);
	if (err)
		return err;
	err = compare(lr, kr, i, k, json, d);
	keyring_close(kr);
	return err;
}

/* --- find --- */

struct searching {
	json_t *sets, *hits; /* NULL: print */
	uint64_t n_hits, n_destroyed, n_damaged;
	char order[KEYRING_ORDER_REF_MAX + 1];
};

static int on_hit(void *arg, const struct setfind_hit *h)
{
	struct searching *x = arg;
	char size[32], when[32];

	if (x->hits) {
		json_t *j = json_pack("{s:s, s:b}", "type", type_name(h->mode), "destroyed", h->destroyed);
		put_path(j, "path", h->path);
		if (!h->destroyed) {
			json_object_set_new(j, "size", json_integer((json_int_t)h->size));
			json_object_set_new(j, "mtime", json_integer(h->mtime));
		}
		return json_array_append_new(x->hits, j) ? -ENOMEM : 0;
	}
	cli_size(h->size, size);
	cli_time(h->mtime, when);
	printf("%s  %10s  %-19s  ", h->set->id, h->destroyed ? "destroyed" : size, h->destroyed ? "-" : when);
	print_path(h->path);
	printf("%s\n", S_ISDIR(h->mode) ? "/" : "");
	return 0;
}

static int on_set(void *arg, const struct setfind_set *s)
{
	struct searching *x = arg;

	x->n_hits += s->n_hits;
	x->n_destroyed += s->n_destroyed;
	x->n_damaged += s->n_damaged;
	if (s->n_destroyed)
		memcpy(x->order, s->order, sizeof(x->order));
	if (x->sets) {
		json_array_append_new(x->sets, json_pack("{s:s, s:I, s:O, s:I, s:s, s:I}", "set", s->set->id, "time",
							 (json_int_t)s->set->time, "hits", x->hits, "destroyed",
							 (json_int_t)s->n_destroyed, "order", s->order, "damaged",
							 (json_int_t)s->n_damaged));
		json_decref(x->hits);
		x->hits = json_array();
	} else if (s->n_destroyed) {
		printf("%s  %10s  %llu entr%s in the folders looked at, under order %s; no longer to be named\n", s->set->id,
		       "destroyed", (unsigned long long)s->n_destroyed, s->n_destroyed == 1 ? "y" : "ies", s->order);
	}
	return 0;
}

static int found(const struct searching *x, const char *pattern, struct diag *d)
{
	if (x->n_damaged)
		return diag_fail(d, DIAG_SET_DAMAGED, -EBADMSG, "%llu entries or sets that could not be read",
				 (unsigned long long)x->n_damaged);
	if (x->n_hits)
		return 0;
	return x->n_destroyed ? diag_fail(d, DIAG_DESTROYED, -EKEYREVOKED,
					  "%s: no such name in any set; what was destroyed under order %s can no longer be named",
					  pattern, x->order)
			      : diag_fail(d, DIAG_NOT_FOUND, -ENOENT, "%s in any set", pattern);
}

int cmd_backup_find(const struct located_repo *lr, struct cli_unlock *secrets, const char *pattern, bool json,
		    struct diag *d)
{
	struct searching x = {.sets = json ? json_array() : NULL, .hits = json ? json_array() : NULL};
	struct keyring *kr = NULL;
	int err = open_keys(lr, secrets, &kr, d);

	if (err == 0) {
		const struct setfind_request in = {.repo = lr->repo, .kr = kr, .catalog = &lr->catalog, .pattern = pattern,
						   .hit = on_hit, .set = on_set, .arg = &x};
		err = setfind_run(&in, d);
		keyring_close(kr);
	}
	if (err == 0 && json)
		cli_json(json_incref(x.sets));
	json_decref(x.sets);
	json_decref(x.hits);
	return err ? err : found(&x, pattern, d);
}
