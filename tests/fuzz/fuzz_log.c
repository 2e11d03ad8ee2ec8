/* The log: a frame's head in the clear is judged before anything is opened, and an entry that is
 * taken lies within its bytes. The first byte chooses between the two. */
#include "fs/log.h"
#include "tests/fuzz/fuzz.h"

static void frame(const uint8_t *data, size_t size)
{
	static const uint8_t key[SUITE_KEY_LEN], id[16];
	const struct log_keys k = {.suite = suite_best(), .key = key, .volume_id = id};
	const struct rstore_root base = {.txn = 1};
	struct log_frame f;
	int r = log_frame_open(&k, &base, data, size, &f);

	FUZZ_CHECK(r == 0 || r == -ENODATA || r == -EUCLEAN || r == -EBADMSG);
	if (r == 0)
		FUZZ_CHECK(f.len <= size && f.n_items && f.n_items <= LOG_ENTRIES_MAX);
}

static void entry(const uint8_t *data, size_t size)
{
	struct log_entry e = {.n_runs = 7};
	struct bytes_w w = {0};
	int r = log_entry_decode(data, size, &e);

	if (r) {
		FUZZ_CHECK(r == -EUCLEAN && e.n_runs == 7);
		return;
	}
	FUZZ_CHECK(e.n_runs <= LOG_RUNS_MAX);
	log_entry_encode(&e, &w);
	FUZZ_CHECK(w.err == 0 && w.len == size && memcmp(w.buf, data, size) == 0);
	bytes_w_free(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	if (data[0] & 1)
		frame(data + 1, size - 1);
	else
		entry(data + 1, size - 1);
	return 0;
}
