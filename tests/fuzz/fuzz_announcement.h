/* Announcements for fuzz_notes.c and the reject tests: their parser is static, and its file has
 * names of its own. */
#ifndef COFFER_TESTS_FUZZ_ANNOUNCEMENT_H
#define COFFER_TESTS_FUZZ_ANNOUNCEMENT_H

/* What the parser says of a note, with outputs checked. */
int announcement_try(const char *note);
void fuzz_announcement(const char *note);

#endif
