/*
 * The FUSE front end: the kernel's requests answered by the volume engine. The only part that includes libfuse.
 *
 * One session serves one volume. front_new mounts, front_serve runs the loop until unmounted or front_stop, front_free unmounts what is
 * left. Handlers never send cache notifications; front_flush and front_invalidate do, from a thread that holds no engine lock and is not a loop thread.
 */
#ifndef COFFER_FS_FRONT_H
#define COFFER_FS_FRONT_H

#include "core/diag.h"
#include "fs/volume.h"

struct front;
struct front_config {
	struct volume *volume;
	const char *mountpoint;
	const char *fsname;  /* shown in mount tables: the volume's name */
	bool io_flusher;     /* this process is not made to wait for others' dirty pages (PR_SET_IO_FLUSHER) */
	bool allow_other;
	bool read_only;
	const char *options; /* further mount options, comma-separated, or NULL */
	unsigned n_threads;  /* 0 = 4: some wait for the medium while others answer */
};

int front_new(const struct front_config *cfg, struct front **ret, struct diag *d);
/* 0 when unmounted or stopped; nothing is mounted any more then. -errno when a thread could not be started. */
int front_serve(struct front *f);
/* From any thread or a signal handler: front_serve returns soon, or at a later request; call again while it has not. */
void front_stop(struct front *f);
void front_free(struct front *f);
/*
 * Dirty pages of every inode with a writable handle (volume_writable_ids) are written to the engine: what a program wrote before
 * this call is in the engine when it returns, but what there was no room for (its writer is told). 0 or -errno.
 */
int front_flush(struct front *f);
/* Drops the kernel's cached pages and attributes of the ids, and the names that lead to them. */
void front_invalidate(struct front *f, const uint64_t *ids, size_t n);
void front_invalidate_entry(struct front *f, uint64_t parent, const char *name);

#endif
