/*
 * The table of messages, and printing and logging what came of it.
 *
 * A cause says what is the case, a next step says what to do about it; each is one plain sentence
 * that fits every object. Exit codes follow from the row: 3 when a rule refused, 4 when something
 * that must be whole is not.
 */
#include "core/diag.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <syslog.h>

#define LOG_LINE_LEN 1024

struct row {
	const char *name;
	const char *cause;
	const char *next;
	enum diag_exit code;
};

static const struct row rows[DIAG_N] = {
	[DIAG_NONE] = {"none", "Nothing failed.", "Go on.", DIAG_EXIT_DONE},
	[DIAG_SYSTEM] = {"system", "The operating system refused an operation.",
			 "Remove the reason given in brackets and run the command again.",
			 DIAG_EXIT_FAILED},
	[DIAG_USAGE] = {"usage", "The command line is wrong.",
			"Run 'coffer help' for the commands and their arguments.",
			DIAG_EXIT_USAGE},
	[DIAG_NO_VOLUME] = {"no-volume", "There is no store and no mounted volume here.",
			    "Give the store folder or its mount point, or make one with "
			    "'coffer init'.",
			    DIAG_EXIT_FAILED},
	[DIAG_NOT_MOUNTED] = {"not-mounted", "The volume must be mounted for this.",
			      "Mount it with 'coffer mount STORE MOUNTPOINT' and try again.",
			      DIAG_EXIT_FAILED},
	[DIAG_MOUNTED] = {"mounted", "Another process is using the store.",
			  "Unmount it with 'coffer umount MOUNTPOINT', or name the mount point "
			  "instead of the store.",
			  DIAG_EXIT_FAILED},
	[DIAG_STORE_EXISTS] = {"store-exists", "The folder is not empty and would be overwritten.",
			       "Choose an empty or a new folder.", DIAG_EXIT_FAILED},
	[DIAG_HEADER_DAMAGED] = {"header-damaged",
				 "The volume header is damaged or belongs to another volume.",
				 "Put back the header from a backup of the store, or recover with "
				 "'coffer key recover'.",
				 DIAG_EXIT_INTEGRITY},
	[DIAG_VERSION] = {"version", "The format is newer than this program understands.",
			  "Install a coffer release that knows this format.", DIAG_EXIT_FAILED},
	[DIAG_SUITE] = {"suite", "The cipher suite of the volume is not available on this machine.",
			"Use a machine with the hardware and library that 'coffer status' listed "
			"for the volume.",
			DIAG_EXIT_FAILED},
	[DIAG_WRONG_SECRET] = {"wrong-secret",
			       "No unlock slot opens with this passphrase, identity or key file.",
			       "Try again, or see with 'coffer key list' which slots there are.",
			       DIAG_EXIT_FAILED},
	[DIAG_PASS_WEAK] = {"pass-weak", "The passphrase does not meet the rules for passphrases.",
			    "Choose a longer one, for example six random words.",
			    DIAG_EXIT_REFUSED},
	[DIAG_SECRET_FILE] = {"secret-file",
			      "The secret file is missing, empty, too long or readable by others.",
			      "Put the secret on the first line and restrict the file with "
			      "'chmod 600'.",
			      DIAG_EXIT_FAILED},
	[DIAG_ANCHOR_MISSING] = {"anchor-missing", "The anchor of the volume is not there.",
				 "Attach the medium that holds the anchor, or recover it from an "
				 "escrow with 'coffer key recover'.",
				 DIAG_EXIT_FAILED},
	[DIAG_ANCHOR_DAMAGED] = {"anchor-damaged", "Neither slot of the anchor opens.",
				 "Check the medium and recover the anchor from an escrow with "
				 "'coffer key recover'.",
				 DIAG_EXIT_INTEGRITY},
	[DIAG_ROLLED_BACK] = {"rolled-back", "The store is older than its anchor says it must be.",
			      "Put back the newest copy of the store, or restore from a set with "
			      "'coffer restore --all'.",
			      DIAG_EXIT_INTEGRITY},
	[DIAG_KEYSTATE] = {"key-state", "The key state is missing or does not open.",
			   "Put back the key state files of the store, or recover them from an "
			   "escrow with 'coffer key recover'.",
			   DIAG_EXIT_INTEGRITY},
	[DIAG_ESCROW] = {"escrow", "The escrow place is missing, not writable or does not open.",
			 "Attach the medium and run 'coffer escrow sync'.", DIAG_EXIT_FAILED},
	[DIAG_STORE_DAMAGED] = {"store-damaged", "A record or block of the store failed its check.",
				"Run 'coffer check --data' to see what is affected, and restore "
				"that from a set with 'coffer restore'.",
				DIAG_EXIT_INTEGRITY},
	[DIAG_STORE_READ_ONLY] = {"store-read-only",
				  "The store lies on a medium that cannot be written, which opening "
				  "takes, for reading too.",
				  "Make it writable, or copy the whole store to where it is, and open "
				  "that.",
				  DIAG_EXIT_FAILED},
	[DIAG_NO_REPOSITORY] = {"no-repository", "There is no backup repository here.",
				"Attach the medium or correct the repository in coffer.conf.",
				DIAG_EXIT_FAILED},
	[DIAG_REPOSITORY_OTHER] = {"repository-other",
				   "The backup repository belongs to another volume.",
				   "Name the repository of this volume.", DIAG_EXIT_FAILED},
	[DIAG_SET_MISSING] = {"set-missing", "There is no such backup set.",
			      "See with 'coffer backup list' which sets there are.",
			      DIAG_EXIT_FAILED},
	[DIAG_SET_DAMAGED] = {"set-damaged", "A part of the backup set failed its check.",
			      "Run 'coffer backup verify' and use another set or another copy of "
			      "the repository.",
			      DIAG_EXIT_INTEGRITY},
	[DIAG_DESTROYED] = {"destroyed", "The data was destroyed under an order and is gone.",
			    "See the order and its certificate with 'coffer destroy show'.",
			    DIAG_EXIT_FAILED},
	[DIAG_NOT_FOUND] = {"not-found", "There is nothing of that name.",
			    "Check the name against the listing of its kind.", DIAG_EXIT_FAILED},
	[DIAG_EXISTS] = {"exists", "There is already something of that name.",
			 "Choose another name, or remove what is there first.", DIAG_EXIT_FAILED},
	[DIAG_NOTE_MALFORMED] = {"note-malformed", "The signed note does not follow its grammar.",
				 "Ask its author for the original file, unedited.",
				 DIAG_EXIT_INTEGRITY},
	[DIAG_NOTE_UNSIGNED] = {"note-unsigned",
				"A signature is missing, wrong or of an unknown key.",
				"Compare the keys with 'coffer member list' and ask the signer to "
				"sign again.",
				DIAG_EXIT_INTEGRITY},
	[DIAG_NOT_MEMBER] = {"not-member", "The identity is not in the charter of this volume.",
			     "Use the identity of a member shown by 'coffer member list'.",
			     DIAG_EXIT_REFUSED},
	[DIAG_ROLE] = {"role", "The member does not have the role for this.",
		       "Ask a member who has it, shown by 'coffer member list'.",
		       DIAG_EXIT_REFUSED},
	[DIAG_QUORUM] = {"quorum", "Approvals are missing.",
			 "Ask the members that 'coffer destroy show' names to run "
			 "'coffer destroy approve'.",
			 DIAG_EXIT_REFUSED},
	[DIAG_REQUESTER] = {"requester", "Whoever requested an order may not approve it.",
			    "Ask another member with the approving role.", DIAG_EXIT_REFUSED},
	[DIAG_ORDER_STATE] = {"order-state", "The order is not in a state that allows this.",
			      "See its state with 'coffer destroy show'.", DIAG_EXIT_REFUSED},
	[DIAG_ORDER_DRIFT] = {"order-drift",
			      "The data under the order has changed since it was requested.",
			      "Withdraw the order with 'coffer destroy withdraw' and request it "
			      "anew.",
			      DIAG_EXIT_REFUSED},
	[DIAG_TRAIL] = {"trail",
			"The audit trail cannot be written, which stops privileged actions.",
			"Make room or repair the medium of the trail, then try again.",
			DIAG_EXIT_REFUSED},
	[DIAG_TRAIL_DAMAGED] = {"trail-damaged", "The audit trail fails its check.",
				"Keep it as it is, run 'coffer audit verify' and tell the auditor.",
				DIAG_EXIT_INTEGRITY},
	[DIAG_NO_SPACE] = {"no-space", "There is no space left.",
			   "Delete data or enlarge the medium or the quota.", DIAG_EXIT_FAILED},
	[DIAG_DENIED] = {"denied", "The caller has no permission for this.",
			 "Ask a user who has it, or the administrator of the host.",
			 DIAG_EXIT_REFUSED},
	[DIAG_POLICY] = {"policy", "The configuration is wrong.",
			 "Correct that line and run 'coffer policy check'.", DIAG_EXIT_USAGE},
	[DIAG_INTERRUPTED] = {"interrupted", "The command was stopped by a signal.",
			      "Run it again; what was complete stands.", DIAG_EXIT_FAILED},
	[DIAG_HOLD] = {"hold", "A legal hold or a retention date forbids this.",
		       "See it with 'coffer backup holds' and wait, or have the hold released.",
		       DIAG_EXIT_REFUSED},
	[DIAG_MEDIUM] = {"medium", "This is not the offline medium that it should be.",
			 "Compare label and folder with 'coffer backup media list', or forget a medium that "
			 "is no more.",
			 DIAG_EXIT_REFUSED},
};

/* ---- table ---- */

static const struct row *row_of(enum diag_id id)
{
	return (unsigned int)id < DIAG_N ? &rows[id] : &rows[DIAG_SYSTEM];
}

const char *diag_cause(enum diag_id id)
{
	return row_of(id)->cause;
}

const char *diag_next(enum diag_id id)
{
	return row_of(id)->next;
}

const char *diag_name(enum diag_id id)
{
	return row_of(id)->name;
}

enum diag_id diag_by_name(const char *name)
{
	enum diag_id id = DIAG_NONE;

	while (id < DIAG_N && strcmp(rows[id].name, name) != 0)
		id++;
	return id;
}

enum diag_exit diag_exit_code(enum diag_id id)
{
	return row_of(id)->code;
}

const char *diag_errno(int err)
{
	const char *text;

	switch (err < 0 ? -err : err) {
	case EBADMSG:
		return "authentication failed";
	case EUCLEAN:
		return "malformed";
	case ENOKEY:
		return "no key";
	case EKEYREVOKED:
		return "destroyed";
	case EROFS:
		return "frozen or read-only";
	case EPROTONOSUPPORT:
		return "newer format";
	}
	/* Unlike strerror, safe in threads and the same in every locale. */
	text = strerrordesc_np(err < 0 ? -err : err);
	return text ? text : "unknown error";
}

/* ---- recording ---- */

static void record(struct diag *d, enum diag_id id, int err, const char *fmt, va_list ap)
	__attribute__((format(printf, 4, 0)));
static void record(struct diag *d, enum diag_id id, int err, const char *fmt, va_list ap)
{
	char object[sizeof(d->object)];

	/* By way of a copy: the new object may well be built from the old one. */
	vsnprintf(object, sizeof(object), fmt, ap);
	d->id = id;
	d->err = err;
	memcpy(d->object, object, sizeof(object));
}

int diag_fail(struct diag *d, enum diag_id id, int err, const char *object_fmt, ...)
{
	va_list ap;

	if (!d)
		return err;
	va_start(ap, object_fmt);
	record(d, id, err, object_fmt, ap);
	va_end(ap);
	return err;
}

static enum diag_id row_for_errno(int err)
{
	switch (-err) {
	case ENOSPC:
	case EDQUOT:
		return DIAG_NO_SPACE;
	case EACCES:
	case EPERM:
		return DIAG_DENIED;
	case ENOENT:
		return DIAG_NOT_FOUND;
	case EEXIST:
		return DIAG_EXISTS;
	case EINTR:
		return DIAG_INTERRUPTED;
	case EBADMSG:
	case EUCLEAN:
		return DIAG_STORE_DAMAGED;
	case EPROTONOSUPPORT:
		return DIAG_VERSION;
	case ENOKEY:
		return DIAG_WRONG_SECRET;
	case EKEYREVOKED:
		return DIAG_DESTROYED;
	default:
		return DIAG_SYSTEM;
	}
}

int diag_fail_errno(struct diag *d, int err, const char *object_fmt, ...)
{
	va_list ap;

	if (!d)
		return err;
	va_start(ap, object_fmt);
	record(d, row_for_errno(err), err, object_fmt, ap);
	va_end(ap);
	return err;
}

/* ---- printing and logging ---- */

/* In place. UTF-8 passes, apart from the C1 controls, which are 0xc2 0x80 to 0xc2 0x9f. */
static void tame(char *s)
{
	for (unsigned char *p = (unsigned char *)s; *p; p++) {
		if (*p < 0x20 || *p == 0x7f)
			*p = '?';
		else if (*p == 0xc2 && p[1] >= 0x80 && p[1] <= 0x9f)
			p[0] = p[1] = '?';
	}
}

enum diag_exit diag_print(const struct diag *d, FILE *f)
{
	const struct row *row = row_of(d->id);
	struct diag shown = *d;

	if (d->id == DIAG_NONE)
		return row->code;
	tame(shown.object);
	fprintf(f, "coffer: ");
	if (*shown.object)
		fprintf(f, "%s: ", shown.object);
	/* The sentence without its full stop when the errno's text follows. */
	if (d->err)
		fprintf(f, "%.*s (%s).\n", (int)strlen(row->cause) - 1, row->cause,
			diag_errno(d->err));
	else
		fprintf(f, "%s\n", row->cause);
	fprintf(f, "  %s\n", row->next);
	return row->code;
}

static atomic_bool log_to_syslog;

void diag_log_open(bool to_syslog)
{
	if (to_syslog)
		openlog("coffer", LOG_PID, LOG_DAEMON);
	log_to_syslog = to_syslog;
}

void diag_log(enum diag_level level, const char *fmt, ...)
{
	char line[LOG_LINE_LEN];
	int saved = errno;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	tame(line);
	if (log_to_syslog)
		syslog((int)level, "%s", line);
	else
		fprintf(stderr, "coffer: %s\n", line);
	errno = saved;
}
