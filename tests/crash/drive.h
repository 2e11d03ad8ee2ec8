/*
 * Does the operations of ops.h to a volume, beside a reference that says how each has to end.
 *
 * Nothing here asserts: what is wrong is told in words, so that a caller can look for the shortest
 * list that shows it.
 */
#ifndef COFFER_TESTS_CRASH_DRIVE_H
#define COFFER_TESTS_CRASH_DRIVE_H

#include "core/identity.h"
#include "fs/volume.h"
#include "tests/crash/reference.h"
#include "tests/unit/volume_fixture.h"

#define WHY_MAX 400

struct driver {
	struct fixture *fx;
	struct identity *who;
	struct reference ref;
	char why[WHY_MAX]; /* what went wrong */
	struct volume_snapshot snap;
	struct reference at_snap; /* as it was then; next_serial 0: none is open */
	unsigned steps;
	int got; /* how the last operation ended */
};

/* A store in the fixture's folder with a volume in it, unmounted, keys closed. */
void driver_create(struct fixture *fx, struct identity *who);
bool driver_mount(struct driver *d, bool read_only);
/* Releases handles, closes the volume and the keys. */
bool driver_unmount(struct driver *d);
/* Frees what the reference holds. */
void driver_end(struct driver *d);

enum drive_result { DRIVE_DONE, DRIVE_SKIPPED, DRIVE_WRONG };
/* One operation. DRIVE_DONE also when it ended with the error that it had to end with; then the
 * reference has taken step number ++d->steps. before is called (if not NULL) between the two. */
enum drive_result drive(struct driver *d, const struct op *op, void (*before)(void *), void *arg);
/* The component that a letter stands for. */
const char *drive_name(unsigned letter);
/* Fills in d->why. */
bool drive_wrong(struct driver *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
