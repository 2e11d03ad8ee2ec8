/* Reaches the parser of announcements. See fuzz_announcement.h. */
#include "shred/execute_announce.c"

#include "core/keyring_internal.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/fuzz_announcement.h"
#include "tests/reject/known.h"

/* A keyring that knows nothing but whose it is. */
static struct keyring *bare_keyring(void)
{
	static struct keyring *kr;

	if (kr)
		return kr;
	kr = keyring_alloc();
	FUZZ_CHECK(kr);
	kr->header = calloc(1, sizeof(*kr->header));
	FUZZ_CHECK(kr->header);
	memcpy(kr->header->volume_id, known_volume_id, 16);
	identity_sign_pk_from_seed(known_seed, kr->header->sign_pk);
	return kr;
}

int announcement_try(const char *note)
{
	CLEANUP_WITH(announcement_free) struct announcement a = {0};
	int r = parse(note, bare_keyring(), &a);

	FUZZ_CHECK(r == 0 || (!a.ranges && !a.n && !a.trees));
	for (size_t i = 0; i < a.n; i++)
		FUZZ_CHECK(a.ranges[i].first <= a.ranges[i].last);
	return r;
}

void fuzz_announcement(const char *note)
{
	int r = announcement_try(note);

	FUZZ_CHECK(r == 0 || r == -EINVAL || fuzz_refusal(r));
}
