/* The text of an inventory: one for each inventory. */
#include "shred/inventory.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct inventory inv = {.n_kept = 77};
	struct keyring_range *ranges = NULL;
	uint64_t *ids = NULL;
	size_t n, n_ranges;
	int r = inventory_decode(data, size, &inv);

	if (r < 0) {
		FUZZ_CHECK(r == -EUCLEAN && inv.n_kept == 77 && !inv.items);
		return 0;
	}
	FUZZ_CHECK(inventory_ids(&inv, &ids, &n) == 0 && n == inv.n_destroy);
	FUZZ_CHECK(inventory_ranges(ids, n, &ranges, &n_ranges) == 0 && n_ranges <= n);
	free(ids);
	free(ranges);
	inventory_free(&inv);
	return 0;
}
