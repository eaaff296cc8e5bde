/* Signatures of tokens: the algorithms of RFC 7518 that are accepted, and what key each takes. */
#ifndef AUTH_CHECK_SIGNATURE_H
#define AUTH_CHECK_SIGNATURE_H

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A key to verify with: a secret or a public key. All zero is no key. */
struct key {
	char *id;	 /* the "kid" of tokens that it is for; NULL: of any; malloc'ed */
	uint8_t *secret; /* malloc'ed; NULL: a public key */
	size_t secret_n;
	EVP_PKEY *public; /* owned */
};

void key_clear(struct key *key);

/* Is there such an algorithm? NULL is none. The functions below take those that there are. */
bool signature_known(const char *alg);
/* Does the algorithm take a secret (HS…) rather than a pair of keys? */
bool signature_is_secret(const char *alg);
/* The public keys in a PEM text are read one after the other: NULL at the end, or where one is broken. */
EVP_PKEY *signature_read_pem(BIO *bio);
/* NULL, or why the algorithm does not take the key, or nobody should: it is too weak. Static. */
const char *signature_key_error(const char *alg, const struct key *key);
/* Is this a PEM private key of the kind that the algorithm takes? */
bool signature_private_key_fits(const char *alg, const char *pem);
/* Is `signature` that of `text` by this algorithm and this key, which fits it? */
bool signature_verify(const char *alg, const struct key *key, const uint8_t *text, size_t n,
    const uint8_t *signature, size_t signature_n);

#endif
