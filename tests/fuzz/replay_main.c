/*
 * Runs a fuzz target over its corpus without libFuzzer: every file as it is, every prefix of it and
 * every byte of it changed in turn. Folders as arguments; none: the target's own corpus. Exits 1
 * when there was nothing to run.
 */
#include <dirent.h>
#include <fcntl.h>

#include "core/cleanup.h"
#include "core/durable.h"
#include "tests/fuzz/fuzz.h"

#define FILE_MAX ((size_t)1 << 20)
#define TURNS_MAX 1024u /* beyond this length a file is cut and changed at so many places only */

static size_t n_files, n_runs;

/* A buffer of exactly this size, so that a sanitizer or a guard page sees what lies beyond. */
static void run(const uint8_t *p, size_t len)
{
	CLEANUP_FREE uint8_t *exact = malloc(len ? len : 1);

	if (!exact)
		abort();
	memcpy(exact, p, len);
	LLVMFuzzerTestOneInput(exact, len);
	n_runs++;
}

static void run_file(uint8_t *p, size_t len)
{
	size_t step = len / TURNS_MAX + 1;

	run(p, len);
	for (size_t at = 0; at < len; at += step) {
		uint8_t was = p[at];

		run(p, at);
		p[at] = (uint8_t)(was ^ 1u << at % 8);
		run(p, len);
		p[at] = was;
	}
	n_files++;
}

static int run_folder(const char *path)
{
	CLEANUP_DIR DIR *dir = opendir(path);
	const struct dirent *e;

	if (!dir) {
		perror(path);
		return -1;
	}
	while ((e = readdir(dir))) {
		CLEANUP_FREE uint8_t *p = NULL;
		size_t len;

		if (e->d_name[0] == '.')
			continue;
		if (durable_read(dirfd(dir), e->d_name, FILE_MAX, &p, &len) != 0) {
			fprintf(stderr, "%s/%s cannot be read\n", path, e->d_name);
			return -1;
		}
		run_file(p, len);
	}
	return 0;
}

int main(int argc, char **argv)
{
	const char *slash = strrchr(argv[0], '/');
	char corpus[512];
	int bad = 0;

	snprintf(corpus, sizeof(corpus), "%s/fuzz/corpus/%s", TESTS_DIR,
		 slash ? slash + 1 : argv[0]);
	for (int i = 1; i < argc; i++)
		bad |= run_folder(argv[i]);
	if (argc == 1)
		bad = run_folder(corpus);
	printf("%zu files, %zu inputs\n", n_files, n_runs);
	return bad || n_files == 0;
}
