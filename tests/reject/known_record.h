/* The record that the frames in tests/reject/frame are to be of, as an index says it. */
#ifndef COFFER_TESTS_KNOWN_RECORD_H
#define COFFER_TESTS_KNOWN_RECORD_H

#include "backup/set_internal.h"

#define KNOWN_RECORD_LEN 160

static const struct set_entry known_record = {.kind = SET_DATA,
					      .flags = SET_OVERLAY,
					      .id = 20,
					      .version = 8,
					      .range = 3,
					      .len = KNOWN_RECORD_LEN};

#endif
