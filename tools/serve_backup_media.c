/*
 * The control operation backup.medium: an entry of the register of offline media, signed.
 *
 * The copying is done by whoever has repository and medium at hand, and no key; this process signs what they
 * say, under their name, and records it.
 */
#include "tools/serve_ops.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backup/medium.h"
#include "core/bytes.h"
#include "core/cleanup.h"
#include "core/note.h"
#include "tools/control.h"

static int take_sets(struct medium *m, const json_t *list)
{
	size_t n = json_array_size(list);

	if (n > MEDIUM_SETS_MAX)
		return -EINVAL;
	m->sets = calloc(n + 1, sizeof(*m->sets));
	if (!m->sets)
		return -ENOMEM;
	for (; m->n_sets < n; m->n_sets++) {
		const char *id = json_string_value(json_array_get(list, m->n_sets));

		if (!id || strlen(id) > SET_ID_MAX)
			return -EINVAL;
		strcpy(m->sets[m->n_sets], id);
	}
	return 0;
}

static int take(struct medium *m, const struct peer *p, const json_t *req, const char **ret_repository)
{
	const char *label, *kept, *digest, *reason = "";
	json_t *sets;
	json_int_t bytes;
	int forgotten = 0;

	if (json_unpack((json_t *)req, "{s:s, s:s, s:s, s:I, s:o, s?s, s?b, s?s}", "label", &label, "kept", &kept,
			"digest", &digest, "bytes", &bytes, "sets", &sets, "reason", &reason, "forgotten", &forgotten,
			"repository", ret_repository) != 0 ||
	    !medium_label_valid(label) || bytes < 0 || bytes_unhex(digest, m->digest, 32) != 0 ||
	    (strcmp(kept, "department") != 0 && strcmp(kept, "platform") != 0) || strlen(reason) > MEDIUM_REASON_MAX ||
	    !note_value_valid(reason, strlen(reason)))
		return -EINVAL;
	m->time = time(NULL);
	m->n_bytes = (uint64_t)bytes;
	m->forgotten = forgotten != 0;
	m->kept = strcmp(kept, "platform") ? CONF_KEPT_DEPARTMENT : CONF_KEPT_PLATFORM;
	snprintf(m->label, sizeof(m->label), "%s", label);
	snprintf(m->reason, sizeof(m->reason), "%s", reason);
	if (*p->member)
		snprintf(m->by, sizeof(m->by), "%s", p->member);
	else
		snprintf(m->by, sizeof(m->by), "uid %u", p->uid);
	return take_sets(m, sets);
}

int serve_op_backup_medium(struct server *s, const struct peer *p, const json_t *req, int fd, json_t **ret,
			   struct diag *d)
{
	CLEANUP_WITH(medium_free) struct medium m = {0};
	CLEANUP_FREE char *note = NULL;
	CLEANUP_REPO struct repo *r = NULL;
	const char *repository = NULL;
	char object[128], detail[64];
	(void)fd;

	int err = take(&m, p, req, &repository);
	if (err)
		return diag_fail(d, DIAG_USAGE, err, "backup.medium");
	err = serve_repo(s, repository, &r, d);
	if (err)
		return err;
	snprintf(object, sizeof(object), "medium %s", m.label);
	snprintf(detail, sizeof(detail), "%zu sets, %s", m.n_sets, m.forgotten ? "forgotten" : conf_kept_name(m.kept));
	if (serve_trail(s, p, "backup.medium", object, m.reason, "ok", detail, true) != 0)
		return diag_fail(d, DIAG_TRAIL, -EIO, "%s", s->store);
	err = medium_put(r, keyring_volume_id(s->kr), keyring_sign_seed(s->kr), &m, &note, d);
	if (err)
		return serve_trail_end(s, p, "backup.medium", object, m.reason, err, NULL, d);
	*ret = json_pack("{s:s, s:s}", "id", m.id, "note", note);
	return *ret ? 0 : diag_fail_errno(d, -ENOMEM, "%s", object);
}
