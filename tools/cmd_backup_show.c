/* coffer backup show: all that the manifest of a set says, its packs, and the chain it needs. No key. */
#include <stdio.h>
#include <stdlib.h>

#include "core/bytes.h"
#include "core/cleanup.h"
#include "tools/cmd_backup.h"

static json_t *object_json(const struct set_pack *p)
{
	char digest[65], sum[2 * SET_CHECKSUM_LEN + 1];

	bytes_hex(digest, p->digest, 32);
	bytes_hex(sum, p->sum, SET_CHECKSUM_LEN);
	return json_pack("{s:I, s:s, s:s}", "bytes", (json_int_t)p->len, "blake2b", digest, "xxh3", sum);
}

static json_t *chain_json(const struct set_catalog *c, size_t set, struct diag *d)
{
	CLEANUP_FREE size_t *chain = NULL;
	size_t n = 0;

	if (set_catalog_chain(c, set, &chain, &n, d) != 0)
		return json_null();
	json_t *a = json_array();
	for (size_t i = 0; i < n; i++)
		json_array_append_new(a, json_string(c->sets[chain[i]].id));
	return a;
}

static json_t *manifest_json(const struct set_manifest *m)
{
	char volume[33], charter[65], root[65];
	json_t *packs = json_array();

	bytes_hex(volume, m->volume_id, 16);
	bytes_hex(charter, m->charter, 32);
	bytes_hex(root, m->trail.root, 32);
	for (size_t i = 0; i < m->n_packs; i++)
		json_array_append_new(packs, object_json(&m->packs[i]));
	json_t *j = json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "set", m->id, "volume",
			      volume, "kind", m->full ? "full" : "incremental", "parent", m->parent, "tiers", m->tiers,
			      "time", (json_int_t)m->time, "timeline", (json_int_t)m->timeline, "from_transaction",
			      (json_int_t)m->from_txn, "to_transaction", (json_int_t)m->to_txn, "next_id",
			      (json_int_t)m->next_id, "next_link", (json_int_t)m->next_link, "generation",
			      (json_int_t)m->generation);
	json_t *more = json_pack("{s:I, s:I, s:I, s:I, s:I, s:s, s:I, s:s, s:o, s:o, s:o}", "files", (json_int_t)m->n_nodes,
				 "names", (json_int_t)m->n_names, "data_records", (json_int_t)m->n_data, "gone",
				 (json_int_t)m->n_gone, "bytes", (json_int_t)m->n_bytes, "charter", charter,
				 "trail_size", (json_int_t)m->trail.size, "trail_root", root, "index",
				 object_json(&m->index), "pack_table", object_json(&m->pack_table), "packs", packs);
	json_object_set_new(more, "merged", json_string(m->merged ? m->merged : ""));
	json_object_set_new(more, "stands_for", json_string(m->stands_for ? m->stands_for : ""));
	json_object_update(j, more);
	json_decref(more);
	return j;
}

static void print_object(const char *what, const json_t *o)
{
	char size[32];

	cli_size((uint64_t)json_integer_value(json_object_get(o, "bytes")), size);
	printf("%-14s%10s  blake2b %s\n", what, size, json_string_value(json_object_get(o, "blake2b")));
}

static void print_objects(const json_t *j)
{
	char what[32];
	size_t i;
	json_t *p;

	print_object("index", json_object_get(j, "index"));
	print_object("packs", json_object_get(j, "pack_table"));
	json_array_foreach(json_object_get(j, "packs"), i, p) {
		snprintf(what, sizeof(what), "pack-%05zu", i);
		print_object(what, p);
	}
}

static void print_chain(const json_t *chain, const char *why)
{
	size_t i;
	json_t *id;

	if (!json_is_array(chain)) {
		printf("chain         BROKEN: %s\n", why);
		return;
	}
	json_array_foreach(chain, i, id)
		printf("%-14s%s%s\n", i ? "" : "chain", json_string_value(id), i ? "" : " (full)");
}

static void print_manifest(const struct set_manifest *m, const json_t *j, const char *why)
{
	char when[32], size[32];

	cli_time(m->time, when);
	cli_size(m->n_bytes, size);
	printf("set           %s\nvolume        %s\ntaken         %s\nkind          %s%s%s\ntiers         %s\n", m->id,
	       json_string_value(json_object_get(j, "volume")), when, m->full ? "full" : "incremental",
	       m->full ? "" : " on ", m->parent, m->tiers);
	if (m->merged)
		printf("merged        from %s\nstands for    %s\n", m->merged, m->stands_for);
	printf("content       %llu files and folders, %llu names, %llu data records, %s, %llu names gone\n",
	       (unsigned long long)m->n_nodes, (unsigned long long)m->n_names, (unsigned long long)m->n_data, size,
	       (unsigned long long)m->n_gone);
	printf("transactions  %llu to %llu, timeline %016llx\nnext          id %llu, link %llu\nkeys          generation %llu\n",
	       (unsigned long long)m->from_txn, (unsigned long long)m->to_txn, (unsigned long long)m->timeline,
	       (unsigned long long)m->next_id, (unsigned long long)m->next_link, (unsigned long long)m->generation);
	printf("charter       %s\ntrail         %llu entries, root %s\n", json_string_value(json_object_get(j, "charter")),
	       (unsigned long long)m->trail.size, json_string_value(json_object_get(j, "trail_root")));
	print_objects(j);
	print_chain(json_object_get(j, "chain"), why);
}

int cmd_backup_show(const struct located_repo *lr, const char *set, bool json, struct diag *d)
{
	struct diag chain = {0};
	size_t i;
	int err = set_catalog_find(&lr->catalog, set, 0, &i, d);

	if (err)
		return err;
	json_t *j = manifest_json(&lr->catalog.sets[i]);
	json_object_set_new(j, "chain", chain_json(&lr->catalog, i, &chain));
	if (json)
		cli_json(json_incref(j));
	else
		print_manifest(&lr->catalog.sets[i], j, chain.object);
	json_decref(j);
	if (!chain.id)
		return 0;
	*d = chain;
	return chain.err;
}
