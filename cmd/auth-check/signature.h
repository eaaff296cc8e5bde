/* Signatures of tokens: the algorithms of RFC 7518 that are accepted, and what key each takes. */
#ifndef AUTH_CHECK_SIGNATURE_H
#define AUTH_CHECK_SIGNATURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Is there such an algorithm? */
bool signature_known(const char *alg);
/* Does the algorithm take a secret (HS…) rather than a pair of keys? */
bool signature_is_secret(const char *alg);
/* The least length of a secret, in bytes. */
size_t signature_secret_length(const char *alg);
/* Is this a PEM public key of the kind that the algorithm takes? */
bool signature_key_fits(const char *alg, const char *pem);
/* The same of a private key. */
bool signature_private_key_fits(const char *alg, const char *pem);
/* Is `signature` that of `text` by this algorithm and this key? */
bool signature_verify(const char *alg, const char *key, const uint8_t *text, size_t n,
    const uint8_t *signature, size_t signature_n);

#endif
