/* The key state, as it lies in its box: registry, recipients, destroyed ranges and both key trees.
 */
#include "core/keyring_internal.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct keyring_state *st = NULL;
	uint8_t key[KDF_KEY_LEN], *again;
	size_t len;
	int r = keyring_state_decode(data, size, &st);

	if (r < 0) {
		FUZZ_CHECK(fuzz_refusal(r) && !st);
		return 0;
	}
	FUZZ_CHECK(keyring_state_encode(st, &again, &len) == 0);
	FUZZ_CHECK(len == size && memcmp(again, data, size) == 0);
	for (uint64_t id = 1; id; id <<= 7) {
		r = keytree_derive(st->trees[0], id, key);
		FUZZ_CHECK(r == (keytree_has(st->trees[0], id) ? 0 : -EKEYREVOKED));
		keyring_state_find_gone(st, KEYRING_LIVE, id);
	}
	secret_slab_free(again);
	keyring_state_free(st);
	return 0;
}
