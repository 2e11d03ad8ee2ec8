/* One escrow slot. Input: a slot without its signature, which is added under the key that the slot
 * names. */
#include "core/escrow_internal.h"
#include "tests/fuzz/fuzz.h"
#include "tests/reject/known.h"

#define SIGN_PK_OFF 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct identity *ada;
	struct escrow_content c = {0};
	CLEANUP_ESCROW_SLOT struct escrow_slot s = {0};
	uint8_t *buf = malloc(size + IDENTITY_SIG_LEN);
	char name[65];

	if (!ada)
		ada = known_member(1);
	memcpy(buf, data, size);
	if (size >= SIGN_PK_OFF + 32)
		identity_sign_pk_from_seed(known_seed, buf + SIGN_PK_OFF);
	identity_sign_with_seed(known_seed, buf, size, buf + size);
	escrow_slot_parse(&s, buf, size + IDENTITY_SIG_LEN, known_volume_id, NULL);
	if (!s.seq)
		return 0;
	for (size_t i = 0; i < s.n_recipients; i++)
		escrow_slot_recipient(&s, i, name);
	int r = escrow_slot_open(&s, ada, &c);
	FUZZ_CHECK(r == 0 || r == -ENOKEY || fuzz_refusal(r));
	FUZZ_CHECK(r == 0 || !c.state);
	escrow_content_wipe(&c);
	return 0;
}
