/* Index entries for make_seeds.c. */
#include "backup/set_index.h"

#include <sys/stat.h>

#include "tests/reject/make_seeds.h"

void seed_index(struct bytes_w *w)
{
	const struct set_entry entries[] = {
	    {.kind = SET_NODE, .id = 20, .version = 7, .pack = 0, .off = 0, .len = 120, .sum = {1}},
	    {.kind = SET_NAME,
	     .id = 1,
	     .link = 5,
	     .child = 20,
	     .type_mode = S_IFREG,
	     .version = 7,
	     .off = 120,
	     .len = 130},
	    {.kind = SET_DATA,
	     .flags = SET_OVERLAY,
	     .id = 20,
	     .range = 3,
	     .version = 8,
	     .pack = 1,
	     .len = 5000},
	    {.kind = SET_GONE, .flags = SET_LAST, .id = 1, .link = 4, .child = 19},
	    {.kind = SET_EDGE, .flags = 1, .id = 20, .link = 19},
	};

	for (size_t i = 0; i < sizeof(entries) / sizeof(*entries); i++)
		set_index_put_entry(w, &entries[i]);
}
