/*
 * How a volume's cost grows with the number of its files: one engine, no FUSE in between.
 *
 *   growth_engine DIR FILES PER_FOLDER
 *
 * Makes FILES small files in folders of PER_FOLDER each (PER_FOLDER = FILES: one folder). At 10,000 files and at each tenfold, and
 * at the end, the volume is closed and mounted anew, and a line of JSON says: files, seconds that the mount took, CPU
 * microseconds of a create since the line before, CPU microseconds of a lookup by name of files drawn at random from all there are
 * (first cold, then again), the process's peak memory in MiB, and the bytes of the record store.
 *
 * CPU time, not wall time: a shared machine makes the second meaningless. tests/bench/growth judges the ratios.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>
#include <sys/resource.h>
#include <time.h>

#include "tests/unit/volume_fixture.h"

#define N_LOOKUPS 5000u

static double cpu_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double wall_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

struct growth {
	struct fixture *fx;
	uint64_t n, per_folder;
	uint64_t *folders; /* ids, one for each per_folder files */
	size_t n_folders;
};

static void file_name(uint64_t i, char out[40])
{
	snprintf(out, 40, "record-%010" PRIu64 ".txt", i);
}

static void make_one(struct growth *g)
{
	char name[40], text[100];

	if (g->n % g->per_folder == 0) {
		snprintf(name, sizeof(name), "folder-%06" PRIu64, g->n / g->per_folder);
		g->folders[g->n_folders++] = make(g->fx->v, VOLUME_ROOT_ID, name, S_IFDIR | 0755);
	}
	file_name(g->n, name);
	uint64_t id = make(g->fx->v, g->folders[g->n_folders - 1], name, S_IFREG | 0644);
	memset(text, 'a' + (int)(g->n % 26), sizeof(text));
	assert_int_equal(volume_write(g->fx->v, id, text, sizeof(text), 0, false), sizeof(text));
	g->n++;
}

/* CPU microseconds of a lookup. The same files at each call with the same seed and n. */
static double look_up(struct growth *g, uint64_t seed)
{
	double before = cpu_seconds();

	for (unsigned i = 0; i < N_LOOKUPS; i++) {
		char name[40];
		struct volume_attr a;
		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		uint64_t which = (seed >> 16) % g->n;
		file_name(which, name);
		assert_int_equal(volume_lookup(g->fx->v, g->folders[which / g->per_folder], name, &a), 0);
		assert_int_equal(a.size, 100);
		volume_forget(g->fx->v, a.id, 1);
	}
	return (cpu_seconds() - before) * 1e6 / N_LOOKUPS;
}

static long long store_bytes(const struct fixture *fx)
{
	char path[128];
	struct stat st;

	snprintf(path, sizeof(path), "%s/meta.db", fx->store);
	return stat(path, &st) == 0 ? (long long)st.st_size : -1;
}

static void report(struct growth *g, double create_us)
{
	struct rusage ru;

	assert_int_equal(volume_close(g->fx->v), 0);
	double t = wall_seconds();
	fixture_mount(g->fx);
	double mount_s = wall_seconds() - t;
	double cold = look_up(g, g->n), warm = look_up(g, g->n);
	getrusage(RUSAGE_SELF, &ru);
	printf("{\"files\": %" PRIu64 ", \"per_folder\": %" PRIu64 ", \"mount_s\": %.3f, \"create_us\": %.2f, "
	       "\"lookup_cold_us\": %.2f, \"lookup_warm_us\": %.2f, \"peak_mib\": %ld, \"meta_bytes\": %lld}\n",
	       g->n, g->per_folder, mount_s, create_us, cold, warm, ru.ru_maxrss / 1024, store_bytes(g->fx));
	fflush(stdout);
}

int main(int argc, char **argv)
{
	if (argc != 4) {
		fprintf(stderr, "usage: growth_engine DIR FILES PER_FOLDER\n");
		return 2;
	}
	setenv("TMPDIR", argv[1], 1);
	uint64_t files = strtoull(argv[2], NULL, 10);
	struct growth g = {.per_folder = strtoull(argv[3], NULL, 10)};
	void *state = NULL;

	assert_true(files > 0 && g.per_folder > 0);
	g.folders = calloc(files / g.per_folder + 1, sizeof(*g.folders));
	assert_non_null(g.folders);
	fixture_setup(&state);
	g.fx = state;
	double since = cpu_seconds();
	uint64_t from = 0;
	for (uint64_t next = 10000; g.n < files;) {
		make_one(&g);
		if (g.n != next && g.n != files)
			continue;
		assert_int_equal(volume_sync(g.fx->v), 0);
		report(&g, (cpu_seconds() - since) * 1e6 / (double)(g.n - from));
		since = cpu_seconds();
		from = g.n;
		if (g.n == next)
			next *= 10;
	}
	fixture_teardown(&state);
	free(g.folders);
	return 0;
}
