/*
 * Orders: nothing but the quorum's own, fresh, matching signatures makes an order approved.
 *
 * The attacker of these tests writes to the store: he adds, edits, copies, links and deletes files,
 * and may be a member. He has nobody else's key.
 */
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

#include "core/cleanup.h"
#include "core/kdf.h"
#include "core/note.h"
#include "core/order.h"

#define NOW 1795856400 /* 2026-11-28T09:00:00Z */
#define DAY 86400

/* BOTH holds owner and security; the requester holds owner, so that only his being the requester
 * stops him. */
enum {
	REQUESTER,
	OWNER,
	SECURITY,
	BOTH,
	OPERATOR,
	AUDITOR,
	N_MEMBERS,
	STRANGER = N_MEMBERS,
	N_PEOPLE
};

static const unsigned roles_of[N_MEMBERS] = {
    CHARTER_OWNER,    CHARTER_OWNER,   CHARTER_SECURITY, CHARTER_OWNER | CHARTER_SECURITY,
    CHARTER_OPERATOR, CHARTER_AUDITOR,
};
static const uint8_t seed[32] = {42};
static const char inventory[] = "inventory bytes";
static struct identity *people[N_PEOPLE];

struct place {
	char dir[32];
	int fd;
	struct charter *c;
	struct order o;
	char number[ORDER_NUMBER_MAX + 1];
};

/* --- the stage --- */

static struct charter *make_charter(uint8_t volume, int64_t created)
{
	struct charter *c = calloc(1, sizeof(*c));
	char *body = NULL;

	assert_non_null(c);
	memset(c->volume_id, volume, sizeof(c->volume_id));
	identity_sign_pk_from_seed(seed, c->sign_pk);
	c->number = 1;
	c->created = created;
	c->n_members = N_MEMBERS;
	for (int i = 0; i < N_MEMBERS; i++) {
		c->members[i].card = *identity_card(people[i]);
		c->members[i].roles = roles_of[i];
		c->members[i].uid = -1;
	}
	c->n_quorums = 1;
	c->quorums[0] = (struct charter_quorum){"destroy", CHARTER_OWNER | CHARTER_SECURITY};
	assert_int_equal(charter_build(c, &body, NULL), 0);
	free(body);
	return c;
}

static struct order blank_order(const struct charter *c, const char *number,
				const struct identity *by)
{
	struct order o = {.created = NOW, .expires = NOW + 60 * DAY, .n_ids = 3, .n_bytes = 12345};

	strcpy(o.number, number);
	memcpy(o.volume_id, c->volume_id, sizeof(o.volume_id));
	memcpy(o.charter, c->digest, sizeof(o.charter));
	strcpy(o.action, "destroy");
	memcpy(o.requester_pk, identity_card(by)->sign_pk, sizeof(o.requester_pk));
	strcpy(o.requester, identity_card(by)->name);
	strcpy(o.description, "2019 年度档案");
	strcpy(o.reason, "retention period over");
	strcpy(o.legal_basis, "");
	strcpy(o.method, "cryptographic erase");
	strcpy(o.unit, "Archive");
	kdf_sha256(o.inventory, inventory, sizeof(inventory));
	return o;
}

static char *sign_order(struct order *o, const struct identity *by)
{
	CLEANUP_FREE char *body = NULL;
	char *text = NULL;

	assert_int_equal(order_build(o, &body, NULL), 0);
	assert_int_equal(note_sign(body, by, &text), 0);
	return text;
}

static void add_order(const struct place *p, struct order *o, const struct identity *by)
{
	CLEANUP_FREE char *text = sign_order(o, by);
	struct diag d = {0};

	assert_int_equal(order_store(p->fd, o, text, inventory, sizeof(inventory), &d), 0);
}

static int make_people(void **state)
{
	static const char *const names[] = {"Req Wu",   "Own Li",   "Sec Wang", "Both Sun",
					    "Op Zhang", "Aud Chen", "Mallory"};

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

static int place_make(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	strcpy(p->dir, "/tmp/test-order-XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	p->fd = open(p->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	p->c = make_charter(0xab, NOW - DAY);
	strcpy(p->number, "D-20261128-0001");
	p->o = blank_order(p->c, p->number, people[REQUESTER]);
	add_order(p, &p->o, people[REQUESTER]);
	*state = p;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static int place_remove(void **state)
{
	struct place *p = *state;
	int r;

	close(p->fd);
	r = nftw(p->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(p->c);
	free(p);
	return r;
}

/* --- what the attacker does --- */

static void path_of(const struct place *p, const char *number, const char *file, char out[160])
{
	snprintf(out, 160, "%s/orders/%s/%s", p->dir, number, file);
}

static void statement_name(const char *decision, const struct identity *by, char out[40])
{
	char id[NOTE_KEY_ID_LEN + 1];

	note_key_id(identity_card(by)->sign_pk, id);
	snprintf(out, 40, "%s.%s", decision, id);
}

static void write_file(const struct place *p, const char *file, const char *text)
{
	char path[160];
	FILE *f;

	path_of(p, p->number, file, path);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static char *read_file(const struct place *p, const char *number, const char *file)
{
	char path[160], *text = NULL;

	path_of(p, number, file, path);
	assert_int_equal(note_file_read(AT_FDCWD, path, 1 << 20, &text), 0);
	return text;
}

static char *edit(const char *text, const char *from, const char *to)
{
	char *at = strstr(text, from), *out = NULL;

	assert_non_null(at);
	assert_true(asprintf(&out, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from)) > 0);
	return out;
}

/* What a forger can vary; NULL and 0 take what is right. */
struct forgery {
	const struct identity *signer, *claims_to_be;
	const char *decision, *role, *number, *file, *extra;
	const uint8_t *volume, *charter, *digest;
	int64_t created, expires;
};

static char *forge(const struct place *p, const struct forgery *f)
{
	const struct identity *as = f->claims_to_be ? f->claims_to_be : f->signer;
	const char *decision = f->decision ? f->decision : "approve";
	int64_t created = f->created ? f->created : NOW;
	CLEANUP_BYTES struct bytes_w w = {0};
	CLEANUP_FREE char *body = NULL;
	char *text = NULL;

	note_begin(&w, "statement", 1);
	note_put_hex(&w, "volume", f->volume ? f->volume : p->o.volume_id, 16);
	note_put_hex(&w, "charter", f->charter ? f->charter : p->o.charter, 32);
	note_put(&w, "order", f->number ? f->number : p->o.number);
	note_put_hex(&w, "order-digest", f->digest ? f->digest : p->o.digest, 32);
	note_put(&w, "decision", decision);
	note_put(&w, "role", f->role ? f->role : "owner");
	note_put(&w, "signer", identity_card(as)->name);
	note_put_hex(&w, "signer-key", identity_card(as)->sign_pk, 32);
	note_put_time(&w, "created", created);
	if (strcmp(decision, "approve") == 0)
		note_put_time(&w, "expires", f->expires ? f->expires : created + 30 * DAY);
	note_put(&w, "opinion", "");
	if (f->extra)
		note_put(&w, "extra", f->extra);
	assert_int_equal(note_end(&w, &body), 0);
	assert_int_equal(note_sign(body, f->signer, &text), 0);
	return text;
}

static void plant(const struct place *p, const struct forgery *f)
{
	const struct identity *as = f->claims_to_be ? f->claims_to_be : f->signer;
	CLEANUP_FREE char *text = forge(p, f);
	char name[40];

	statement_name(f->decision ? f->decision : "approve", as, name);
	write_file(p, f->file ? f->file : name, text);
}

/* --- what is expected --- */

static void say(const struct place *p, int who, enum order_decision decision, int64_t now)
{
	struct diag d = {0};

	assert_int_equal(order_say(p->fd, p->c, &p->o, people[who], decision, "seen", now, &d), 0);
}

static void say_refused(const struct place *p, int who, enum order_decision decision, int64_t now,
			enum diag_id id)
{
	struct diag d = {0};

	assert_int_equal(order_say(p->fd, p->c, &p->o, people[who], decision, NULL, now, &d),
			 -EPERM);
	assert_int_equal(d.id, id);
}

static void expect_at(const struct place *p, int64_t now, enum order_state want,
		      unsigned want_missing)
{
	enum order_state got;
	unsigned missing;
	struct diag d = {0};

	assert_int_equal(order_judge(p->fd, p->c, &p->o, now, &got, &missing, &d), 0);
	assert_string_equal(order_state_name(got), order_state_name(want));
	assert_int_equal(missing, want_missing);
}

static void expect(const struct place *p, enum order_state want, unsigned want_missing)
{
	expect_at(p, NOW, want, want_missing);
}

static void judge_fails(const struct place *p, const struct charter *c, const struct order *o,
			int want, enum diag_id id)
{
	enum order_state got;
	unsigned missing;
	struct diag d = {0};

	assert_int_equal(order_judge(p->fd, c, o, NOW, &got, &missing, &d), want);
	assert_int_equal(d.id, id);
}

/* Exactly one statement is there, is ignored, and the reason has these words. */
static void expect_ignored(const struct place *p, const char *why)
{
	struct order_statement list[ORDER_STATEMENTS_MAX];
	struct diag d = {0};
	size_t n;

	assert_int_equal(order_statements(p->fd, p->c, &p->o, NOW, list, &n, &d), 0);
	assert_int_equal(n, 1);
	assert_false(list[0].counts);
	if (!strstr(list[0].why_not, why))
		fail_msg("\"%s\" lacks \"%s\"", list[0].why_not, why);
	expect(p, ORDER_REQUESTED, CHARTER_OWNER | CHARTER_SECURITY);
}

/* --- the tests --- */

/* An order comes back whole with its inventory. */
static void test_load(void **state)
{
	struct place *p = *state;
	CLEANUP_FREE uint8_t *inv = NULL;
	struct diag d = {0};
	struct order o;
	size_t len;

	assert_int_equal(order_load(p->fd, p->number, &o, &inv, &len, &d), 0);
	assert_memory_equal(&o, &p->o, sizeof(o));
	assert_int_equal(len, sizeof(inventory));
	assert_memory_equal(inv, inventory, len);
	assert_int_equal(order_load(p->fd, "D-20261128-0002", &o, NULL, NULL, &d), -ENOENT);
	assert_int_equal(d.id, DIAG_NOT_FOUND);
	assert_int_equal(order_load(p->fd, "../orders/x", &o, NULL, NULL, &d), -ENOENT);
}

/* The quorum approves, each by one word from another person. */
static void test_quorum(void **state)
{
	struct place *p = *state;
	struct order_statement list[ORDER_STATEMENTS_MAX];
	size_t n;

	expect(p, ORDER_REQUESTED, CHARTER_OWNER | CHARTER_SECURITY);
	say(p, OWNER, ORDER_APPROVE, NOW);
	expect(p, ORDER_REQUESTED, CHARTER_SECURITY);
	say(p, SECURITY, ORDER_APPROVE, NOW + 1);
	expect_at(p, NOW + 1, ORDER_APPROVED, 0);
	assert_int_equal(order_statements(p->fd, p->c, &p->o, NOW + 1, list, &n, NULL), 0);
	assert_int_equal(n, 2);
	assert_true(list[0].counts && list[1].counts);
	assert_string_equal(list[0].signer, "Own Li");
	assert_int_equal(list[0].role, CHARTER_OWNER);
	assert_string_equal(list[1].opinion, "seen");
}

/* One person with both roles is one approval, however often he says it. */
static void test_two_roles_one_person(void **state)
{
	struct place *p = *state;
	struct forgery owner = {.signer = people[BOTH], .role = "owner"};
	struct forgery security = {.signer = people[BOTH], .role = "security"};

	say(p, BOTH, ORDER_APPROVE, NOW);
	expect(p, ORDER_REQUESTED, CHARTER_SECURITY);
	say(p, BOTH, ORDER_APPROVE,
	    NOW); /* speaks for the other role now, and no longer for the first */
	expect(p, ORDER_REQUESTED, CHARTER_OWNER);

	/* Two notes of his, one for each role, under every name he might give them. */
	static const char *const names[] = {"approve.0000000000000000", "approve.x",
					    "reject.0000000000000000"};

	for (size_t i = 0; i < 3; i++) {
		owner.file = names[i];
		plant(p, &owner);
	}
	expect(p, ORDER_REQUESTED, CHARTER_OWNER);
	plant(p, &security);
	owner.file = NULL;
	plant(p, &owner);
	expect(p, ORDER_REQUESTED, CHARTER_SECURITY);
	/* Under a colleague's name. */
	char name[40];

	statement_name("approve", people[SECURITY], name);
	security.file = name;
	plant(p, &security);
	expect(p, ORDER_REQUESTED, CHARTER_SECURITY);
}

/* A second person completes what the first left open, in whatever order they come. */
static void test_two_roles_two_people(void **state)
{
	struct place *p = *state;

	say(p, BOTH, ORDER_APPROVE, NOW);
	say(p, OWNER, ORDER_APPROVE, NOW);
	expect(p, ORDER_REQUESTED, CHARTER_SECURITY);
	say(p, BOTH, ORDER_APPROVE, NOW);
	expect(p, ORDER_APPROVED, 0);
}

/* The requester's own approval is refused, and ignored when planted. */
static void test_requester(void **state)
{
	struct place *p = *state;
	struct forgery f = {.signer = people[REQUESTER]};

	say_refused(p, REQUESTER, ORDER_APPROVE, NOW, DIAG_REQUESTER);
	plant(p, &f);
	expect_ignored(p, "the requester may not approve");
}

/* Who is not in the charter, or not in the role he claims, is not heard. */
static void test_wrong_people(void **state)
{
	struct place *p = *state;
	struct forgery stranger = {.signer = people[STRANGER]};
	char name[40], path[160];

	say_refused(p, STRANGER, ORDER_APPROVE, NOW, DIAG_NOT_MEMBER);
	say_refused(p, OPERATOR, ORDER_APPROVE, NOW, DIAG_ROLE);
	say_refused(p, AUDITOR, ORDER_APPROVE, NOW, DIAG_ROLE);
	say_refused(p, AUDITOR, ORDER_REJECT, NOW, DIAG_ROLE);
	plant(p, &stranger);
	expect_ignored(p, "the signer is not in the charter");
	statement_name("approve", people[STRANGER], name);
	path_of(p, p->number, name, path);
	assert_int_equal(unlink(path), 0);

	static const struct {
		int who;
		const char *role, *why;
	} bad[] = {
	    {OWNER, "security", "does not have the role"},
	    {OPERATOR, "owner", "does not have the role"},
	    {OPERATOR, "operator", "no part in the quorum"},
	    {AUDITOR, "auditor", "no part in the quorum"},
	    {OWNER, "king", "malformed"},
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct forgery f = {.signer = people[bad[i].who], .role = bad[i].role};

		plant(p, &f);
		expect_ignored(p, bad[i].why);
		statement_name("approve", people[bad[i].who], name);
		path_of(p, p->number, name, path);
		assert_int_equal(unlink(path), 0);
	}
}

/* Signing with one's own key in another's name is a signature that does not verify. */
static void test_forged_signature(void **state)
{
	struct place *p = *state;
	struct forgery f = {.signer = people[STRANGER], .claims_to_be = people[OWNER]};

	plant(p, &f);
	expect_ignored(p, "the signature does not verify");
}

/* An identity with a member's name but another key is a stranger. */
static void test_impostor(void **state)
{
	struct place *p = *state;
	CLEANUP_IDENTITY struct identity *impostor = identity_new("Own Li", "1001");
	struct diag d = {0};

	assert_non_null(impostor);
	assert_int_equal(order_say(p->fd, p->c, &p->o, impostor, ORDER_APPROVE, NULL, NOW, &d),
			 -EPERM);
	assert_int_equal(d.id, DIAG_NOT_MEMBER);
}

/* What was said of another order, volume, charter or wording does not count here. */
static void test_replayed(void **state)
{
	struct place *p = *state;
	uint8_t other[32];

	memset(other, 0x77, sizeof(other));
	const struct {
		struct forgery f;
		const char *why;
	} bad[] = {
	    {{.signer = people[OWNER], .volume = other}, "another volume"},
	    {{.signer = people[OWNER], .number = "D-20261128-0002"}, "another order"},
	    {{.signer = people[OWNER], .digest = other}, "another wording"},
	    {{.signer = people[OWNER], .charter = other}, "another charter"},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		plant(p, &bad[i].f);
		expect_ignored(p, bad[i].why);
	}
}

/* Copying a real approval from one order's folder to another's gains nothing. */
static void test_copied_between_orders(void **state)
{
	struct place *p = *state;
	struct order second = blank_order(p->c, "D-20261128-0002", people[REQUESTER]), first = p->o;
	CLEANUP_FREE char *text = NULL;
	char name[40];

	add_order(p, &second, people[REQUESTER]);
	p->o = second;
	say(p, OWNER, ORDER_APPROVE, NOW);
	p->o = first;
	statement_name("approve", people[OWNER], name);
	text = read_file(p, "D-20261128-0002", name);
	write_file(p, name, text);
	expect_ignored(p, "another order");
}

/* Approvals end after 30 days, cannot claim longer, and cannot be dated ahead. */
static void test_times(void **state)
{
	struct place *p = *state;
	const struct {
		struct forgery f;
		const char *why;
	} bad[] = {
	    {{.signer = people[OWNER], .created = NOW - 30 * DAY}, "has expired"},
	    {{.signer = people[OWNER], .expires = NOW + 30 * DAY + 1},
	     "longer than an approval may be"},
	    {{.signer = people[OWNER], .created = NOW - DAY, .expires = NOW + 30 * DAY}, "longer"},
	    {{.signer = people[OWNER], .expires = NOW - 1}, "longer"},
	    {{.signer = people[OWNER], .created = NOW + ORDER_CLOCK_SKEW + 1},
	     "dated in the future"},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		plant(p, &bad[i].f);
		expect_ignored(p, bad[i].why);
	}
	say(p, OWNER, ORDER_APPROVE, NOW);
	say(p, SECURITY, ORDER_APPROVE, NOW + 10 * DAY);
	expect_at(p, NOW + 30 * DAY - 1, ORDER_APPROVED, 0);
	expect_at(p, NOW + 30 * DAY, ORDER_REQUESTED, CHARTER_OWNER);
	say(p, OWNER, ORDER_APPROVE, NOW + 30 * DAY); /* renewed */
	expect_at(p, NOW + 30 * DAY, ORDER_APPROVED, 0);
}

/* The order itself ends too, and then nothing more is said about it. */
static void test_order_expires(void **state)
{
	struct place *p = *state;

	expect_at(p, NOW + 60 * DAY - 1, ORDER_REQUESTED, CHARTER_OWNER | CHARTER_SECURITY);
	expect_at(p, NOW + 60 * DAY, ORDER_EXPIRED, CHARTER_OWNER | CHARTER_SECURITY);
	say_refused(p, OWNER, ORDER_APPROVE, NOW + 60 * DAY, DIAG_ORDER_STATE);
}

/* A change of charter voids what was approved under the old one, and the order with it. */
static void test_charter_changed(void **state)
{
	struct place *p = *state;
	struct charter *old = p->c;

	say(p, OWNER, ORDER_APPROVE, NOW);
	say(p, SECURITY, ORDER_APPROVE, NOW);
	expect(p, ORDER_APPROVED, 0);
	p->c = make_charter(0xab, NOW + 1);
	free(old);
	expect(p, ORDER_EXPIRED, CHARTER_OWNER | CHARTER_SECURITY);
	say_refused(p, OWNER, ORDER_APPROVE, NOW, DIAG_ORDER_STATE);
}

/* One rejection from the quorum rejects, and no time heals it. */
static void test_reject(void **state)
{
	struct place *p = *state;
	struct forgery weak = {
	    .signer = people[OPERATOR], .decision = "reject", .role = "operator"};

	plant(p, &weak);
	expect_ignored(p, "no part in the quorum");
	say(p, OWNER, ORDER_APPROVE, NOW);
	say(p, BOTH, ORDER_APPROVE, NOW);
	expect(p, ORDER_APPROVED, 0);
	say(p, SECURITY, ORDER_REJECT, NOW);
	expect(p, ORDER_REJECTED, 0);
	expect_at(p, NOW + 59 * DAY, ORDER_REJECTED, CHARTER_OWNER | CHARTER_SECURITY);
	say_refused(p, SECURITY, ORDER_APPROVE, NOW, DIAG_ORDER_STATE);
	say_refused(p, REQUESTER, ORDER_WITHDRAW, NOW, DIAG_ORDER_STATE);
}

/* The requester or an owner withdraws, nobody else. */
static void test_withdraw(void **state)
{
	struct place *p = *state;
	struct forgery f = {.signer = people[SECURITY], .decision = "withdraw", .role = "security"};

	say_refused(p, SECURITY, ORDER_WITHDRAW, NOW, DIAG_ROLE);
	say_refused(p, OPERATOR, ORDER_WITHDRAW, NOW, DIAG_ROLE);
	plant(p, &f);
	expect_ignored(p, "only the requester or an owner may withdraw");
	say(p, OWNER, ORDER_WITHDRAW, NOW);
	expect(p, ORDER_WITHDRAWN, CHARTER_OWNER | CHARTER_SECURITY);
}

static void test_withdraw_requester(void **state)
{
	struct place *p = *state;
	struct order mine = blank_order(p->c, "D-20261128-0005", people[OPERATOR]);

	/* A requester without any role of the quorum withdraws his own. */
	add_order(p, &mine, people[OPERATOR]);
	p->o = mine;
	say(p, OPERATOR, ORDER_WITHDRAW, NOW);
	expect(p, ORDER_WITHDRAWN, CHARTER_OWNER | CHARTER_SECURITY);
}

/* No byte of an approval can change, and none can be cut off. */
static void test_edited_statement(void **state)
{
	struct place *p = *state;
	CLEANUP_FREE char *text = NULL;
	char name[40];

	say(p, OWNER, ORDER_APPROVE, NOW);
	statement_name("approve", people[OWNER], name);
	text = read_file(p, p->number, name);
	for (size_t i = 0; text[i]; i++) {
		text[i] ^= 1;
		write_file(p, name, text);
		expect(p, ORDER_REQUESTED, CHARTER_OWNER | CHARTER_SECURITY);
		text[i] ^= 1;
	}
	for (size_t n = strlen(text); n-- > 0;) {
		text[n] = '\0';
		write_file(p, name, text);
		expect(p, ORDER_REQUESTED, CHARTER_OWNER | CHARTER_SECURITY);
	}
}

/* A rejection does not become an approval by renaming its file. */
static void test_renamed_decision(void **state)
{
	struct place *p = *state;
	struct forgery f = {.signer = people[OWNER], .decision = "reject"};
	char name[40];

	statement_name("approve", people[OWNER], name);
	f.file = name;
	plant(p, &f);
	expect_ignored(p, "not named after its signer and decision");
}

/* A signed statement in another shape than coffer writes is not understood, so it does not count.
 */
static void test_unknown_content(void **state)
{
	struct place *p = *state;
	struct forgery f = {.signer = people[OWNER], .extra = "unless it rains"};

	plant(p, &f);
	expect_ignored(p, "malformed");
}

/* Links, devices, folders, giants and binary rubbish in a statement's place are ignored and harm
 * nobody. */
static void test_hostile_files(void **state)
{
	struct place *p = *state;
	struct forgery f = {.signer = people[OWNER], .file = "aside"};
	char name[40], path[160], aside[160];
	int fd;

	statement_name("approve", people[OWNER], name);
	path_of(p, p->number, name, path);
	path_of(p, p->number, "aside", aside);
	plant(p, &f);
	assert_int_equal(symlink("aside", path), 0); /* to a valid approval of his, even */
	expect_ignored(p, "not a regular file");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	expect_ignored(p, "not a regular file");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	expect_ignored(p, "not a regular file");
	assert_int_equal(rmdir(path), 0);
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	assert_int_equal(ftruncate(fd, (off_t)1 << 40), 0); /* a sparse terabyte */
	close(fd);
	expect_ignored(p, "too large");
	fd = open(path, O_WRONLY | O_TRUNC);
	assert_int_equal(write(fd, "coffer-statement/1\n\0\xff\x1b[2J", 25), 25);
	close(fd);
	expect_ignored(p, "malformed");
	write_file(p, name, "");
	expect_ignored(p, "malformed");
	assert_int_equal(unlink(path), 0);
	path_of(p, p->number, "approve.\x1b[2J\x1b[31mowned", path);
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	close(fd);
	expect_ignored(p, "not named after a key");
}

/* Thousands of planted files push no real statement out of the list or the count. */
static void test_crowding(void **state)
{
	struct place *p = *state;
	struct order_statement list[ORDER_STATEMENTS_MAX];
	char name[40];
	size_t n;

	for (unsigned i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "approve.%016x", i);
		write_file(p, name, "rubbish");
	}
	say(p, OWNER, ORDER_APPROVE, NOW);
	say(p, SECURITY, ORDER_APPROVE, NOW);
	expect(p, ORDER_APPROVED, 0);
	assert_int_equal(order_statements(p->fd, p->c, &p->o, NOW, list, &n, NULL), 0);
	assert_int_equal(n, ORDER_STATEMENTS_MAX);
	assert_true(list[0].counts && list[1].counts);
	assert_false(list[2].counts);
}

/* The request itself cannot be edited, swapped or moved, nor its inventory. */
static void test_edited_order(void **state)
{
	struct place *p = *state;
	CLEANUP_FREE char *text = read_file(p, p->number, "order");
	CLEANUP_FREE char *kept = edit(text, "backups: destroyed", "backups: kept");
	struct order second = blank_order(p->c, "D-20261128-0002", people[REQUESTER]), o;
	CLEANUP_FREE char *other = sign_order(&second, people[REQUESTER]);
	struct diag d = {0};
	char path[160];

	write_file(p, "order", kept);
	assert_int_equal(order_load(p->fd, p->number, &o, NULL, NULL, &d), -EBADMSG);
	assert_int_equal(d.id, DIAG_NOTE_UNSIGNED);
	write_file(p, "order", other);
	assert_int_equal(order_load(p->fd, p->number, &o, NULL, NULL, &d), -EBADMSG);
	assert_int_equal(d.id, DIAG_NOTE_UNSIGNED);
	write_file(p, "order", text);
	assert_int_equal(order_load(p->fd, p->number, &o, NULL, NULL, &d), 0);
	write_file(p, "inventory", "another list");
	assert_int_equal(order_load(p->fd, p->number, &o, NULL, NULL, &d), -EBADMSG);
	assert_int_equal(d.id, DIAG_NOTE_UNSIGNED);
	path_of(p, p->number, "inventory", path);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_int_equal(order_load(p->fd, p->number, &o, NULL, NULL, &d), -EUCLEAN);
	path_of(p, p->number, "order", path);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_int_equal(order_load(p->fd, p->number, &o, NULL, NULL, &d), -EUCLEAN);
	assert_int_equal(d.id, DIAG_NOTE_MALFORMED);
}

/* A requester who replaces his own order after the approvals loses them. */
static void test_requester_rewrites(void **state)
{
	struct place *p = *state;
	CLEANUP_FREE char *text = NULL;
	struct diag d = {0};

	say(p, OWNER, ORDER_APPROVE, NOW);
	say(p, SECURITY, ORDER_APPROVE, NOW);
	p->o.n_ids = 4000000;
	text = sign_order(&p->o, people[REQUESTER]);
	write_file(p, "order", text);
	assert_int_equal(order_load(p->fd, p->number, &p->o, NULL, NULL, &d), 0);
	expect(p, ORDER_REQUESTED, CHARTER_OWNER | CHARTER_SECURITY);
}

/* Orders by strangers, for another volume, or for actions without a quorum are refused whole. */
static void test_void_orders(void **state)
{
	struct place *p = *state;
	CLEANUP_FREE struct charter *other = make_charter(0xcd, NOW - DAY);
	struct order stranger = blank_order(p->c, "D-20261128-0002", people[STRANGER]);
	struct order export = blank_order(p->c, "D-20261128-0003", people[REQUESTER]);

	add_order(p, &stranger, people[STRANGER]);
	judge_fails(p, p->c, &stranger, -EPERM, DIAG_NOT_MEMBER);
	strcpy(export.action, "export");
	add_order(p, &export, people[REQUESTER]);
	judge_fails(p, p->c, &export, -EPERM, DIAG_QUORUM);
	judge_fails(p, other, &p->o, -EPERM, DIAG_ORDER_STATE);
	p->o = stranger;
	say_refused(p, OWNER, ORDER_APPROVE, NOW, DIAG_NOT_MEMBER);
}

/* What is stored belongs together and to a number that is free. */
static void test_store_refuses(void **state)
{
	struct place *p = *state;
	struct order o = blank_order(p->c, "D-20261128-0002", people[REQUESTER]);
	CLEANUP_FREE char *text = sign_order(&o, people[REQUESTER]), *forged = NULL;
	CLEANUP_FREE char *first = sign_order(&p->o, people[REQUESTER]);
	struct diag d = {0};

	assert_int_equal(order_store(p->fd, &p->o, first, inventory, sizeof(inventory), &d),
			 -EEXIST);
	assert_int_equal(d.id, DIAG_EXISTS);
	assert_int_equal(order_store(p->fd, &o, text, "other", 5, &d), -EINVAL);
	assert_int_equal(order_store(p->fd, &o, first, inventory, sizeof(inventory), &d), -EINVAL);
	forged = edit(text, "ids: 3", "ids: 4");
	assert_int_equal(order_store(p->fd, &o, forged, inventory, sizeof(inventory), &d),
			 -EBADMSG);
	assert_int_equal(order_load(p->fd, o.number, &o, NULL, NULL, &d), -ENOENT);
}

/* Fields outside the grammar make no order. */
static void test_build_refuses(void **state)
{
	struct place *p = *state;
	struct order o;
	char *body = NULL;
	struct diag d = {0};

	o = blank_order(p->c, "D-20261128-0002", people[REQUESTER]);
	strcpy(o.reason, "two\nlines: x");
	assert_int_equal(order_build(&o, &body, &d), -EINVAL);
	assert_int_equal(d.id, DIAG_NOTE_MALFORMED);
	o = blank_order(p->c, "../../etc/passwd", people[REQUESTER]);
	assert_int_equal(order_build(&o, &body, &d), -EINVAL);
	o = blank_order(p->c, "D-20261128-0002", people[REQUESTER]);
	o.expires = o.created;
	assert_int_equal(order_build(&o, &body, &d), -EINVAL);
	o = blank_order(p->c, "D-20261128-0002", people[REQUESTER]);
	strcpy(o.action, "Destroy all");
	assert_int_equal(order_build(&o, &body, &d), -EINVAL);
}

/* Numbers go up, are never given twice, and only complete orders are listed. */
static void test_numbers(void **state)
{
	struct place *p = *state;
	struct order earlier = blank_order(p->c, "D-20251231-0007", people[REQUESTER]);
	CLEANUP_FREE char(*list)[ORDER_NUMBER_MAX + 1] = NULL;
	char next[ORDER_NUMBER_MAX + 1], path[160];
	size_t n;

	add_order(p, &earlier, people[REQUESTER]);
	snprintf(path, sizeof(path), "%s/orders/D-20261128-0009",
		 p->dir); /* half an order: a crash */
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/orders/rubbish", p->dir);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/orders/D-20261128-0003", p->dir);
	assert_int_equal(symlink("D-20261128-0001", path), 0);
	assert_int_equal(order_list(p->fd, &list, &n), 0);
	assert_int_equal(n, 2);
	assert_string_equal(list[0], "D-20251231-0007");
	assert_string_equal(list[1], "D-20261128-0001");
	assert_int_equal(order_next_number(p->fd, NOW, next), 0);
	assert_string_equal(next, "D-20261128-0010");
	assert_int_equal(order_next_number(p->fd, NOW + DAY, next), 0);
	assert_string_equal(next, "D-20261129-0001");
	snprintf(path, sizeof(path), "%s/orders/D-20261128-9999", p->dir);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(order_next_number(p->fd, NOW, next), -ENOSPC);
}

/* A new store has no orders, and can number its first. */
static void test_no_orders(void **state)
{
	struct place *p = *state;
	char(*list)[ORDER_NUMBER_MAX + 1] = NULL;
	char dir[] = "/tmp/test-order-XXXXXX", next[ORDER_NUMBER_MAX + 1];
	CLEANUP_FD int fd = -1;
	size_t n = 1;

	(void)p;
	assert_non_null(mkdtemp(dir));
	fd = open(dir, O_RDONLY | O_DIRECTORY);
	assert_int_equal(order_list(fd, &list, &n), 0);
	assert_int_equal(n, 0);
	assert_null(list);
	assert_int_equal(order_next_number(fd, NOW, next), 0);
	assert_string_equal(next, "D-20261128-0001");
	assert_int_equal(rmdir(dir), 0);
}

static void step(const struct place *p, const char *name)
{
	struct diag d = {0};

	assert_int_equal(order_journal_add(p->fd, &p->o, seed, name, &d), 0);
}

/* The journal carries an order through execution, whatever time and people do meanwhile. */
static void test_journal(void **state)
{
	struct place *p = *state;
	struct charter *old = p->c;
	char(*steps)[64] = NULL;
	struct diag d = {0};
	size_t n;

	assert_int_equal(order_journal_get(p->fd, &p->o, p->c->sign_pk, &steps, &n, &d), 0);
	assert_int_equal(n, 0);
	say(p, OWNER, ORDER_APPROVE, NOW);
	say(p, SECURITY, ORDER_APPROVE, NOW);
	step(p, ORDER_STEP_BEGIN);
	step(p, ORDER_STEP_BEGIN); /* idempotent */
	expect(p, ORDER_EXECUTING, 0);
	say_refused(p, OWNER, ORDER_WITHDRAW, NOW, DIAG_ORDER_STATE);
	expect_at(p, NOW + 90 * DAY, ORDER_EXECUTING, CHARTER_OWNER | CHARTER_SECURITY);
	p->c = make_charter(0xab, NOW + 1);
	free(old);
	expect(p, ORDER_EXECUTING, CHARTER_OWNER | CHARTER_SECURITY);
	step(p, ORDER_STEP_PUNCTURED);
	step(p, "objects/17");
	expect(p, ORDER_EXECUTING, CHARTER_OWNER | CHARTER_SECURITY);
	step(p, ORDER_STEP_VERIFIED);
	expect(p, ORDER_ESCROW_PENDING, CHARTER_OWNER | CHARTER_SECURITY);
	step(p, ORDER_STEP_CERTIFIED);
	expect(p, ORDER_ESCROW_PENDING, CHARTER_OWNER | CHARTER_SECURITY);
	step(p, ORDER_STEP_ESCROWED);
	expect(p, ORDER_DONE, CHARTER_OWNER | CHARTER_SECURITY);
	assert_int_equal(order_journal_get(p->fd, &p->o, p->c->sign_pk, &steps, &n, &d), 0);
	assert_int_equal(n, 6);
	assert_string_equal(steps[2], "objects/17");
	free(steps);
}

static void journal_fails(const struct place *p)
{
	const uint8_t *pk = p->c->sign_pk;
	char(*steps)[64] = NULL;
	struct diag d = {0};
	size_t n;

	assert_int_equal(order_journal_get(p->fd, &p->o, pk, &steps, &n, &d), -EBADMSG);
	assert_int_equal(d.id, DIAG_NOTE_UNSIGNED);
	judge_fails(p, p->c, &p->o, -EBADMSG, DIAG_NOTE_UNSIGNED);
	assert_int_equal(order_journal_add(p->fd, &p->o, seed, "x", &d), -EBADMSG);
}

/* A journal that the volume did not write so is no journal: never "nothing done", never "done". */
static void test_journal_edited(void **state)
{
	struct place *p = *state;
	static const uint8_t other_seed[32] = {77};
	struct order second = blank_order(p->c, "D-20261128-0002", people[REQUESTER]);
	CLEANUP_FREE char *text = NULL, *more = NULL, *other = NULL, *member = NULL, *body = NULL;
	char path[160];
	size_t len;

	step(p, ORDER_STEP_BEGIN);
	text = read_file(p, p->number, "state");
	more = edit(text, "step: begin\n", "step: begin\nstep: punctured\n");
	write_file(p, "state", more);
	journal_fails(p);
	for (size_t i = 0; i < strlen(text); i += 3) {
		text[i] ^= 1;
		write_file(p, "state", text);
		journal_fails(p);
		text[i] ^= 1;
	}
	write_file(p, "state", "");
	journal_fails(p);
	/* The same body under a member's signature. */
	assert_int_equal(note_split(text, &len), 0);
	body = strndup(text, len);
	assert_int_equal(note_sign(body, people[OWNER], &member), 0);
	write_file(p, "state", member);
	journal_fails(p);
	/* Another order's journal, which the volume did sign. */
	add_order(p, &second, people[REQUESTER]);
	assert_int_equal(order_journal_add(p->fd, &second, seed, ORDER_STEP_BEGIN, NULL), 0);
	other = read_file(p, "D-20261128-0002", "state");
	write_file(p, "state", other);
	journal_fails(p);
	path_of(p, p->number, "state", path);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("../D-20261128-0002/state", path), 0);
	journal_fails(p);
	assert_int_equal(unlink(path), 0);
	/* Another volume's key. */
	assert_int_equal(order_journal_add(p->fd, &p->o, other_seed, ORDER_STEP_BEGIN, NULL), 0);
	journal_fails(p);
}

/* Steps fit the grammar. */
static void test_journal_steps(void **state)
{
	struct place *p = *state;
	struct diag d = {0};
	char longer[65];

	memset(longer, 'x', 64);
	longer[64] = '\0';
	assert_int_equal(order_journal_add(p->fd, &p->o, seed, "", &d), -EINVAL);
	assert_int_equal(order_journal_add(p->fd, &p->o, seed, longer, &d), -EINVAL);
	assert_int_equal(order_journal_add(p->fd, &p->o, seed, "a\nstep: b", &d), -EINVAL);
	assert_int_equal(order_journal_add(p->fd, &p->o, seed, longer + 1, &d), 0);
}

/* An opinion is a line of text, or refused. */
static void test_opinion(void **state)
{
	struct place *p = *state;
	struct diag d = {0};
	char longer[ORDER_TEXT_MAX + 2];

	memset(longer, 'x', sizeof(longer));
	longer[ORDER_TEXT_MAX + 1] = '\0';
	assert_int_equal(
	    order_say(p->fd, p->c, &p->o, people[OWNER], ORDER_APPROVE, longer, NOW, &d), -EINVAL);
	assert_int_equal(
	    order_say(p->fd, p->c, &p->o, people[OWNER], ORDER_APPROVE, "a\nb", NOW, &d), -EINVAL);
	assert_int_equal(d.id, DIAG_NOTE_MALFORMED);
	expect(p, ORDER_REQUESTED, CHARTER_OWNER | CHARTER_SECURITY);
}

/* --- statements that are made in one place and stored in another --- */

static char *made(const struct place *p, int who, enum order_decision decision, unsigned missing,
		  int64_t now)
{
	struct diag d = {0};
	char *text = NULL;

	assert_int_equal(order_statement_make(p->c, &p->o, people[who], decision, "seen", missing,
					      now, &text, &d),
			 0);
	return text;
}

/* Neither the check nor the store takes it, and both say why; nothing changes. */
static void not_stored(const struct place *p, const char *text, int64_t now, enum diag_id id)
{
	struct diag d = {0};

	assert_true(order_statement_check(p->fd, p->c, &p->o, text, now, &d) < 0);
	assert_int_equal(d.id, id);
	d = (struct diag){0};
	assert_true(order_statement_store(p->fd, p->c, &p->o, text, now, &d) < 0);
	assert_int_equal(d.id, id);
}

static void stored(const struct place *p, const char *text, int64_t now)
{
	struct diag d = {0};

	assert_int_equal(order_statement_check(p->fd, p->c, &p->o, text, now, &d), 0);
	assert_int_equal(order_statement_store(p->fd, p->c, &p->o, text, now, &d), 0);
}

/* Making touches no store; checking stores nothing; what is stored counts, and says what it said. */
static void test_made_then_stored(void **state)
{
	struct place *p = *state;
	unsigned all = CHARTER_OWNER | CHARTER_SECURITY;
	CLEANUP_FREE char *text = made(p, BOTH, ORDER_APPROVE, CHARTER_SECURITY, NOW);
	struct order_statement st;
	struct diag d = {0};

	assert_int_equal(order_statement_parse(text, &st, &d), 0);
	assert_int_equal(st.decision, ORDER_APPROVE);
	assert_int_equal(st.role, CHARTER_SECURITY); /* the one that was missing */
	assert_string_equal(st.signer, "Both Sun");
	assert_string_equal(st.opinion, "seen");
	assert_int_equal(st.expires, NOW + ORDER_APPROVAL_LIFE);
	assert_int_equal(order_statement_check(p->fd, p->c, &p->o, text, NOW, &d), 0);
	expect(p, ORDER_REQUESTED, all);
	stored(p, text, NOW);
	expect(p, ORDER_REQUESTED, CHARTER_OWNER);
	stored(p, text, NOW); /* again changes nothing */
	expect(p, ORDER_REQUESTED, CHARTER_OWNER);
}

/* The judge relies on nothing that a maker has looked at: a note by anybody can be made. */
static void test_store_judges(void **state)
{
	struct place *p = *state;
	const struct {
		int who;
		enum order_decision decision;
		enum diag_id id;
	} bad[] = {
	    {STRANGER, ORDER_APPROVE, DIAG_NOT_MEMBER},
	    {STRANGER, ORDER_REJECT, DIAG_NOT_MEMBER},
	    {REQUESTER, ORDER_APPROVE, DIAG_REQUESTER},
	    {OPERATOR, ORDER_APPROVE, DIAG_ROLE},
	    {AUDITOR, ORDER_REJECT, DIAG_ROLE},
	    {SECURITY, ORDER_WITHDRAW, DIAG_ROLE},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		CLEANUP_FREE char *text = made(p, bad[i].who, bad[i].decision, 0, NOW);

		not_stored(p, text, NOW, bad[i].id);
	}
	expect(p, ORDER_REQUESTED, CHARTER_OWNER | CHARTER_SECURITY);
}

/* Who carries a statement of somebody else changes nothing in it. */
static void test_store_altered(void **state)
{
	struct place *p = *state;
	static const char *const changes[][2] = {
	    {"decision: approve", "decision: reject"}, {"role: owner", "role: security"},
	    {"opinion: seen", "opinion: scene"},       {"D-20261128-0001", "D-20261128-0002"},
	    {"signer: Own Li", "signer: Sec Wang"},
	};
	CLEANUP_FREE char *text = made(p, OWNER, ORDER_APPROVE, CHARTER_OWNER, NOW);
	CLEANUP_FREE char *cut = strndup(text, strlen(text) / 2);
	struct diag d = {0};

	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		CLEANUP_FREE char *other = edit(text, changes[i][0], changes[i][1]);

		d = (struct diag){0};
		assert_true(order_statement_store(p->fd, p->c, &p->o, other, NOW, &d) < 0);
		assert_true(d.id == DIAG_NOTE_UNSIGNED || d.id == DIAG_NOTE_MALFORMED);
	}
	not_stored(p, cut, NOW, DIAG_NOTE_MALFORMED);
	not_stored(p, "", NOW, DIAG_NOTE_MALFORMED);
	expect(p, ORDER_REQUESTED, CHARTER_OWNER | CHARTER_SECURITY);
}

/* Nor is it stored for another order, under another charter, or at another time. */
static void test_store_elsewhere(void **state)
{
	struct place *p = *state;
	CLEANUP_FREE char *text = made(p, OWNER, ORDER_APPROVE, CHARTER_OWNER, NOW);
	CLEANUP_FREE struct charter *other = make_charter(0xab, NOW + 1);
	struct order second = blank_order(p->c, "D-20261128-0002", people[REQUESTER]);
	struct diag d = {0};

	add_order(p, &second, people[REQUESTER]);
	assert_true(order_statement_store(p->fd, p->c, &second, text, NOW, &d) < 0);
	assert_int_equal(d.id, DIAG_ORDER_STATE);
	assert_true(order_statement_store(p->fd, other, &p->o, text, NOW, &d) < 0);
	assert_int_equal(d.id, DIAG_ORDER_STATE);
	not_stored(p, text, NOW + ORDER_APPROVAL_LIFE, DIAG_ORDER_STATE);
	not_stored(p, text, NOW - ORDER_CLOCK_SKEW - 1, DIAG_ORDER_STATE);
	say(p, SECURITY, ORDER_REJECT, NOW);
	not_stored(p, text, NOW, DIAG_ORDER_STATE);
	expect(p, ORDER_REJECTED, CHARTER_OWNER | CHARTER_SECURITY);
}

/* Everybody who reads orders has everybody's notes: an earlier one never replaces a later one. */
static void test_store_earlier(void **state)
{
	struct place *p = *state;
	CLEANUP_FREE char *earlier = made(p, OWNER, ORDER_APPROVE, CHARTER_OWNER, NOW);
	CLEANUP_FREE char *later = made(p, OWNER, ORDER_APPROVE, CHARTER_OWNER, NOW + DAY);
	CLEANUP_FREE char *there = NULL;
	char name[40];

	stored(p, earlier, NOW);
	stored(p, later, NOW + DAY);
	not_stored(p, earlier, NOW + DAY, DIAG_ORDER_STATE);
	statement_name("approve", people[OWNER], name);
	there = read_file(p, p->number, name);
	assert_string_equal(there, later);
}

/* What is told of an order becomes file names: only a statement's own. */
static void test_statement_names(void **state)
{
	char name[40], other[48];

	(void)state;
	statement_name("reject", people[OWNER], name);
	assert_true(order_statement_name(name));
	snprintf(other, sizeof(other), "../%s", name);
	assert_false(order_statement_name(other));
	snprintf(other, sizeof(other), "%s/x", name);
	assert_false(order_statement_name(other));
	assert_false(order_statement_name("approve./../../x"));
	assert_false(order_statement_name("reject."));
	assert_false(order_statement_name("order"));
	assert_false(order_statement_name("."));
	assert_false(order_statement_name(""));
}

#define IN_PLACE(test) cmocka_unit_test_setup_teardown(test, place_make, place_remove)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    IN_PLACE(test_load),
	    IN_PLACE(test_quorum),
	    IN_PLACE(test_two_roles_one_person),
	    IN_PLACE(test_two_roles_two_people),
	    IN_PLACE(test_requester),
	    IN_PLACE(test_wrong_people),
	    IN_PLACE(test_forged_signature),
	    IN_PLACE(test_impostor),
	    IN_PLACE(test_replayed),
	    IN_PLACE(test_copied_between_orders),
	    IN_PLACE(test_times),
	    IN_PLACE(test_order_expires),
	    IN_PLACE(test_charter_changed),
	    IN_PLACE(test_reject),
	    IN_PLACE(test_withdraw),
	    IN_PLACE(test_withdraw_requester),
	    IN_PLACE(test_edited_statement),
	    IN_PLACE(test_renamed_decision),
	    IN_PLACE(test_unknown_content),
	    IN_PLACE(test_hostile_files),
	    IN_PLACE(test_crowding),
	    IN_PLACE(test_edited_order),
	    IN_PLACE(test_requester_rewrites),
	    IN_PLACE(test_void_orders),
	    IN_PLACE(test_store_refuses),
	    IN_PLACE(test_build_refuses),
	    IN_PLACE(test_numbers),
	    IN_PLACE(test_no_orders),
	    IN_PLACE(test_journal),
	    IN_PLACE(test_journal_edited),
	    IN_PLACE(test_journal_steps),
	    IN_PLACE(test_opinion),
	    IN_PLACE(test_made_then_stored),
	    IN_PLACE(test_store_judges),
	    IN_PLACE(test_store_altered),
	    IN_PLACE(test_store_elsewhere),
	    IN_PLACE(test_store_earlier),
	    cmocka_unit_test(test_statement_names),
	};

	return cmocka_run_group_tests(tests, make_people, free_people);
}
