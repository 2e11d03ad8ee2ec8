/* What the parts of note and the grammar of names share: characters, words and decimal numbers. */
#ifndef COFFER_CORE_NOTE_INTERNAL_H
#define COFFER_CORE_NOTE_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Bytes of the character at p (n bytes left, n > 0) and its code point; 0 when it is not
 * well-formed UTF-8. */
size_t note_utf8(const uint8_t *p, size_t n, uint32_t *ret_cp);
/* Neither control, nor separator of lines or paragraphs, nor bidirectional control. */
bool note_char_ok(uint32_t cp);
/* White space of any width. */
bool note_char_blank(uint32_t cp);
/* [a-z0-9-]{1,max} */
bool note_word_ok(const char *s, size_t len, size_t max);
#define NOTE_WORD_MAX 63
/* Decimal without sign and leading zeros. 0 or -EUCLEAN. */
int note_decimal(const char *s, uint64_t *ret);
/* UTF-8 lines of permitted characters, the last one ended. */
bool note_lines_ok(const char *s, size_t len);

/* An open file as note_file_read_raw reads it. */
int note_fd_read(int fd, size_t max, uint8_t **ret, size_t *ret_len);
/* note_fd_read, with a NUL inside refused. */
int note_fd_read_text(int fd, size_t max, char **ret_text);

#endif
