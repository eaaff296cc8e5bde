/*
 * Tokens: as they come; as the claims and the header of an unsigned one, so that what is behind base64 is
 * reached; and as a key set.
 */
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "../../cmd/auth-check/token.h"
#include "buf.h"
#include "xalloc.h"

#define NOW UINT64_C(1700000000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void
put_base64url(struct buf *b, const uint8_t *data, size_t n)
{
	char *at = (char *)buf_room(b, n * 4 / 3 + 8), *end = at;

	EVP_EncodeBlock((unsigned char *)at, data, (int)n);
	for (; *end != '\0' && *end != '='; end++)
		*end = *end == '+' ? '-' : *end == '/' ? '_' : *end;
	buf_added(b, (size_t)(end - at));
}

static void
verify(const struct token_policy *policy, const char *token)
{
	struct token_verdict verdict;

	token_verify(policy, token, NOW, &verdict);
	if ((verdict.user_id != NULL) == (verdict.reason[0] != '\0'))
		abort(); /* accepted with a reason, or refused without */
	if (verdict.user_id != NULL && !policy->insecure)
		abort(); /* nobody here knows the key */
	token_verdict_clear(&verdict);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct token_policy secure = { .alg = "HS256", .issuer = "me", .audience = "you", .skew = 2 };
	static struct token_policy insecure = { .insecure = true, .skew = 2 },
				   in_claim = { .insecure = true, .claim = "ns" };
	char *text = xmemdup0(data, n);
	struct buf token = { 0 };

	if (secure.keys.n == 0 &&
	    keys_read(&secure.keys, "HS256", "a-secret-that-the-fuzzer-does-not-know", false) != NULL)
		abort();
	verify(&secure, text);
	verify(&insecure, text);
	buf_puts(&token, "e30.");
	put_base64url(&token, data, n);
	buf_puts(&token, ".");
	verify(&insecure, buf_cstr(&token));
	verify(&in_claim, buf_cstr(&token));
	buf_take(&token, token.len);
	put_base64url(&token, data, n);
	buf_puts(&token, ".e30.c2ln");
	verify(&secure, buf_cstr(&token));
	buf_clear(&token);
	free(text);
	return 0;
}
