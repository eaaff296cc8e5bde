/* Base64 (RFC 4648), strictly: what is not the one encoding of some bytes is refused. */
#ifndef AUTH_CHECK_BASE64_H
#define AUTH_CHECK_BASE64_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The bytes that n characters of base64url without padding may take at most. */
#define BASE64_ROOM(n) ((n) / 4 * 3 + 3)

/* Decodes base64url without padding, as tokens have it; `out` has BASE64_ROOM(n) bytes. */
bool base64url_decode(const char *text, size_t n, uint8_t *out, size_t *out_n);
/* Decodes either alphabet, padded or not, in lines or not, as people have it. */
bool base64_decode(const char *text, size_t n, uint8_t *out, size_t *out_n);

#endif
