/* See setfind.h. */
#include "backup/setfind.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "backup/setview_internal.h"
#include "core/cleanup.h"

struct pattern {
	char *mem;
	char **parts;
	size_t n;
	bool anywhere; /* one part, for every name */
};
struct finding {
	const struct setfind_request *in;
	const struct pattern *p;
	struct setview *sv;
	struct setfind_set s;
};

static int split(const char *text, struct pattern *p)
{
	char *save = NULL;

	p->anywhere = !strchr(text, '/');
	p->mem = strdup(text);
	p->parts = calloc(strlen(text) + 1, sizeof(*p->parts));
	if (!p->mem || !p->parts)
		return -ENOMEM;
	for (char *s = strtok_r(p->mem, "/", &save); s; s = strtok_r(NULL, "/", &save))
		if (strcmp(s, ".") != 0)
			p->parts[p->n++] = s;
	return p->n ? 0 : -EINVAL;
}

static size_t depth_of(const char *path)
{
	size_t n = 0;

	for (; (path = strchr(path, '/')); path++)
		n++;
	return n;
}

static int hit(struct finding *f, const struct setview_met *m)
{
	struct setfind_hit h = {.set = f->s.set, .path = m->path, .mode = m->type_mode};
	struct volume_attr a;
	int err = setview_attr(f->sv, m->id, &a);

	if (err == -EBADMSG) {
		f->s.n_damaged++;
		err = 0;
	} else if (err == -EKEYREVOKED) {
		h.destroyed = true;
		err = 0;
	} else if (err == 0) {
		h.mode = a.mode;
		h.size = S_ISREG(a.mode) ? a.size : 0;
		h.mtime = a.mtime.tv_sec;
	}
	f->s.n_hits++;
	return err ? err : f->in->hit(f->in->arg, &h);
}

/* Folders above have matched, or the walk would not have come here. */
static int on_met(void *arg, const struct setview_met *m)
{
	struct finding *f = arg;

	if (!m->name) {
		if (m->order) {
			f->s.n_destroyed++;
			snprintf(f->s.order, sizeof(f->s.order), "%s", m->order);
		} else {
			f->s.n_damaged++;
		}
		return 0;
	}
	size_t depth = f->p->anywhere ? 0 : depth_of(m->path);
	bool matches = fnmatch(f->p->parts[depth], m->name, 0) == 0;
	if (f->p->anywhere)
		return matches ? hit(f, m) : 0;
	if (!matches)
		return SETVIEW_SKIP;
	if (depth + 1 < f->p->n)
		return 0;
	int err = hit(f, m);
	return err ? err : SETVIEW_SKIP;
}

static int find_in(const struct setfind_request *in, const struct pattern *p, size_t set,
		   struct diag *d)
{
	struct finding f = {.in = in, .p = p, .s.set = &in->catalog->sets[set]};
	int err = setview_open(in->repo, in->kr, in->catalog, set, &f.sv, d);

	if (err == -EBADMSG || err == -ENOENT) {
		f.s.n_damaged++;
		return in->set(in->arg, &f.s);
	}
	if (err)
		return err;
	err = setview_walk(f.sv, VOLUME_ROOT_ID, "", on_met, &f);
	setview_close(f.sv);
	if (err == 0)
		err = in->set(in->arg, &f.s);
	return err < 0 ? diag_fail_errno(d, err, "set %s", f.s.set->id) : err;
}

int setfind_run(const struct setfind_request *in, struct diag *d)
{
	struct pattern p = {0};
	int err = split(in->pattern, &p);

	if (err)
		err = diag_fail(d, DIAG_USAGE, err, "\"%s\"", in->pattern);
	for (size_t i = 0; err == 0 && i < in->catalog->n_sets; i++)
		err = find_in(in, &p, i, d);
	free(p.mem);
	free(p.parts);
	return err;
}
