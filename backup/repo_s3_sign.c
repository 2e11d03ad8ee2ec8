/*
 * Signature Version 4 of requests, in the Authorization field (AWS General Reference, "Signature
 * Version 4"; Amazon S3 API Reference, "Authenticating Requests: Using the Authorization Header").
 *
 *   canonical request = METHOD \n path \n query \n (name:value \n).. \n names;.. \n
 * hex(SHA-256(body)) string to sign    = AWS4-HMAC-SHA256 \n stamp \n scope \n
 * hex(SHA-256(canonical request)) scope             = date/region/s3/aws4_request key =
 * HMAC(HMAC(HMAC(HMAC("AWS4" secret, date), region), "s3"), "aws4_request")
 */
#include "backup/repo_s3_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/kdf.h"

#define ALGORITHM "AWS4-HMAC-SHA256"
#define STAMP_LEN 16
#define DATE_LEN 8
#define MAC_LEN 32
#define SECRET_MAX 4096

static void put(struct bytes_w *w, const char *s)
{
	bytes_w_raw(w, s, strlen(s));
}

void s3_encode(struct bytes_w *w, const char *s, bool encode_slash)
{
	static const char digits[] = "0123456789ABCDEF";

	for (; *s; s++) {
		uint8_t c = (uint8_t)*s;

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		    strchr("-._~", c) || (c == '/' && !encode_slash)) {
			bytes_w_u8(w, c);
		} else {
			bytes_w_u8(w, '%');
			bytes_w_u8(w, (uint8_t)digits[c >> 4]);
			bytes_w_u8(w, (uint8_t)digits[c & 15]);
		}
	}
}

static void put_names(struct bytes_w *w, const struct s3_signing *in)
{
	for (size_t i = 0; i < in->n_fields; i++) {
		if (i)
			bytes_w_u8(w, ';');
		put(w, in->fields[i].name);
	}
}

/* Hash of the canonical request. It holds the session token: wiped, and sized so that it never
 * moves. */
static int hash_request(const struct s3_signing *in, char ret_hex[2 * MAC_LEN + 1])
{
	size_t room =
	    strlen(in->method) + strlen(in->path) + strlen(in->query) + strlen(in->payload_hex) + 8;
	struct bytes_w w = {0};
	uint8_t hash[MAC_LEN];

	for (size_t i = 0; i < in->n_fields; i++)
		room += 2 * strlen(in->fields[i].name) + strlen(in->fields[i].value) + 3;
	bytes_w_room(&w, room);
	bytes_w_reset(&w);
	put(&w, in->method);
	put(&w, "\n");
	put(&w, in->path);
	put(&w, "\n");
	put(&w, in->query);
	put(&w, "\n");
	for (size_t i = 0; i < in->n_fields; i++) {
		put(&w, in->fields[i].name);
		put(&w, ":");
		put(&w, in->fields[i].value);
		put(&w, "\n");
	}
	put(&w, "\n");
	put_names(&w, in);
	put(&w, "\n");
	put(&w, in->payload_hex);
	int err = w.err;
	if (err == 0) {
		kdf_sha256(hash, w.buf, w.len);
		bytes_hex(ret_hex, hash, sizeof(hash));
	}
	if (w.buf)
		secret_wipe(w.buf, w.cap);
	bytes_w_free(&w);
	return err;
}

static void signing_key(const struct s3_signing *in, struct secret *prefixed, uint8_t ret[MAC_LEN])
{
	uint8_t next[MAC_LEN];
	const char *const steps[] = {in->region, "s3", "aws4_request"};

	memcpy(secret_bytes(prefixed), "AWS4", 4);
	memcpy(secret_bytes(prefixed) + 4, in->secret, in->secret_len);
	kdf_hmac_sha256(ret, secret_bytes(prefixed), secret_len(prefixed), in->stamp, DATE_LEN);
	for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
		kdf_hmac_sha256(next, ret, MAC_LEN, steps[i], strlen(steps[i]));
		memcpy(ret, next, MAC_LEN);
	}
	secret_wipe(next, sizeof(next));
}

/* All fields but the session token are no secret. */
int s3_sign(const struct s3_signing *in, char **ret)
{
	char hash[2 * MAC_LEN + 1], mac_hex[2 * MAC_LEN + 1], scope[S3_REGION_MAX + 48];
	uint8_t key[MAC_LEN], mac[MAC_LEN];
	CLEANUP_BYTES struct bytes_w w = {0}, out = {0};

	if (strlen(in->stamp) != STAMP_LEN || strlen(in->region) > S3_REGION_MAX ||
	    in->secret_len > SECRET_MAX)
		return -EINVAL;
	CLEANUP_SECRET struct secret *prefixed = secret_new(4 + in->secret_len);
	if (!prefixed)
		return -ENOMEM;
	int err = hash_request(in, hash);
	if (err)
		return err;
	snprintf(scope, sizeof(scope), "%.8s/%s/s3/aws4_request", in->stamp, in->region);
	put(&w, ALGORITHM "\n");
	put(&w, in->stamp);
	put(&w, "\n");
	put(&w, scope);
	put(&w, "\n");
	put(&w, hash);
	if (w.err)
		return w.err;
	signing_key(in, prefixed, key);
	kdf_hmac_sha256(mac, key, sizeof(key), w.buf, w.len);
	secret_wipe(key, sizeof(key));
	bytes_hex(mac_hex, mac, sizeof(mac));

	put(&out, ALGORITHM " Credential=");
	put(&out, in->key_id);
	put(&out, "/");
	put(&out, scope);
	put(&out, ",SignedHeaders=");
	put_names(&out, in);
	put(&out, ",Signature=");
	put(&out, mac_hex);
	bytes_w_u8(&out, 0);
	if (out.err)
		return out.err;
	*ret = (char *)STEAL_PTR(out.buf);
	return 0;
}
