/* Inside the configuration: its sections and keys as tables, read by conf.c and filled by
 * conf_keys.c. */
#ifndef COFFER_CORE_CONF_INTERNAL_H
#define COFFER_CORE_CONF_INTERNAL_H

#include "core/conf.h"

#define CONF_KEYS_MAX 12 /* of one section */

struct conf_key {
	const char *name;
	size_t off; /* of the field in what the section is about */
	bool required;
	/* -EINVAL when the value is not of the form. */
	int (*parse)(const struct conf_key *k, const char *value, void *field);
	unsigned min, max;
	const char *form;
};
struct conf_section {
	const char *word;  /* "repository" */
	const char *named; /* what stands after the word, "NAME"; NULL: nothing may */
	unsigned which;    /* tier */
	/* What the section is about; NULL when there is no room for one more. */
	void *(*place)(struct conf *c, const struct conf_section *s, const char *name);
	struct conf_key keys[CONF_KEYS_MAX];
};

/* Ended by one without a word. */
extern const struct conf_section conf_sections[];

#endif
