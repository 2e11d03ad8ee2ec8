/*
 * O_TMPFILE.
 *
 * The kernel (6.2 and newer; older ones answer EOPNOTSUPP by themselves) asks for a file without a name by a request of
 * its own, TMPFILE, whose body and answer are those of CREATE. libfuse hands it on from 3.17 only, and refuses it before
 * that. So it is turned into a CREATE while it is still bytes: the kernel gives such a file the name "/", which no other
 * file can have, and the handler of CREATE knows it by that. Bodies are told apart by nothing else, so a request whose
 * name is not that is left to libfuse.
 */
#include "fs/front_internal.h"

#include <linux/fuse.h>
#include <string.h>

#define OPCODE_TMPFILE 51 /* not in the headers of Debian 12 */

void front_tmpfile_request(void *request, size_t len)
{
	struct fuse_in_header *in = request;
	const size_t name_at = sizeof(*in) + sizeof(struct fuse_create_in);

	if (len != name_at + sizeof(FRONT_NO_NAME) || in->opcode != OPCODE_TMPFILE)
		return;
	if (memcmp((const char *)request + name_at, FRONT_NO_NAME, sizeof(FRONT_NO_NAME)) == 0)
		in->opcode = FUSE_CREATE;
}
