/*
 * The keys that tokens are verified with: what AUTH_JWT_KEY says.
 *
 * Its value is the key itself, or "@/path" for a file that holds it. The key is a secret or a PEM public
 * key, of which several may follow each other; a file may also hold a JSON Web Key Set (RFC 7517), in which
 * keys have ids. Of a set, keys that are of another kind or for another algorithm are passed over.
 */
#ifndef AUTH_CHECK_KEYS_H
#define AUTH_CHECK_KEYS_H

#include "signature.h"

struct keys {
	struct key *all; /* malloc'ed */
	size_t n;
};

/*
 * Reads the keys for the algorithm, which is known. NULL, or what is wrong: a static text; then *keys is left
 * as it is. What *keys held before is freed.
 */
const char *keys_read(struct keys *keys, const char *alg, const char *value, bool is_base64);
/* The path in a value that names a file; NULL: it names none. */
const char *keys_path(const char *value);
void keys_clear(struct keys *keys);

#endif
