/*
 * Diagnostics: the one table of messages, and the place where a library leaves what it knows.
 *
 * Libraries neither print nor exit. A function that can fail in a way the user should understand
 * takes a struct diag and calls diag_fail: it names the kind of failure (a row of the table, with
 * cause, next step and exit code) and the object. The outermost caller prints once with
 * diag_print. Background threads of the serving process use diag_log. A struct diag belongs to one
 * thread; diag_log is thread-safe.
 */
#ifndef COFFER_CORE_DIAG_H
#define COFFER_CORE_DIAG_H

#include <stdbool.h>
#include <stdio.h>

enum diag_exit {
	DIAG_EXIT_DONE = 0,
	DIAG_EXIT_FAILED = 1,
	DIAG_EXIT_USAGE = 2,
	DIAG_EXIT_REFUSED = 3,
	DIAG_EXIT_INTEGRITY = 4,
};

/* Rows of the table in diag.c, in this order. */
enum diag_id {
	DIAG_NONE,
	DIAG_SYSTEM,	       /* an errno from the system; the object says where */
	DIAG_USAGE,	       /* the command line is wrong */
	DIAG_NO_VOLUME,	       /* no store and no mount point by that name */
	DIAG_NOT_MOUNTED,      /* a mounted volume is needed */
	DIAG_MOUNTED,	       /* the store is in use by another process */
	DIAG_STORE_EXISTS,     /* init would write over something */
	DIAG_HEADER_DAMAGED,   /* header unreadable, unsigned, or not this volume's */
	DIAG_VERSION,	       /* format newer than this program */
	DIAG_SUITE,	       /* suite not available on this machine */
	DIAG_WRONG_SECRET,     /* no slot opens with this passphrase, identity or key file */
	DIAG_PASS_WEAK,	       /* passphrase below the rules */
	DIAG_SECRET_FILE,      /* secret file missing, empty, or readable by others */
	DIAG_ANCHOR_MISSING,   /* anchor folder or slots not there */
	DIAG_ANCHOR_DAMAGED,   /* neither slot opens */
	DIAG_ROLLED_BACK,      /* the store is older than the anchor */
	DIAG_KEYSTATE,	       /* key state missing or not opening */
	DIAG_ESCROW,	       /* escrow place missing, unwritable or not opening */
	DIAG_STORE_DAMAGED,    /* a record or block failed its check */
	DIAG_NO_REPOSITORY,    /* repository missing or not one */
	DIAG_REPOSITORY_OTHER, /* repository of another volume */
	DIAG_SET_MISSING,      /* no such set */
	DIAG_SET_DAMAGED,      /* a manifest, index, pack or record failed its check */
	DIAG_DESTROYED,	       /* destroyed under an order, which the object names */
	DIAG_NOT_FOUND,	       /* no such path, member, order, hold .. */
	DIAG_EXISTS,	       /* already there */
	DIAG_NOTE_MALFORMED,   /* a signed note breaks the grammar */
	DIAG_NOTE_UNSIGNED,    /* signature missing, wrong or of an unknown key */
	DIAG_NOT_MEMBER,       /* the identity is not in the charter */
	DIAG_ROLE,	       /* the member lacks the role */
	DIAG_QUORUM,	       /* approvals missing */
	DIAG_REQUESTER,	       /* the requester may not approve */
	DIAG_ORDER_STATE,      /* the order is not in a state for this */
	DIAG_ORDER_DRIFT,      /* the inventory changed since the request */
	DIAG_TRAIL,	       /* the trail cannot be written: privileged actions stop */
	DIAG_TRAIL_DAMAGED,    /* the trail fails its check */
	DIAG_NO_SPACE,	       /* the medium is full */
	DIAG_DENIED,	       /* the caller may not ask for this */
	DIAG_POLICY,	       /* coffer.conf is wrong; the object names line and key */
	DIAG_INTERRUPTED,      /* stopped by a signal; what stands is complete */
	DIAG_HOLD,	       /* a legal hold or a retention date forbids it */
	DIAG_STORE_READ_ONLY,  /* the store's medium cannot be written */
	DIAG_MEDIUM,	       /* not the offline medium that it should be */
	DIAG_N
};

struct diag {
	enum diag_id id;
	int err;	  /* 0 or -errno */
	char object[512]; /* what it happened to */
};

/*
 * Records a failure and returns err (negative), so that callers write `return diag_fail(..)`. A
 * NULL d is allowed. A later diag_fail replaces an earlier one: the outer caller knows the object
 * better only when it has something to say, otherwise it just passes the error on.
 */
int diag_fail(struct diag *d, enum diag_id id, int err, const char *object_fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* The same for an errno, with the row chosen from it (ENOSPC, EACCES ..; else DIAG_SYSTEM). */
int diag_fail_errno(struct diag *d, int err, const char *object_fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Cause, next step and stable name ("wrong-secret") of a row. */
const char *diag_cause(enum diag_id id);
const char *diag_next(enum diag_id id);
const char *diag_name(enum diag_id id);
/* DIAG_N when there is no row of that name. */
enum diag_id diag_by_name(const char *name);
enum diag_exit diag_exit_code(enum diag_id id);
/*
 * A short text for an errno, with the project's meaning of EBADMSG, EUCLEAN, ENOKEY, EKEYREVOKED,
 * EROFS.
 */
const char *diag_errno(int err);
/*
 * "coffer: OBJECT: CAUSE (errno text)\n  NEXT STEP\n" to f; returns the exit code. Control
 * characters in the object come out as '?', so that a file name cannot drive the terminal. Prints
 * nothing for DIAG_NONE.
 */
enum diag_exit diag_print(const struct diag *d, FILE *f);

/* Where the serving process's messages go. */
enum diag_level { DIAG_ERROR = 3, DIAG_WARNING = 4, DIAG_INFO = 6 }; /* syslog's numbers */
void diag_log_open(bool to_syslog); /* else standard error; before any other thread logs */
/* One line each, at most 1 KiB, control characters replaced. */
void diag_log(enum diag_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
