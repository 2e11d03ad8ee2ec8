/* The charter: its rules keep one person from deciding alone, and its chain cannot be swapped, cut
 * or forged. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/charter.h"
#include "core/cleanup.h"
#include "core/note.h"

enum { OWNER, SECURITY, OPERATOR, AUDITOR, N_PEOPLE };

static const uint8_t seed[32] = {42};
static struct identity *people[N_PEOPLE];

static int make_people(void **state)
{
	static const char *const names[] = {"Li Wei", "王芳", "Zhang Jun", "Chen Ling"};

	(void)state;
	for (int i = 0; i < N_PEOPLE; i++) {
		char number[16];

		snprintf(number, sizeof(number), "%d", 1000 + i);
		people[i] = identity_new(names[i], number);
		if (!people[i])
			return -1;
	}
	return 0;
}

static int free_people(void **state)
{
	(void)state;
	for (int i = 0; i < N_PEOPLE; i++)
		identity_free(people[i]);
	return 0;
}

static struct charter *sample(void)
{
	static const unsigned roles[] = {CHARTER_OWNER, CHARTER_SECURITY, CHARTER_OPERATOR,
					 CHARTER_AUDITOR};
	struct charter *c = calloc(1, sizeof(*c));

	assert_non_null(c);
	memset(c->volume_id, 0xab, sizeof(c->volume_id));
	identity_sign_pk_from_seed(seed, c->sign_pk);
	c->number = 1;
	c->created = 1795856400;
	c->n_members = N_PEOPLE;
	for (int i = 0; i < N_PEOPLE; i++) {
		c->members[i].card = *identity_card(people[i]);
		c->members[i].roles = roles[i];
		c->members[i].uid = i == OPERATOR ? 1001 : -1;
	}
	c->n_quorums = 2;
	c->quorums[0] = (struct charter_quorum){"destroy", CHARTER_OWNER | CHARTER_SECURITY};
	c->quorums[1] = (struct charter_quorum){"charter", CHARTER_OWNER | CHARTER_SECURITY};
	return c;
}

/* Builds and signs; owner may be NULL. */
static char *sign(struct charter *c, const struct identity *owner, const uint8_t *with)
{
	CLEANUP_FREE char *body = NULL, *text = NULL;
	char name[NOTE_KEY_NAME_MAX + 1], *both = NULL;
	struct diag d = {0};

	assert_int_equal(charter_build(c, &body, &d), 0);
	note_volume_key_name(c->volume_id, name);
	assert_int_equal(note_sign_seed(body, name, with, &text), 0);
	if (!owner)
		return STEAL_PTR(text);
	assert_int_equal(note_cosign(text, owner, &both), 0);
	return both;
}

static char *edit(const char *text, const char *from, const char *to)
{
	char *at = strstr(text, from), *out = NULL;

	assert_non_null(at);
	assert_true(asprintf(&out, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from)) > 0);
	return out;
}

/* What is built is what is parsed. */
static void test_roundtrip(void **state)
{
	CLEANUP_FREE struct charter *c = sample(), *back = NULL;
	CLEANUP_FREE char *text = sign(c, people[OWNER], seed);
	const uint8_t nobody[32] = {1};
	struct diag d = {0};

	(void)state;
	assert_int_equal(charter_parse(text, &back, &d), 0);
	assert_memory_equal(back, c, sizeof(*c));
	assert_ptr_equal(charter_find_key(back, identity_card(people[SECURITY])->sign_pk),
			 &back->members[SECURITY]);
	assert_null(charter_find_key(back, nobody));
	assert_ptr_equal(charter_find_name(back, "王芳"), &back->members[SECURITY]);
	assert_null(charter_find_name(back, "nobody"));
	assert_ptr_equal(charter_find_uid(back, 1001), &back->members[OPERATOR]);
	assert_null(charter_find_uid(back, -1));
	assert_int_equal(charter_quorum(back, "destroy")->roles, CHARTER_OWNER | CHARTER_SECURITY);
	assert_null(charter_quorum(back, "export"));
}

/* Two members of one name are told apart by key, never by name. */
static void test_ambiguous_name(void **state)
{
	CLEANUP_FREE struct charter *c = sample();
	struct diag d = {0};

	(void)state;
	strcpy(c->members[OPERATOR].card.name, c->members[OWNER].card.name);
	assert_int_equal(charter_check(c, &d), 0);
	assert_null(charter_find_name(c, c->members[OWNER].card.name));
}

static void expect_refused(struct charter *c, enum diag_id id)
{
	struct diag d = {0};
	char *body = NULL;

	assert_int_equal(charter_build(c, &body, &d), -EINVAL);
	assert_int_equal(d.id, id);
	assert_null(body);
	free(c);
}

/* Every rule that separates duties is refused by its own violation. */
static void test_role_rules(void **state)
{
	struct charter *c;

	(void)state;
	c = sample();
	c->members[AUDITOR].roles |= CHARTER_CUSTODIAN;
	expect_refused(c, DIAG_ROLE);
	c = sample();
	c->members[OPERATOR].roles |= CHARTER_OWNER;
	expect_refused(c, DIAG_ROLE);
	c = sample();
	c->members[SECURITY].roles |= CHARTER_OPERATOR;
	expect_refused(c, DIAG_ROLE);
	c = sample();
	c->members[OWNER].roles = 0;
	expect_refused(c, DIAG_ROLE);
	c = sample();
	c->members[OWNER].roles = 32;
	expect_refused(c, DIAG_ROLE);
	c = sample();
	c->members[OWNER].roles = CHARTER_SECURITY;
	expect_refused(c, DIAG_POLICY); /* no owner */
	c = sample();
	c->n_members = 0;
	expect_refused(c, DIAG_POLICY);
}

/* A quorum is two roles, for which two different people exist. */
static void test_quorum_rules(void **state)
{
	struct charter *c;

	(void)state;
	c = sample();
	c->quorums[0].roles = CHARTER_OWNER;
	expect_refused(c, DIAG_POLICY);
	c = sample();
	c->quorums[0].roles = CHARTER_OWNER | CHARTER_CUSTODIAN; /* nobody is custodian */
	expect_refused(c, DIAG_POLICY);
	c = sample();
	strcpy(c->quorums[0].action, "export"); /* none for destroy */
	expect_refused(c, DIAG_POLICY);
	c = sample();
	strcpy(c->quorums[1].action, "destroy"); /* two for destroy */
	expect_refused(c, DIAG_POLICY);
	c = sample();
	strcpy(c->quorums[1].action, "Charter|x");
	expect_refused(c, DIAG_POLICY);
	c = sample();
	/* One person in both roles cannot fill them. */
	c->members[OWNER].roles = CHARTER_OWNER | CHARTER_SECURITY;
	c->members[SECURITY].roles = CHARTER_CUSTODIAN;
	expect_refused(c, DIAG_POLICY);
}

/* The assignment of people to roles is found even where the first choice is the wrong one. */
static void test_quorum_matching(void **state)
{
	CLEANUP_FREE struct charter *c = sample();
	struct diag d = {0};

	(void)state;
	c->members[OWNER].roles = CHARTER_OWNER | CHARTER_SECURITY | CHARTER_CUSTODIAN;
	c->members[SECURITY].roles = CHARTER_OWNER | CHARTER_SECURITY;
	c->members[OPERATOR].roles = CHARTER_OWNER;
	c->quorums[0].roles = CHARTER_OWNER | CHARTER_SECURITY | CHARTER_CUSTODIAN;
	assert_int_equal(charter_check(c, &d), 0);
	c->members[OPERATOR].roles = CHARTER_OPERATOR;
	assert_int_equal(charter_check(c, &d), -EINVAL);
}

/* One person is one member: neither a second entry nor a shared key makes two of him. */
static void test_distinct_people(void **state)
{
	/* "Li Wei", 1000, as he could enrol again. */
	static const struct {
		const char *name, *number;
	} alike[] = {{"LI WEI", "1000"},	     {"Li  Wei", "1000"}, {"LiWei", "1000"},
		     {"Li\xc2\xa0Wei", "1000"}, {"Ｌｉ Ｗｅｉ", "1000"}, {"Li Wei", "１０００"},
		     {"Li　Wei", "1 000"}};
	struct charter *c;

	(void)state;
	/* A namesake with another number, and a number with another name, are others. */
	c = sample();
	strcpy(c->members[SECURITY].card.name, c->members[OWNER].card.name);
	assert_int_equal(charter_check(c, NULL), 0);
	strcpy(c->members[SECURITY].card.name, "Li Weil");
	strcpy(c->members[SECURITY].card.number, c->members[OWNER].card.number);
	assert_int_equal(charter_check(c, NULL), 0);
	free(c);
	for (size_t i = 0; i < sizeof(alike) / sizeof(alike[0]); i++) {
		c = sample();
		strcpy(c->members[SECURITY].card.name, alike[i].name);
		strcpy(c->members[SECURITY].card.number, alike[i].number);
		expect_refused(c, DIAG_POLICY);
	}
	c = sample();
	memcpy(c->members[SECURITY].card.sign_pk, c->members[OWNER].card.sign_pk, 32);
	expect_refused(c, DIAG_POLICY);
	c = sample();
	memcpy(c->members[SECURITY].card.seal_pk, c->members[OWNER].card.seal_pk, 32);
	expect_refused(c, DIAG_POLICY);
	c = sample();
	memcpy(c->members[SECURITY].card.seal_pk, c->members[OWNER].card.sign_pk, 32);
	expect_refused(c, DIAG_POLICY);
	c = sample();
	memcpy(c->members[SECURITY].card.sign_pk, c->sign_pk, 32);
	expect_refused(c, DIAG_POLICY);
	c = sample();
	c->members[SECURITY].uid = 1001;
	expect_refused(c, DIAG_POLICY);
	c = sample();
	strcpy(c->members[SECURITY].card.name, "a|b");
	expect_refused(c, DIAG_POLICY);
}

/* The first has no predecessor, every other has one. */
static void test_numbering(void **state)
{
	struct charter *c;

	(void)state;
	c = sample();
	c->number = 0;
	expect_refused(c, DIAG_POLICY);
	c = sample();
	c->number = 2;
	expect_refused(c, DIAG_POLICY);
	c = sample();
	c->previous[0] = 1;
	expect_refused(c, DIAG_POLICY);
}

/* A charter needs the volume's signature, and the first one an owner's. */
static void test_signatures(void **state)
{
	static const uint8_t other[32] = {43};
	CLEANUP_FREE struct charter *c = sample(), *none = NULL;
	CLEANUP_FREE char *alone = sign(c, NULL, seed),
			  *not_owner = sign(c, people[SECURITY], seed);
	CLEANUP_FREE char *forged = sign(c, people[OWNER], other);
	const char *const bad[] = {alone, not_owner, forged};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct diag d = {0};

		assert_int_equal(charter_parse(bad[i], &none, &d), -EBADMSG);
		assert_int_equal(d.id, DIAG_NOTE_UNSIGNED);
	}
}

/* No byte of a signed charter can change. */
static void test_tampered(void **state)
{
	CLEANUP_FREE struct charter *c = sample(), *none = NULL;
	CLEANUP_FREE char *text = sign(c, people[OWNER], seed);

	(void)state;
	for (size_t i = 0; text[i]; i++) {
		struct diag d = {0};

		text[i] ^= 1;
		assert_true(charter_parse(text, &none, &d) < 0);
		assert_true(d.id == DIAG_NOTE_UNSIGNED || d.id == DIAG_NOTE_MALFORMED ||
			    d.id == DIAG_VERSION);
		text[i] ^= 1;
	}
}

/* Even the volume's own signature does not make another text of the same charter, or a broken rule,
 * acceptable. */
static void test_signed_but_wrong(void **state)
{
	static const struct {
		const char *from, *to;
		enum diag_id id;
	} edits[] = {
	    {"number: 1", "number: 01", DIAG_NOTE_MALFORMED},
	    {"quorum: destroy", "note: x\nquorum: destroy", DIAG_NOTE_MALFORMED},
	    {"|owner|-", "|owner|", DIAG_NOTE_MALFORMED},
	    {"|owner|-", "|owner|-|", DIAG_NOTE_MALFORMED},
	    {"|owner|-", "|owner|007", DIAG_NOTE_MALFORMED},
	    {"|owner|-", "|king|-", DIAG_NOTE_MALFORMED},
	    {"|owner|-", "|owner+owner|-", DIAG_NOTE_MALFORMED},
	    {"destroy|owner+security", "destroy|security+owner", DIAG_NOTE_MALFORMED},
	    {"destroy|owner+security", "destroy|owner", DIAG_POLICY},
	    {"|auditor|", "|custodian+auditor|", DIAG_NOTE_MALFORMED},
	    {"|auditor|", "|auditor+custodian|", DIAG_ROLE},
	    {"coffer-charter/1", "coffer-charter/2", DIAG_VERSION},
	    {"coffer-charter/1", "coffer-order/1", DIAG_NOTE_MALFORMED},
	};
	CLEANUP_FREE struct charter *c = sample(), *none = NULL;
	CLEANUP_FREE char *body = NULL;
	char name[NOTE_KEY_NAME_MAX + 1];
	struct diag d = {0};

	(void)state;
	assert_int_equal(charter_build(c, &body, &d), 0);
	note_volume_key_name(c->volume_id, name);
	for (size_t i = 0; i < sizeof(edits) / sizeof(edits[0]); i++) {
		CLEANUP_FREE char *edited = edit(body, edits[i].from, edits[i].to);
		CLEANUP_FREE char *text = NULL, *both = NULL;

		assert_int_equal(note_sign_seed(edited, name, seed, &text), 0);
		assert_int_equal(note_cosign(text, people[OWNER], &both), 0);
		assert_true(charter_parse(both, &none, &d) < 0);
		assert_int_equal(d.id, edits[i].id);
	}
}

/* --- the chain --- */

struct place {
	char dir[32];
	int fd;
};

static void place_make(struct place *p)
{
	strcpy(p->dir, "/tmp/test-charter-XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	p->fd = open(p->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(p->fd >= 0);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static void place_remove(struct place *p)
{
	close(p->fd);
	assert_int_equal(nftw(p->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static struct charter *next_of(const struct charter *before, int64_t created)
{
	struct charter *c = malloc(sizeof(*c));

	assert_non_null(c);
	*c = *before;
	c->number++;
	c->created = created;
	memcpy(c->previous, before->digest, 32);
	return c;
}

static void store(const struct place *p, struct charter *c, int want)
{
	CLEANUP_FREE char *text = sign(c, c->number == 1 ? people[OWNER] : NULL, seed);
	struct diag d = {0};

	assert_int_equal(charter_store(p->fd, c, text, &d), want);
}

static void load_fails(const struct place *p, const uint8_t *head, const uint8_t *first, int want,
		       enum diag_id id)
{
	struct charter *none = NULL;
	struct diag d = {0};

	assert_int_equal(charter_load(p->fd, head, first, &none, &d), want);
	assert_int_equal(d.id, id);
	assert_null(none);
}

/* The charter in force is the one the anchor names, reached from the first. */
static void test_chain(void **state)
{
	CLEANUP_FREE struct charter *c1 = sample(), *c2 = NULL, *c3 = NULL, *got = NULL;
	const uint8_t other[32] = {1};
	struct place p;
	struct diag d = {0};

	(void)state;
	place_make(&p);
	store(&p, c1, 0);
	store(&p, c1, 0); /* again is success */
	c2 = next_of(c1, 1795856500);
	store(&p, c2, 0);
	c3 = next_of(c2, 1795856600);
	store(&p, c3, 0);
	assert_int_equal(charter_load(p.fd, c2->digest, c1->digest, &got, &d), 0);
	assert_memory_equal(got, c2, sizeof(*c2)); /* what lies beyond the head is not in force */
	free(STEAL_PTR(got));
	assert_int_equal(charter_load(p.fd, NULL, c1->digest, &got, &d), 0);
	assert_int_equal(got->number, 3);
	load_fails(&p, other, c1->digest, -EBADMSG, DIAG_NOTE_UNSIGNED);
	load_fails(&p, c2->digest, other, -EBADMSG, DIAG_NOTE_UNSIGNED); /* a substituted volume */
	place_remove(&p);
}

/* A chain that is cut, has a gap, or runs through another volume's charter does not load. */
static void test_chain_broken(void **state)
{
	static const uint8_t other_seed[32] = {99};
	CLEANUP_FREE struct charter *c1 = sample(), *c2 = NULL, *c3 = NULL, *alien = NULL;
	CLEANUP_FREE char *alien_text = NULL;
	struct diag d = {0};
	struct place p;
	int dirfd, fd;

	(void)state;
	place_make(&p);
	load_fails(&p, NULL, c1->digest, -ENOENT, DIAG_NOT_FOUND);
	store(&p, c1, 0);
	c2 = next_of(c1, 1795856500);
	store(&p, c2, 0);
	c3 = next_of(c2, 1795856600);
	store(&p, c3, 0);
	dirfd = openat(p.fd, "charter", O_RDONLY | O_DIRECTORY);
	assert_int_equal(unlinkat(dirfd, "3", 0), 0); /* truncated */
	load_fails(&p, c3->digest, c1->digest, -EBADMSG, DIAG_NOTE_UNSIGNED);
	assert_int_equal(unlinkat(dirfd, "2", 0), 0);
	store(&p, c3, -EBADMSG); /* a gap cannot be stored */
	assert_int_equal(symlinkat("1", dirfd, "2"), 0);
	load_fails(&p, c2->digest, c1->digest, -EUCLEAN, DIAG_NOTE_MALFORMED);
	assert_int_equal(unlinkat(dirfd, "2", 0), 0);

	/* An outsider's charter that names the right predecessor, under his own volume key. */
	alien = next_of(c1, 1795856500);
	identity_sign_pk_from_seed(other_seed, alien->sign_pk);
	alien_text = sign(alien, NULL, other_seed);
	assert_int_equal(charter_store(p.fd, alien, alien_text, &d), -EBADMSG);
	fd = openat(dirfd, "2", O_WRONLY | O_CREAT | O_EXCL, 0600);
	assert_int_equal(write(fd, alien_text, strlen(alien_text)), (int)strlen(alien_text));
	close(fd);
	load_fails(&p, NULL, c1->digest, -EBADMSG, DIAG_NOTE_UNSIGNED);
	load_fails(&p, alien->digest, c1->digest, -EBADMSG, DIAG_NOTE_UNSIGNED);
	close(dirfd);
	place_remove(&p);
}

/* A charter that never came into force can be replaced; one that was followed, and the first,
 * cannot. */
static void test_replace_sibling(void **state)
{
	CLEANUP_FREE struct charter *c1 = sample(), *other1 = sample(), *a = NULL, *b = NULL,
				    *c3 = NULL;
	struct place p;

	(void)state;
	place_make(&p);
	store(&p, c1, 0);
	other1->created++;
	store(&p, other1, -EEXIST);
	a = next_of(c1, 1795856500);
	b = next_of(c1, 1795856501);
	store(&p, a, 0);
	store(&p, b, 0);
	c3 = next_of(b, 1795856600);
	store(&p, c3, 0);
	store(&p, a, -EEXIST);
	place_remove(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_roundtrip),       cmocka_unit_test(test_ambiguous_name),
	    cmocka_unit_test(test_role_rules),      cmocka_unit_test(test_quorum_rules),
	    cmocka_unit_test(test_quorum_matching), cmocka_unit_test(test_distinct_people),
	    cmocka_unit_test(test_numbering),       cmocka_unit_test(test_signatures),
	    cmocka_unit_test(test_tampered),        cmocka_unit_test(test_signed_but_wrong),
	    cmocka_unit_test(test_chain),           cmocka_unit_test(test_chain_broken),
	    cmocka_unit_test(test_replace_sibling),
	};

	return cmocka_run_group_tests(tests, make_people, free_people);
}
