/*
 * JSON web tokens: which are accepted, and making them. Pure: no clock, no files, no environment.
 */
#ifndef AUTH_CHECK_TOKEN_H
#define AUTH_CHECK_TOKEN_H

#include <stdbool.h>
#include <stdint.h>

#include "keys.h"

struct token_policy {
	bool insecure;	      /* signatures are not looked at */
	const char *alg;      /* "HS256" to "ES512" */
	struct keys keys;     /* any of them may have signed; those with an id, tokens of that "kid" only */
	const char *claim;    /* the claim in which user_id is (AUTH_JWT_NAMESPACE); NULL: at top level */
	const char *issuer;   /* NULL: any */
	const char *audience; /* NULL: any */
	uint64_t skew;	      /* seconds that the issuer's clock may differ from ours */
};

struct token_verdict {
	char *user_id;	  /* NULL: refused */
	uint64_t expires; /* Unix time in seconds; 0: never */
	char reason[256]; /* why refused */
};

/* Judges a token, which may be anything. Free with token_verdict_clear(). */
void token_verify(
    const struct token_policy *policy, const char *token, uint64_t now, struct token_verdict *verdict);
void token_verdict_clear(struct token_verdict *verdict);

/*
 * A token for the user, allocated; NULL when the key does not fit the algorithm, or the user id is not UTF-8.
 * It is signed with the policy's first secret, or with the PEM private key; an insecure policy makes an
 * unsigned token.
 */
char *token_make(const struct token_policy *policy, const char *private_key, const char *user_id,
    uint64_t now, uint64_t expires);

#endif
