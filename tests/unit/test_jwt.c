/* Which tokens auth-check accepts, and with which keys. */
#include <check.h>
#include <jansson.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../cmd/auth-check/base64.h"
#include "../../cmd/auth-check/token.h"
#include "xalloc.h"

#define NOW	  UINT64_C(1700000000)
#define KEY	  "integration-tests-signing-key-example"
#define HS_HEADER "{\"alg\":\"HS256\",\"typ\":\"JWT\"}"

static struct token_policy hs256 = { .alg = "HS256", .skew = 2 };
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

/* A token of these parts, whatever they are, with this signature. */
static char *
join(
    const void *header, size_t header_n, const void *claims, size_t claims_n, const void *signature, size_t n)
{
	char *h = encode(header, header_n), *c = encode(claims, claims_n), *s = encode(signature, n);
	char *token = xasprintf("%s.%s.%s", h, c, s);

	free(h);
	free(c);
	free(s);
	return token;
}

/* A token with the HMAC of its first two parts. */
static char *
sign_secret(const char *header, const char *claims, const void *key, size_t key_n)
{
	char *unsigned_token = join(header, strlen(header), claims, strlen(claims), "", 0), *token;
	unsigned char digest[32];
	char *s;

	HMAC(EVP_sha256(), key, (int)key_n, (unsigned char *)unsigned_token, strlen(unsigned_token) - 1,
	    digest, NULL);
	s = encode(digest, sizeof digest);
	token = xasprintf("%s%s", unsigned_token, s);
	free(unsigned_token);
	free(s);
	return token;
}

static char *
sign(const char *header, const char *claims)
{
	return sign_secret(header, claims, KEY, strlen(KEY));
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

static const struct pair_kind {
	const char *alg;
	int bits; /* RSA */
	const char *curve;
	const char *unfit;
} kinds[] = { { "RS256", 2048, NULL, "ES256" }, { "RS384", 2048, NULL, "ES384" },
	{ "RS512", 2048, NULL, "ES512" }, { "ES256", 0, "P-256", "ES384" }, { "ES384", 0, "P-384", "ES512" },
	{ "ES512", 0, "P-521", "RS256" } };

static EVP_PKEY *
pair_make(const struct pair_kind *kind)
{
	return kind->curve != NULL ? EVP_EC_gen(kind->curve) : EVP_RSA_gen((unsigned)kind->bits);
}

START_TEST(pairs)
{
	const char *alg = kinds[_i].alg;
	EVP_PKEY *pair = pair_make(&kinds[_i]);
	char *public = pem_of(pair, false), *secret = pem_of(pair, true), *token;
	struct token_policy p = { .alg = alg };

	ck_assert_pstr_eq(keys_read(&p.keys, alg, public, false), NULL);
	token = token_make(&p, secret, "u", NOW, NOW + 60);
	ck_assert_ptr_nonnull(token);
	expect(&p, token, "u", "");
	token[strlen(token) - 5] = token[strlen(token) - 5] == 'A' ? 'B' : 'A';
	expect(&p, token, NULL, "Invalid token signature");
	free(token);
	ck_assert_ptr_nonnull(keys_read(&p.keys, alg, secret, false));
	ck_assert_ptr_nonnull(keys_read(&p.keys, kinds[_i].unfit, public, false));
	p.alg = kinds[_i].unfit;
	ck_assert_ptr_null(token_make(&p, secret, "u", NOW, NOW + 60));
	ck_assert_ptr_null(token_make(&p, "no key", "u", NOW, NOW + 60));
	keys_clear(&p.keys);
	free(public);
	free(secret);
	EVP_PKEY_free(pair);
}
END_TEST

/* An ES signature of which one number is 0, or that is too short, too long, or in DER. */
START_TEST(forged_pairs)
{
	static const char claims_text[] = "{\"iat\":1,\"exp\":1700000060,\"user_id\":\"u\"}";
	EVP_PKEY *pair = pair_make(&kinds[3]);
	char *public = pem_of(pair, false), *secret = pem_of(pair, true), *token, *good;
	struct token_policy p = { .alg = "ES256" };
	uint8_t signature[BASE64_ROOM(256)], zeros[64] = { 0 };
	size_t n;

	ck_assert_pstr_eq(keys_read(&p.keys, "ES256", public, false), NULL);
	token = token_make(&p, secret, "u", NOW, NOW + 60);
	good = strrchr(token, '.') + 1;
	ck_assert(base64url_decode(good, strlen(good), signature, &n));
	ck_assert_uint_eq(n, 64);
	*good = '\0';
	for (int i = 0; i < 6; i++) {
		uint8_t forged[96] = { 0 };
		static const size_t lengths[] = { 64, 64, 64, 63, 65, 32 };
		char *s, *whole;

		memcpy(forged, signature, 64);
		if (i < 3) /* r, s, or both */
			memcpy(forged + (i == 1 ? 32 : 0), zeros, i == 2 ? 64 : 32);
		s = encode(forged, lengths[i]);
		whole = xasprintf("%s%s", token, s);
		expect(&p, whole, NULL, "Invalid token signature");
		free(s);
		free(whole);
	}
	free(token);
	/* The same as OpenSSL has it. */
	{
		static const char header[] = "{\"alg\":\"ES256\"}";
		char *open = join(header, strlen(header), claims_text, strlen(claims_text), "", 0), *s,
		     *whole;
		EVP_MD_CTX *ctx = EVP_MD_CTX_new();
		uint8_t der[128];
		size_t der_n = sizeof der;

		EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, pair);
		EVP_DigestSign(ctx, der, &der_n, (uint8_t *)open, strlen(open) - 1);
		EVP_MD_CTX_free(ctx);
		s = encode(der, der_n);
		whole = xasprintf("%s%s", open, s);
		expect(&p, whole, NULL, "Invalid token signature");
		free(open);
		free(s);
		free(whole);
	}
	keys_clear(&p.keys);
	free(public);
	free(secret);
	EVP_PKEY_free(pair);
}
END_TEST

/* What the token says of the key or the algorithm counts for nothing. */
START_TEST(confused_algorithms)
{
	EVP_PKEY *pair = pair_make(&kinds[0]), *mine = pair_make(&kinds[0]);
	char *public = pem_of(pair, false), *secret = pem_of(pair, true), *my_secret = pem_of(mine, true);
	char *text = claims("\"user_id\":\"u\""), *token, *dot;
	struct token_policy p = { .alg = "RS256" }, other = { .alg = "RS384" };

	ck_assert_pstr_eq(keys_read(&p.keys, "RS256", public, false), NULL);
	ck_assert_pstr_eq(keys_read(&other.keys, "RS384", public, false), NULL);
	/* HS256 with the public key, which all know, as its secret */
	token = sign_secret(HS_HEADER, text, public, strlen(public));
	expect(&p, token, NULL, "Signing algorithm mismatch");
	free(token);
	token = sign_secret("{\"alg\":\"RS256\"}", text, public, strlen(public));
	expect(&p, token, NULL, "Invalid token signature");
	free(token);
	/* another algorithm of the family, said and unsaid */
	token = token_make(&other, secret, "u", NOW, NOW + 60);
	expect(&other, token, "u", "");
	expect(&p, token, NULL, "Signing algorithm mismatch");
	dot = strchr(token, '.');
	dot = xasprintf("eyJhbGciOiJSUzI1NiJ9%s", dot); /* {"alg":"RS256"} */
	expect(&p, dot, NULL, "Invalid token signature");
	free(dot);
	free(token);
	/* signed by another's key */
	token = token_make(&p, my_secret, "u", NOW, NOW + 60);
	expect(&p, token, NULL, "Invalid token signature");
	free(token);
	keys_clear(&p.keys);
	keys_clear(&other.keys);
	free(text);
	free(public);
	free(secret);
	free(my_secret);
	EVP_PKEY_free(pair);
	EVP_PKEY_free(mine);
}
END_TEST

START_TEST(embedded_keys)
{
	/* The attacker's own secret, which the header brings along in every way that RFC 7515 has. */
	static const char secret[] = "attacker-attacker-attacker-attacker";
	static const char *const headers[] = {
		"{\"alg\":\"HS256\",\"jwk\":{\"kty\":\"oct\",\"k\":"
		"\"YXR0YWNrZXItYXR0YWNrZXItYXR0YWNrZXItYXR0YWNrZXI\"}}",
		"{\"alg\":\"HS256\",\"jku\":\"http://127.0.0.1:1/keys\"}",
		"{\"alg\":\"HS256\",\"x5u\":\"http://127.0.0.1:1/cert\"}",
		"{\"alg\":\"HS256\",\"x5c\":[\"MIIB\"]}",
		"{\"alg\":\"HS256\",\"kid\":\"../../../../dev/null\"}",
		"{\"alg\":\"HS256\",\"kid\":\"' OR 1=1 --\"}",
	};
	char *text = claims("\"user_id\":\"u\"");

	for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
		char *forged = sign_secret(headers[i], text, secret, strlen(secret));
		char *honest = sign(headers[i], text);

		expect(&hs256, forged, NULL, "Invalid token signature");
		expect(&hs256, honest, "u", ""); /* signed with the key: what else it says is ignored */
		free(forged);
		free(honest);
	}
	/* the empty secret */
	{
		char *token = sign_secret("{\"alg\":\"HS256\",\"kid\":\"\"}", text, "", 0);

		expect(&hs256, token, NULL, "Invalid token signature");
		free(token);
	}
	free(text);
}
END_TEST

START_TEST(headers)
{
	static const char *const bad[] = { "{\"alg\":\"HS256\",\"crit\":[\"exp\"]}",
		"{\"alg\":\"HS256\",\"crit\":[\"b64\"],\"b64\":false}", "{\"alg\":\"HS256\",\"crit\":[]}",
		"{\"alg\":\"HS256\",\"kid\":7}", "{\"alg\":\"HS256\",\"alg\":\"none\"}",
		"{\"alg\":\"none\",\"alg\":\"HS256\"}", "[\"HS256\"]", "\"HS256\"", "null", "" };
	char *text = claims("\"user_id\":\"u\"");

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		char *token = sign(bad[i], text);

		expect(&hs256, token, NULL, "Invalid token");
		free(token);
	}
	free(text);
}
END_TEST

/* A token with one of its parts not in base64url, or longer than its bytes say. */
START_TEST(encodings)
{
	char *text = claims("\"user_id\":\"u\""), *token = sign(HS_HEADER, text), *other;
	static const char *const ends[] = { "=", " ", "\n", "+", "/", "%3D", ".", "A" };
	size_t n = strlen(token);

	expect(&hs256, token, "u", "");
	for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
		other = xasprintf("%s%s", token, ends[i]);
		/* One more character of the alphabet ends in bits that are nobody's. */
		expect(&hs256, other, NULL, ends[i][0] == 'A' ? "Invalid token signature" : "Invalid token");
		free(other);
		other = xasprintf("%s%s", ends[i], token);
		expect(&hs256, other, NULL, "Invalid token");
		free(other);
	}
	/* Two tokens must not have the same signature: the last character's spare bits are 0. */
	token[n - 1]++;
	expect(&hs256, token, NULL, "Invalid token");
	token[n - 1]--;
	for (size_t i = 0; i < n; i++) { /* any character replaced */
		char was = token[i];
		struct token_verdict v;

		token[i] = was == 'A' ? 'B' : 'A';
		token_verify(&hs256, token, NOW, &v);
		ck_assert_ptr_null(v.user_id);
		token[i] = was;
	}
	free(token);
	free(text);
}
END_TEST

START_TEST(odd_times)
{
	static const char *const odd[] = { "\"1700000060\"", "null", "true", "{}", "[1700000060]", "\"\"" };
	static const char *const past[] = { "0", "-1", "-9223372036854775808", "-1e300", "1699999998",
		"1699999997.999", "1e-300" };
	static const char *const future[] = { "1699999998.001", "1700000060.5", "17000000600e-1",
		"9223372036854775807", "1e300" };
	struct token_verdict v;
	char *token, *text, *reason;

	for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
		text = xasprintf("{\"iat\":1,\"exp\":%s,\"user_id\":\"u\"}", odd[i]);
		reason = xasprintf("Invalid \"exp\" claim value: %s", odd[i]);
		expect_claims(&hs256, text, NULL, reason);
		expect_claims(&insecure, text, NULL, reason);
		free(text);
		free(reason);
		text = xasprintf("{\"iat\":%s,\"exp\":1700000060,\"user_id\":\"u\"}", odd[i]);
		reason = xasprintf("Invalid \"iat\" claim value: %s", odd[i]);
		expect_claims(&hs256, text, NULL, reason);
		free(text);
		free(reason);
		text = xasprintf("{\"iat\":1,\"nbf\":%s,\"exp\":1700000060,\"user_id\":\"u\"}", odd[i]);
		expect_claims(&hs256, text, NULL, "Token is not yet valid");
		free(text);
	}
	for (size_t i = 0; i < sizeof past / sizeof past[0]; i++) {
		text = xasprintf("{\"iat\":-5,\"nbf\":-5.5,\"exp\":%s,\"user_id\":\"u\"}", past[i]);
		expect_claims(&hs256, text, NULL, "Expired token");
		free(text);
	}
	for (size_t i = 0; i < sizeof future / sizeof future[0]; i++) {
		text = xasprintf("{\"iat\":1,\"exp\":%s,\"user_id\":\"u\"}", future[i]);
		expect_claims(&hs256, text, "u", "");
		free(text);
		text = xasprintf("{\"iat\":1,\"nbf\":%s,\"exp\":1700000060,\"user_id\":\"u\"}", future[i]);
		expect_claims(&hs256, text, i == 0 ? "u" : NULL, i == 0 ? "" : "Token is not yet valid");
		free(text);
	}
	/* Numbers beyond 64 bits are none. */
	expect_claims(
	    &hs256, "{\"iat\":1,\"exp\":99999999999999999999,\"user_id\":\"u\"}", NULL, "Invalid token");
	/* In the order of time, around its end: the last second is the one before exp plus skew. */
	token = sign(HS_HEADER, "{\"iat\":1,\"exp\":1700000060,\"user_id\":\"u\"}");
	for (uint64_t now = NOW + 55; now < NOW + 65; now++) {
		token_verify(&hs256, token, now, &v);
		ck_assert_str_eq(v.reason, now < NOW + 62 ? "" : "Expired token");
		ck_assert_int_eq(v.user_id != NULL, now < NOW + 62);
		if (v.user_id != NULL)
			ck_assert_uint_eq(v.expires, NOW + 60);
		token_verdict_clear(&v);
	}
	free(token);
}
END_TEST

// ---- keys

START_TEST(key_errors)
{
	static const struct {
		const char *alg, *key, *error;
	} bad[] = {
		{ "HS256", NULL, "Missing 'key' configuration option for secure auth mode" },
		{ "HS256", "", "Missing 'key' configuration option for secure auth mode" },
		{ "HS256", " \t\n", "Missing 'key' configuration option for secure auth mode" },
		{ "HS256", "short", "The 'key' needs to be at least 32 bytes long for HS256" },
		{ "HS256", "1234567890123456789012345678901",
		    "The 'key' needs to be at least 32 bytes long for HS256" },
		{ "HS384", KEY, "The 'key' needs to be at least 48 bytes long for HS384" },
		{ "HS512", KEY, "The 'key' needs to be at least 64 bytes long for HS512" },
		{ "RS256", KEY, "The 'key' is not a PEM public key for RS256" },
		{ "ES256", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
		    "The 'key' is not a PEM public key for ES256" },
		{ "HS256", "@/nowhere/to/be/found", "/nowhere/to/be/found: No such file or directory" },
		{ "HS256", "@/", "/: Is a directory" },
	};
	static const struct pair_kind weak = { NULL, 1024, NULL, NULL },
				      other_curve = { NULL, 0, "P-384", NULL },
				      koblitz = { NULL, 0, "secp256k1", NULL };
	struct keys keys = { 0 };

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		ck_assert_pstr_eq(keys_read(&keys, bad[i].alg, bad[i].key, false), bad[i].error);
	for (int i = 0; i < 3; i++) {
		const struct pair_kind *kind = i == 0 ? &weak : i == 1 ? &other_curve : &koblitz;
		EVP_PKEY *pair = pair_make(kind);
		char *public = pem_of(pair, false);

		ck_assert_pstr_eq(keys_read(&keys, i == 0 ? "RS256" : "ES256", public, false),
		    i == 0 ? "The 'key' needs to have at least 2048 bits for RS256"
			   : "The 'key' needs to be on the curve P-256 for ES256");
		free(public);
		EVP_PKEY_free(pair);
	}
	ck_assert_uint_eq(keys.n, 0);
	ck_assert(!signature_known(NULL) && !signature_known("") && !signature_known("HS1") &&
		  !signature_known("none") && !signature_known("hs256"));
}
END_TEST

START_TEST(keys_in_base64)
{
	static const char *const good[] = { "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
		"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
		"AAECAwQFBgcICQoLDA0O\nDxAREhMUFRYXGBkaGxwdHh8=\n" };
	static const char *const bad[] = { "AAECAwQ=FBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", "AAECA!", "A",
		"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9" };
	struct token_policy p = { .alg = "HS256", .skew = 2 };
	char *text = claims("\"user_id\":\"u\""), *token;
	uint8_t secret[32];

	for (unsigned i = 0; i < sizeof secret; i++)
		secret[i] = (uint8_t)i; /* a NUL among them */
	token = sign_secret(HS_HEADER, text, secret, sizeof secret);
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		ck_assert_pstr_eq(keys_read(&p.keys, "HS256", good[i], true), NULL);
		expect(&p, token, "u", "");
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		ck_assert_pstr_eq(keys_read(&p.keys, "HS256", bad[i], true),
		    "The 'key' is not base64, as AUTH_JWT_KEY_IS_BASE64_ENCODED has it");
	ck_assert_pstr_eq(keys_read(&p.keys, "HS256", "c2hvcnQ=", true),
	    "The 'key' needs to be at least 32 bytes long for HS256");
	expect(&p, token, "u", ""); /* a value that is wrong changes nothing */
	free(token);
	token = token_make(&p, NULL, "v", NOW, NOW + 60);
	expect(&p, token, "v", "");
	free(token);
	free(text);
	keys_clear(&p.keys);
}
END_TEST

/* Writes a file that AUTH_JWT_KEY may name; its value, static. */
static const char *
key_file(const char *text)
{
	static char value[64] = "@/tmp/leyden-test-key-XXXXXX";
	FILE *f;

	if (value[strlen(value) - 1] == 'X')
		close(mkstemp(value + 1));
	f = fopen(value + 1, "w");
	fputs(text, f);
	fclose(f);
	return value;
}

/* The public key as a member of a key set; allocated. */
static char *
jwk_of(EVP_PKEY *pair, const char *id, const char *alg)
{
	BIGNUM *a = NULL, *b = NULL;
	uint8_t bytes[512];
	bool is_rsa = EVP_PKEY_get_base_id(pair) == EVP_PKEY_RSA;
	size_t size = is_rsa ? 0 : ((size_t)EVP_PKEY_get_bits(pair) + 7) / 8;
	char *first, *second, *jwk;

	EVP_PKEY_get_bn_param(pair, is_rsa ? OSSL_PKEY_PARAM_RSA_N : OSSL_PKEY_PARAM_EC_PUB_X, &a);
	EVP_PKEY_get_bn_param(pair, is_rsa ? OSSL_PKEY_PARAM_RSA_E : OSSL_PKEY_PARAM_EC_PUB_Y, &b);
	first = encode(bytes, (size_t)(size > 0 ? BN_bn2binpad(a, bytes, (int)size) : BN_bn2bin(a, bytes)));
	second = encode(bytes, (size_t)(size > 0 ? BN_bn2binpad(b, bytes, (int)size) : BN_bn2bin(b, bytes)));
	jwk = is_rsa
		  ? xasprintf("{\"kty\":\"RSA\",\"use\":\"sig\",\"kid\":\"%s\",\"alg\":\"%s\",\"n\":\"%s\","
			      "\"e\":\"%s\"}",
			id, alg, first, second)
		  : xasprintf("{\"kty\":\"EC\",\"kid\":\"%s\",\"alg\":\"%s\",\"crv\":\"P-%d\",\"x\":\"%s\","
			      "\"y\":\"%s\"}",
			id, alg, EVP_PKEY_get_bits(pair), first, second);
	BN_free(a);
	BN_free(b);
	free(first);
	free(second);
	return jwk;
}

/* Secrets with ids: each verifies the tokens that name it, and those that name none. */
START_TEST(keys_with_ids)
{
	static const char set[] =
	    "{\"keys\":["
	    "{\"kty\":\"oct\",\"kid\":\"old\",\"k\":\"YXR0YWNrZXItYXR0YWNrZXItYXR0YWNrZXItYXR0YWNrZXI\"},"
	    "{\"kty\":\"RSA\",\"kid\":\"x\",\"n\":\"AQ\",\"e\":\"AQAB\"},"
	    "{\"kty\":\"oct\",\"kid\":\"x\",\"alg\":\"HS512\",\"k\":\"AA\"},"
	    "{\"kty\":\"oct\",\"kid\":\"x\",\"use\":\"enc\",\"k\":\"AA\"},"
	    "{\"kty\":\"oct\",\"kid\":\"new\",\"alg\":\"HS256\",\"use\":\"sig\","
	    "\"k\":\"aW50ZWdyYXRpb24tdGVzdHMtc2lnbmluZy1rZXktZXhhbXBsZQ\"}]}";
	static const char old[] = "attacker-attacker-attacker-attacker";
	static const struct {
		const char *header;
		bool by_old, by_new;
	} cases[] = { { "{\"alg\":\"HS256\",\"kid\":\"old\"}", true, false },
		{ "{\"alg\":\"HS256\",\"kid\":\"new\"}", false, true },
		{ "{\"alg\":\"HS256\",\"kid\":\"none\"}", false, false }, { HS_HEADER, true, true } };
	struct token_policy p = { .alg = "HS256", .skew = 2 };
	char *text = claims("\"user_id\":\"u\""), *token;

	ck_assert_pstr_eq(keys_read(&p.keys, "HS256", key_file(set), false), NULL);
	ck_assert_uint_eq(p.keys.n, 2);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char *by_old = sign_secret(cases[i].header, text, old, strlen(old));
		char *by_new = sign(cases[i].header, text);

		expect(&p, by_old, cases[i].by_old ? "u" : NULL,
		    cases[i].by_old ? "" : "Invalid token signature");
		expect(&p, by_new, cases[i].by_new ? "u" : NULL,
		    cases[i].by_new ? "" : "Invalid token signature");
		free(by_old);
		free(by_new);
	}
	token = token_make(&p, NULL, "u", NOW, NOW + 60);
	ck_assert_ptr_eq(strstr(token, "eyJ"), token);
	expect(&p, token, "u", "");
	free(token);
	/* What cannot work leaves the keys as they were. */
	ck_assert_pstr_eq(keys_read(&p.keys, "HS256", key_file("{\"keys\":[]}"), false),
	    "The key set holds no key for HS256");
	ck_assert_pstr_eq(keys_read(&p.keys, "HS256", key_file("{\"keys\":"), false),
	    "The 'key' is not a JSON Web Key Set");
	ck_assert_pstr_eq(
	    keys_read(&p.keys, "HS256", key_file("{\"keys\":[{\"kty\":\"oct\",\"k\":\"AA\"}]}"), false),
	    "The 'key' needs to be at least 32 bytes long for HS256");
	ck_assert_uint_eq(p.keys.n, 2);
	/* A secret in a file: its newline is not part of it. */
	ck_assert_pstr_eq(keys_read(&p.keys, "HS256", key_file(KEY "\n"), false), NULL);
	token = sign(HS_HEADER, text);
	expect(&p, token, "u", "");
	free(token);
	free(text);
	keys_clear(&p.keys);
	unlink(key_file("") + 1);
}
END_TEST

/* Two pairs in one file, as PEM and as a key set. */
START_TEST(pairs_in_files)
{
	const char *alg = kinds[_i].alg, *why;
	EVP_PKEY *one = pair_make(&kinds[_i]), *two = pair_make(&kinds[_i]);
	char *pem_one = pem_of(one, false), *pem_two = pem_of(two, false), *secret_one = pem_of(one, true),
	     *secret_two = pem_of(two, true);
	char *jwk_one = jwk_of(one, "1", alg), *jwk_two = jwk_of(two, "2", alg);
	char *pems = xasprintf("%s\n%s", pem_one, pem_two),
	     *broken = xasprintf("%s\n%.80s", pem_one, pem_two);
	char *set = xasprintf("{\"keys\":[%s,%s]}", jwk_one, jwk_two);
	struct token_policy p = { .alg = alg };

	for (int i = 0; i < 3; i++) {
		char *by_one, *by_two;

		why = keys_read(&p.keys, alg, key_file(i == 1 ? set : i == 0 ? pems : pem_two), false);
		ck_assert_pstr_eq(why, NULL);
		ck_assert_uint_eq(p.keys.n, i < 2 ? 2 : 1);
		by_one = token_make(&p, secret_one, "1", NOW, NOW + 60);
		by_two = token_make(&p, secret_two, "2", NOW, NOW + 60);
		expect(&p, by_one, i < 2 ? "1" : NULL, i < 2 ? "" : "Invalid token signature");
		expect(&p, by_two, "2", "");
		free(by_one);
		free(by_two);
	}
	ck_assert_ptr_nonnull(keys_read(&p.keys, alg, key_file(broken), false));
	keys_clear(&p.keys);
	free(pem_one);
	free(pem_two);
	free(secret_one);
	free(secret_two);
	free(jwk_one);
	free(jwk_two);
	free(pems);
	free(broken);
	free(set);
	EVP_PKEY_free(one);
	EVP_PKEY_free(two);
	unlink(key_file("") + 1);
}
END_TEST

START_TEST(made)
{
	struct token_policy p = hs256;
	char *token;

	p.claim = "ns";
	p.issuer = "me";
	p.audience = "you";
	token = token_make(&p, NULL, "u\u00e9", NOW, NOW + 60);
	expect(&p, token, "u\u00e9", "");
	free(token);
	token = token_make(&insecure, NULL, "u", NOW, NOW + 60);
	ck_assert_int_eq(token[strlen(token) - 1], '.');
	expect(&insecure, token, "u", "");
	expect(&hs256, token, NULL, "Signing algorithm mismatch");
	free(token);
	ck_assert_ptr_null(token_make(&hs256, NULL, "\xff", NOW, NOW + 60));
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("jwt");
	TCase *cases = tcase_create("tokens");
	SRunner *runner;
	int failed;

	if (keys_read(&hs256.keys, "HS256", KEY, false) != NULL)
		return EXIT_FAILURE;
	tcase_add_test(cases, shapes);
	tcase_add_test(cases, hostile);
	tcase_add_test(cases, algorithms);
	tcase_add_test(cases, times);
	tcase_add_test(cases, no_skew);
	tcase_add_test(cases, issuer_and_audience);
	tcase_add_test(cases, users);
	tcase_add_test(cases, odd_times);
	tcase_add_test(cases, headers);
	tcase_add_test(cases, encodings);
	tcase_add_test(cases, embedded_keys);
	tcase_add_loop_test(cases, pairs, 0, 6);
	tcase_add_test(cases, forged_pairs);
	tcase_add_test(cases, confused_algorithms);
	tcase_add_test(cases, key_errors);
	tcase_add_test(cases, keys_in_base64);
	tcase_add_test(cases, keys_with_ids);
	tcase_add_loop_test(cases, pairs_in_files, 0, 6);
	tcase_add_test(cases, made);
	suite_add_tcase(suite, cases);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
