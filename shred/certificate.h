/*
 * The certificate of destruction: a signed note, and the same as a page.
 *
 * Carries the NIST SP 800-88 fields and those of the platform's retirement form, what was verified, the media's honest limits, and every
 * escrow that has not confirmed. Verifiable offline with the charter alone.
 */
#ifndef COFFER_SHRED_CERTIFICATE_H
#define COFFER_SHRED_CERTIFICATE_H

#include "shred/execute.h"

/* Builds and signs; text NUL-terminated, caller frees. */
int certificate_build(const struct shred_context *ctx, const struct order *o, const struct inventory *inv,
		      const struct shred_verdict *verdict, const struct shred_result *result,
		      const char *checkpoint, char **ret_text, struct diag *d);
/* Signature by the volume key, volume id and grammar. charter_first (may be NULL) must match the fingerprint inside. */
int certificate_check(const char *text, const uint8_t volume_id[16], const uint8_t sign_pk[32],
		      const uint8_t *charter_first, struct diag *d);
/* Plain text for a terminal, Chinese and English side by side; caller frees. */
int certificate_text(const char *note, char **ret, struct diag *d);
/* One self-contained HTML page that prints on A4; caller frees. */
int certificate_html(const char *note, char **ret, struct diag *d);

#endif
