/* The manifest of a set: one state has one form, and only the volume signs it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/note.h"
#include "tests/unit/set_sample.h"

static int parse(const char *text, struct set_manifest *ret)
{
	uint8_t pk[32];

	identity_sign_pk_from_seed(seed, pk);
	return set_manifest_parse(text, volume, pk, ret);
}

/* n ids, each with a blank behind it but the last. */
static char *ids_list(size_t n)
{
	char *list = calloc(n, SET_ID_MAX + 2), *at = list;

	assert_non_null(list);
	for (size_t i = 0; i < n; i++)
		at += sprintf(at, "%s20261127T091500Z-%08zx", i ? " " : "", i);
	return list;
}

/* Sets go because a merged one takes their place: one that nobody could read is not written. */
static void manifest_lists_fit(void **state)
{
	struct set_manifest m = sample("20261128T091500Z-1a2b3c4d"), got;
	CLEANUP_FREE char *most = ids_list(SET_LIST_MAX), *more = ids_list(SET_LIST_MAX + 1),
			  *text = NULL;

	(void)state;
	m.merged = most;
	m.stands_for = most;
	assert_int_equal(set_manifest_build(&m, seed, &text), 0);
	assert_int_equal(parse(text, &got), 0);
	assert_string_equal(got.merged, most);
	set_manifest_free(&got);
	free(STEAL_PTR(text));
	m.merged = more;
	assert_int_equal(set_manifest_build(&m, seed, &text), -E2BIG);
	m.merged = most;
	m.stands_for = more;
	assert_int_equal(set_manifest_build(&m, seed, &text), -E2BIG);
}

/* What was stated comes back; nobody else's signature, volume or changed byte is taken. */
static void manifest_comes_back(void **state)
{
	struct set_manifest m = sample("20261128T091500Z-1a2b3c4d"), got;
	CLEANUP_FREE char *text = NULL;
	uint8_t pk[32], other_volume[16] = {1};

	(void)state;
	identity_sign_pk_from_seed(seed, pk);
	assert_int_equal(set_manifest_build(&m, seed, &text), 0);
	assert_int_equal(parse(text, &got), 0);
	assert_memory_equal(&got, &m, sizeof(m));
	assert_int_equal(set_manifest_parse(text, other_volume, pk, &got), -EBADMSG);
	assert_int_equal(set_manifest_parse(text, volume, seed, &got), -EBADMSG);
	for (size_t i = 0; text[i]; i++) {
		text[i] ^= 2;
		assert_int_not_equal(parse(text, &got), 0);
		text[i] ^= 2;
	}
	free(STEAL_PTR(text));
	char merged[] = "20261127T091500Z-1a2b3c4d 20261127T101500Z-1a2b3c4e",
	     stands_for[] = "20261127T101500Z-1a2b3c4e";
	m.merged = merged;
	m.stands_for = stands_for;
	assert_int_equal(set_manifest_build(&m, seed, &text), 0);
	assert_int_equal(parse(text, &got), 0);
	assert_string_equal(got.merged, merged);
	assert_string_equal(got.stands_for, stands_for);
	assert_true(set_merged_from(&got, "20261127T091500Z-1a2b3c4d"));
	assert_false(set_merged_from(&got, "20261127T091500Z-1a2b3c4"));
	assert_false(set_merged_from(&got, ""));
	assert_true(set_stands_for(&got, got.id) && set_stands_for(&got, stands_for));
	assert_false(set_stands_for(&got, "20261127T091500Z-1a2b3c4d"));
	set_manifest_free(&got);
	m.merged = m.stands_for = NULL;
	free(STEAL_PTR(text));
	m.full = false;
	strcpy(m.parent, "20261127T091500Z-1a2b3c4d");
	m.from_txn = 30;
	assert_int_equal(set_manifest_build(&m, seed, &text), 0);
	assert_int_equal(parse(text, &got), 0);
	assert_memory_equal(&got, &m, sizeof(m));
}

/* Replaces the first occurrence of a in the signed text, and signs anew. */
static char *resigned(const char *text, const char *a, const char *b)
{
	CLEANUP_FREE char *body = NULL;
	char key_name[NOTE_KEY_NAME_MAX + 1], *ret = NULL;
	const char *at = strstr(text, a);
	size_t len;

	assert_non_null(at);
	assert_int_equal(note_split(text, &len), 0);
	assert_int_not_equal(asprintf(&body, "%.*s%s%.*s", (int)(at - text), text, b,
				      (int)(len - (size_t)(at - text) - strlen(a)), at + strlen(a)),
			     -1);
	note_volume_key_name(volume, key_name);
	assert_int_equal(note_sign_seed(body, key_name, seed, &ret), 0);
	return ret;
}

/* Even the volume's own signature does not make good what is not exactly the form: one state has
 * one text. */
static void manifest_form(void **state)
{
	static const struct {
		const char *from, *to;
		int err;
	} cases[] = {
	    {"coffer-manifest/1", "coffer-manifest/2", -EPROTONOSUPPORT},
	    {"coffer-manifest/1", "coffer-journal/1", -EUCLEAN},
	    {"kind: full", "kind: other", -EUCLEAN},
	    {"kind: full", "kind: incremental", -EUCLEAN},                   /* without a parent */
	    {"parent: none", "parent: 20261127T091500Z-1a2b3c4d", -EUCLEAN}, /* full with one */
	    {"parent: none", "parent: ../../etc", -EUCLEAN},
	    {"set: 20261128T091500Z-1a2b3c4d", "set: ../20261128T091500Z-1a2b", -EUCLEAN},
	    {"set: 20261128T091500Z-1a2b3c4d", "set: 20261128T091500Z-1A2B3C4D", -EUCLEAN},
	    {"timeline: 17", "timeline: 017", -EUCLEAN},
	    {"index: 10 ", "index: +10 ", -EUCLEAN},
	    {"index: 10 ", "index: 10  ", -EUCLEAN},
	    {"nodes: 1\n", "nodes: 1\nnodes: 1\n", -EUCLEAN},
	    {"nodes: 1\n", "", -EUCLEAN},
	    {"nodes: 1\nnames: 2\n", "names: 2\nnodes: 1\n", -EUCLEAN},
	    {"gone: 4\n", "gone: 4\nfurther: line\n", -EUCLEAN},
	    {"volume: abcd", "volume: abce", -EUCLEAN},
	    {"gone: 4\n", "gone: 5\n", 0},
	};
	struct set_manifest m = sample("20261128T091500Z-1a2b3c4d"), got;
	CLEANUP_FREE char *text = NULL;

	(void)state;
	assert_int_equal(set_manifest_build(&m, seed, &text), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		CLEANUP_FREE char *changed = resigned(text, cases[i].from, cases[i].to);
		assert_int_equal(parse(changed, &got), cases[i].err);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(manifest_comes_back),
	    cmocka_unit_test(manifest_lists_fit),
	    cmocka_unit_test(manifest_form),
	};

	return secret_process_init() ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
