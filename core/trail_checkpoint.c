/*
 * A checkpoint: the C2SP tlog-checkpoint body (origin, size, root) as a note signed by the
 * volume's key.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base64.h"
#include "core/note.h"
#include "core/trail_internal.h"

#define ROOT_TEXT_LEN BASE64_LEN(MERKLE_HASH_LEN)
#define BODY_MAX 160

static void body_make(char out[BODY_MAX], const uint8_t volume_id[16], const struct trail_head *h)
{
	char id[33], root[ROOT_TEXT_LEN + 1];

	bytes_hex(id, volume_id, 16);
	base64_encode(root, h->root, sizeof(h->root));
	snprintf(out, BODY_MAX, "coffer/%s\n%llu\n%s\n", id, (unsigned long long)h->size, root);
}

int trail_checkpoint_make(const struct trail_head *h, const uint8_t volume_id[16],
			  const uint8_t seed[32], char **ret_text)
{
	char body[BODY_MAX];

	body_make(body, volume_id, h);
	return note_sign_volume(body, volume_id, seed, ret_text);
}

/* Decimal digits up to a newline; moves *p behind it. */
static int size_parse(const char **p, uint64_t *ret)
{
	uint64_t v = 0;

	for (; **p >= '0' && **p <= '9'; ++*p) {
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(**p - '0'), &v))
			return -EUCLEAN;
	}
	if (*(*p)++ != '\n')
		return -EUCLEAN;
	*ret = v;
	return 0;
}

int trail_checkpoint_body(const char *text, const uint8_t volume_id[16], struct trail_head *ret)
{
	struct trail_head h = {0};
	char again[BODY_MAX];
	size_t body_len, n;

	int r = note_split(text, &body_len);
	if (r)
		return r;
	const char *p = strchr(text, '\n');
	if (!p || body_len >= BODY_MAX)
		return -EUCLEAN;
	p++;
	if (size_parse(&p, &h.size) || strnlen(p, ROOT_TEXT_LEN) < ROOT_TEXT_LEN ||
	    base64_decode(p, ROOT_TEXT_LEN, h.root, sizeof(h.root), &n) || n != sizeof(h.root))
		return -EUCLEAN;
	/*
	 * One text for each head: origin, leading zeros and further lines are all checked by
	 * writing it again.
	 */
	body_make(again, volume_id, &h);
	if (strlen(again) != body_len || memcmp(again, text, body_len) != 0)
		return -EUCLEAN;
	*ret = h;
	return 0;
}

int trail_checkpoint_parse(const char *text, const uint8_t volume_id[16], const uint8_t sign_pk[32],
			   struct trail_head *ret)
{
	char name[NOTE_KEY_NAME_MAX + 1];
	struct trail_head h;

	int r = trail_checkpoint_body(text, volume_id, &h);
	if (r)
		return r;
	note_volume_key_name(volume_id, name);
	r = note_verify(text, name, sign_pk);
	if (!r)
		*ret = h;
	return r;
}
