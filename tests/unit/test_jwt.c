/*
 * Which tokens auth-check accepts.
 *
 * Links cmd/auth-check/jwt.o and cmd/auth-check/signature.o, with -ljwt -lcrypto -ljansson.
 */
#include <check.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <string.h>

#include "../../cmd/auth-check/token.h"
#include "xalloc.h"

#define NOW	  UINT64_C(1700000000)
#define KEY	  "integration-tests-signing-key-example"
#define HS_HEADER "{\"alg\":\"HS256\",\"typ\":\"JWT\"}"

static const struct token_policy hs256 = { .alg = "HS256", .key = KEY, .skew = 2 };
static const struct token_policy insecure = { .insecure = true, .skew = 2 };

/* Base64url without padding. */
static char *
encode(const void *p, size_t n)
{
	char *text = xmalloc(n * 4 / 3 + 8);

	text[EVP_EncodeBlock((unsigned char *)text, p, (int)n)] = '\0';
	for (char *c = text; *c != '\0'; c++)
		*c = *c == '+' ? '-' : *c == '/' ? '_' : *c == '=' ? '\0' : *c;
	return text;
}

static char *
sign(const char *header, const char *claims)
{
	char *h = encode(header, strlen(header)), *c = encode(claims, strlen(claims)), *both, *s, *token;
	unsigned char digest[32];

	both = xasprintf("%s.%s", h, c);
	HMAC(EVP_sha256(), KEY, strlen(KEY), (unsigned char *)both, strlen(both), digest, NULL);
	s = encode(digest, sizeof digest);
	token = xasprintf("%s.%s", both, s);
	free(h);
	free(c);
	free(both);
	free(s);
	return token;
}

/* The claims with the times that are right, and some more. */
static char *
claims(const char *more)
{
	return xasprintf(
	    "{\"iat\":%d,\"exp\":%d%s%s}", (int)NOW - 1, (int)NOW + 60, more[0] != '\0' ? "," : "", more);
}

static void
expect(const struct token_policy *policy, const char *token, const char *user_id, const char *reason)
{
	struct token_verdict v;

	token_verify(policy, token, NOW, &v);
	ck_assert_pstr_eq(v.user_id, user_id);
	ck_assert_str_eq(v.reason, reason);
	token_verdict_clear(&v);
}

static void
expect_claims(const struct token_policy *policy, const char *text, const char *user_id, const char *reason)
{
	char *token = sign(HS_HEADER, text);

	expect(policy, token, user_id, reason);
	free(token);
}

/* The same with right times. */
static void
expect_more(const struct token_policy *policy, const char *more, const char *user_id, const char *reason)
{
	char *text = claims(more);

	expect_claims(policy, text, user_id, reason);
	free(text);
}

START_TEST(shapes)
{
	static const char *const bad[] = { "", ".", "..", "...", "a.b.c", "e30.e30", "e30.e30.e30.e30",
		"e30.W10.", "W10.e30.", "e30=.e30.", "e30.e30.*", "e30.e30. ", "\xff\xfe.e30.",
		"eyJhIjoi_yJ9.e30.", "e.e30." };

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		expect(&hs256, bad[i], NULL, "Invalid token");
		expect(&insecure, bad[i], NULL, "Invalid token");
	}
	expect_claims(&hs256, "{\"user_id\":\"a\",\"user_id\":\"b\"}", NULL, "Invalid token");
	expect_more(&hs256, "\"user_id\":\"a\\u0000b\"", NULL, "Invalid token");
}
END_TEST

START_TEST(hostile)
{
	char *big = xmalloc(1024 * 1024 + 1), *deep = xmalloc(30001), *text;

	memset(big, 'A', 1024 * 1024);
	big[1024 * 1024] = '\0';
	expect(&hs256, big, NULL, "Invalid token");
	memset(deep, '[', 30000);
	deep[30000] = '\0';
	text = xasprintf("{\"a\":%s", deep);
	expect_claims(&hs256, text, NULL, "Invalid token");
	expect_claims(&insecure, text, NULL, "Invalid token");
	expect_claims(&hs256, "{\"exp\":1e999}", NULL, "Invalid token");
	expect_claims(&hs256, "{\"user_id\":\"\xff\"}", NULL, "Invalid token");
	free(big);
	free(deep);
	free(text);
}
END_TEST

START_TEST(algorithms)
{
	char *text = claims("\"user_id\":\"u\""), *token;
	static const char *const others[] = { "{\"alg\":\"none\"}", "{\"alg\":\"HS512\"}",
		"{\"alg\":\"hs256\"}", "{}", "{\"alg\":1}" };

	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
		token = sign(others[i], text);
		expect(&hs256, token, NULL, "Signing algorithm mismatch");
		expect(&insecure, token, "u", "");
		free(token);
	}
	token = sign("{\"alg\":\"HS256\",\"typ\":\"at+jwt\"}", text);
	expect(&hs256, token, "u", "");
	token[strlen(token) - 5] ^= 1;
	expect(&hs256, token, NULL, "Invalid token signature");
	strrchr(token, '.')[1] = '\0';
	expect(&hs256, token, NULL, "Invalid token signature");
	expect(&insecure, token, "u", "");
	*strrchr(token, '.') = '\0';
	expect(&insecure, token, NULL, "Invalid token");
	free(token);
	free(text);
}
END_TEST

START_TEST(times)
{
	expect_claims(
	    &hs256, "{\"exp\":1700000060,\"user_id\":\"u\"}", NULL, "Missing required \"iat\" claim");
	expect_claims(&hs256, "{\"iat\":1,\"user_id\":\"u\"}", NULL, "Missing required \"exp\" claim");
	expect_claims(&insecure, "{\"user_id\":\"u\"}", "u", "");
	expect_claims(&hs256, "{\"iat\":1700000001,\"exp\":1700000060,\"user_id\":\"u\"}", "u", "");
	expect_claims(&hs256, "{\"iat\":1700000002,\"exp\":1700000060,\"user_id\":\"u\"}", NULL,
	    "Invalid \"iat\" claim value: 1700000002");
	expect_claims(&insecure, "{\"iat\":1700000002,\"user_id\":\"u\"}", NULL,
	    "Invalid \"iat\" claim value: 1700000002");
	expect_claims(&hs256, "{\"iat\":\"x\",\"exp\":1700000060,\"user_id\":\"u\"}", NULL,
	    "Invalid \"iat\" claim value: \"x\"");
	expect_more(&hs256, "\"nbf\":1700000002,\"user_id\":\"u\"", NULL, "Token is not yet valid");
	expect_more(&hs256, "\"nbf\":1700000001.5,\"user_id\":\"u\"", "u", "");
	expect_claims(&hs256, "{\"iat\":1,\"exp\":1699999999,\"user_id\":\"u\"}", "u", "");
	expect_claims(&hs256, "{\"iat\":1,\"exp\":1699999998,\"user_id\":\"u\"}", NULL, "Expired token");
	expect_claims(&insecure, "{\"exp\":1,\"user_id\":\"u\"}", NULL, "Expired token");
	expect_claims(&hs256, "{\"iat\":1,\"exp\":1e300,\"user_id\":\"u\"}", "u", "");
}
END_TEST

START_TEST(no_skew)
{
	struct token_policy strict = hs256;

	strict.skew = 0;
	expect_claims(&strict, "{\"iat\":1700000000,\"exp\":1700000060,\"user_id\":\"u\"}", NULL,
	    "Invalid \"iat\" claim value: 1700000000");
	expect_claims(&strict, "{\"iat\":1,\"exp\":1700000000,\"user_id\":\"u\"}", NULL, "Expired token");
}
END_TEST

START_TEST(issuer_and_audience)
{
	struct token_policy p = hs256;

	p.issuer = "me";
	p.audience = "you";
	expect_more(&p, "\"user_id\":\"u\"", NULL, "Missing required \"iss\" claim");
	expect_more(&p, "\"iss\":\"me\",\"user_id\":\"u\"", NULL, "Missing required \"aud\" claim");
	expect_more(&p, "\"iss\":\"he\",\"aud\":\"you\",\"user_id\":\"u\"", NULL,
	    "Invalid \"iss\" claim value: \"he\"");
	expect_more(&p, "\"iss\":\"me\",\"aud\":\"all\",\"user_id\":\"u\"", NULL,
	    "Invalid \"aud\" claim value: \"all\"");
	expect_more(&p, "\"iss\":\"me\",\"aud\":[\"all\"],\"user_id\":\"u\"", NULL,
	    "Invalid \"aud\" claim value: [\"all\"]");
	expect_more(&p, "\"iss\":\"me\",\"aud\":\"you\",\"user_id\":\"u\"", "u", "");
	expect_more(&p, "\"iss\":\"me\",\"aud\":[\"all\",\"you\"],\"user_id\":\"u\"", "u", "");
	expect_more(&hs256, "\"iss\":\"he\",\"aud\":7,\"user_id\":\"u\"", "u", "");
}
END_TEST

START_TEST(users)
{
	static const char *const bad[] = { "", "\"user_id\":1", "\"user_id\":\" \\t\"", "\"user_id\":null",
		"\"user_id\":1,\"sub\":\"s\"", "\"sub\":\"\"", "\"ns\":{\"user_id\":\"n\"}" };
	static const char *const bad_in_claim[] = { "\"user_id\":\"u\"", "\"ns\":\"u\"", "\"ns\":[]",
		"\"ns\":{}", "\"ns\":{\"sub\":\"s\"}", "\"sub\":\"s\"" };
	struct token_policy p = hs256;

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		expect_more(&hs256, bad[i], NULL, "Missing or invalid 'user_id'");
	expect_more(&hs256, "\"sub\":\"s\"", "s", "");
	expect_more(&hs256, "\"sub\":\"s\",\"user_id\":\"u\"", "u", "");
	p.claim = "ns";
	for (size_t i = 0; i < sizeof bad_in_claim / sizeof bad_in_claim[0]; i++)
		expect_more(&p, bad_in_claim[i], NULL, "Missing or invalid 'user_id'");
	expect_more(&p, "\"ns\":{\"user_id\":\"n\"}", "n", "");
}
END_TEST

START_TEST(policies)
{
	static const struct {
		const char *alg, *key, *variable, *error;
	} bad[] = {
		{ NULL, KEY, "AUTH_JWT_ALG",
		    "Missing or invalid 'alg' configuration option for secure auth mode" },
		{ "HS1", KEY, "AUTH_JWT_ALG",
		    "Missing or invalid 'alg' configuration option for secure auth mode" },
		{ "HS256", NULL, "AUTH_JWT_KEY", "Missing 'key' configuration option for secure auth mode" },
		{ "HS256", " ", "AUTH_JWT_KEY", "Missing 'key' configuration option for secure auth mode" },
		{ "HS256", "short", "AUTH_JWT_KEY",
		    "The 'key' needs to be at least 32 bytes long for HS256" },
		{ "HS384", KEY, "AUTH_JWT_KEY", "The 'key' needs to be at least 48 bytes long for HS384" },
		{ "HS512", KEY, "AUTH_JWT_KEY", "The 'key' needs to be at least 64 bytes long for HS512" },
		{ "RS256", KEY, "AUTH_JWT_KEY", "The 'key' is not a PEM public key for RS256" },
	};
	const char *variable;

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct token_policy p = { .alg = bad[i].alg, .key = bad[i].key };

		ck_assert_pstr_eq(token_policy_error(&p, true, &variable), bad[i].error);
		ck_assert_str_eq(variable, bad[i].variable);
	}
	ck_assert_ptr_null(token_policy_error(&hs256, true, &variable));
	ck_assert_ptr_null(token_policy_error(&insecure, true, &variable));
}
END_TEST

/* A key's PEM. */
static char *
pem_of(EVP_PKEY *key, bool private)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *data, *pem;
	long n;

	if (private)
		PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
	else
		PEM_write_bio_PUBKEY(bio, key);
	n = BIO_get_mem_data(bio, &data);
	pem = xmemdup0(data, (size_t)n);
	BIO_free(bio);
	return pem;
}

START_TEST(pairs)
{
	static const struct {
		const char *alg, *curve, *unfit;
	} kinds[] = { { "RS256", NULL, "ES256" }, { "RS384", NULL, "ES384" }, { "RS512", NULL, "ES512" },
		{ "ES256", "P-256", "ES384" }, { "ES384", "P-384", "ES512" }, { "ES512", "P-521", "RS256" } };
	const char *alg = kinds[_i].alg, *variable;
	EVP_PKEY *pair = kinds[_i].curve != NULL ? EVP_EC_gen(kinds[_i].curve) : EVP_RSA_gen(2048);
	char *public = pem_of(pair, false), *secret = pem_of(pair, true), *token;
	struct token_policy p = { .alg = alg, .key = public };

	ck_assert_ptr_null(token_policy_error(&p, true, &variable));
	token = token_make(&p, secret, "u", NOW, NOW + 60);
	ck_assert_ptr_nonnull(token);
	expect(&p, token, "u", "");
	token[strlen(token) - 5] = token[strlen(token) - 5] == 'A' ? 'B' : 'A';
	expect(&p, token, NULL, "Invalid token signature");
	token[strlen(token) - 4] = '\0';
	expect(&p, token, NULL, "Invalid token signature");
	p.key = secret;
	ck_assert_ptr_nonnull(token_policy_error(&p, true, &variable));
	p.key = public;
	p.alg = kinds[_i].unfit;
	ck_assert_ptr_null(token_make(&p, secret, "u", NOW, NOW + 60));
	ck_assert_ptr_null(token_make(&p, "no key", "u", NOW, NOW + 60));
	ck_assert_ptr_nonnull(token_policy_error(&p, true, &variable));
	free(token);
	free(public);
	free(secret);
	EVP_PKEY_free(pair);
}
END_TEST

START_TEST(made)
{
	struct token_policy p = hs256;
	char *token;

	p.claim = "ns";
	p.issuer = "me";
	p.audience = "you";
	token = token_make(&p, KEY, "u\u00e9", NOW, NOW + 60);
	expect(&p, token, "u\u00e9", "");
	free(token);
	token = token_make(&insecure, NULL, "u", NOW, NOW + 60);
	ck_assert_int_eq(token[strlen(token) - 1], '.');
	expect(&insecure, token, "u", "");
	expect(&hs256, token, NULL, "Signing algorithm mismatch");
	free(token);
	ck_assert_ptr_null(token_make(&hs256, KEY, "\xff", NOW, NOW + 60));
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("jwt");
	TCase *cases = tcase_create("tokens");
	SRunner *runner;
	int failed;

	tcase_add_test(cases, shapes);
	tcase_add_test(cases, hostile);
	tcase_add_test(cases, algorithms);
	tcase_add_test(cases, times);
	tcase_add_test(cases, no_skew);
	tcase_add_test(cases, issuer_and_audience);
	tcase_add_test(cases, users);
	tcase_add_test(cases, policies);
	tcase_add_loop_test(cases, pairs, 0, 6);
	tcase_add_test(cases, made);
	suite_add_tcase(suite, cases);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
