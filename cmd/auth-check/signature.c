/*
 * Signatures, by OpenSSL. libjwt could verify them as well, but takes the algorithm from the token, and
 * refuses tokens whose "typ" is not "JWT" (RFC 9068 has "at+jwt").
 */
#include "signature.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RSA_LEAST_BITS 2048

struct algorithm {
	const char *name;
	const EVP_MD *(*digest)(void);
	size_t secret;	   /* HS: least length of the secret */
	int key_type;	   /* RS, ES */
	const char *curve; /* ES: its name in OpenSSL, and in RFC 7518 */
	const char *curve_name;
	size_t half; /* ES: bytes of each of the signature's two numbers */
};

static const struct algorithm algorithms[] = {
	{ "HS256", EVP_sha256, 32, 0, NULL, NULL, 0 },
	{ "HS384", EVP_sha384, 48, 0, NULL, NULL, 0 },
	{ "HS512", EVP_sha512, 64, 0, NULL, NULL, 0 },
	{ "RS256", EVP_sha256, 0, EVP_PKEY_RSA, NULL, NULL, 0 },
	{ "RS384", EVP_sha384, 0, EVP_PKEY_RSA, NULL, NULL, 0 },
	{ "RS512", EVP_sha512, 0, EVP_PKEY_RSA, NULL, NULL, 0 },
	{ "ES256", EVP_sha256, 0, EVP_PKEY_EC, "prime256v1", "P-256", 32 },
	{ "ES384", EVP_sha384, 0, EVP_PKEY_EC, "secp384r1", "P-384", 48 },
	{ "ES512", EVP_sha512, 0, EVP_PKEY_EC, "secp521r1", "P-521", 66 },
};

static const struct algorithm *
find(const char *alg)
{
	for (size_t i = 0; alg != NULL && i < sizeof algorithms / sizeof algorithms[0]; i++)
		if (strcmp(algorithms[i].name, alg) == 0)
			return &algorithms[i];
	return NULL;
}

bool
signature_known(const char *alg)
{
	return find(alg) != NULL;
}

bool
signature_is_secret(const char *alg)
{
	return find(alg)->secret > 0;
}

void
key_clear(struct key *key)
{
	if (key->secret != NULL)
		OPENSSL_cleanse(key->secret, key->secret_n);
	free(key->secret);
	free(key->id);
	EVP_PKEY_free(key->public);
	*key = (struct key){ 0 };
}

/* Nobody is asked for a passphrase. */
static int
no_passphrase(char *out, int size, int writing, void *data)
{
	(void)out;
	(void)size;
	(void)writing;
	(void)data;
	return -1;
}

EVP_PKEY *
signature_read_pem(BIO *bio)
{
	EVP_PKEY *key = PEM_read_bio_PUBKEY(bio, NULL, no_passphrase, NULL);

	ERR_clear_error();
	return key;
}

static bool
is_on_curve(const EVP_PKEY *key, const struct algorithm *a)
{
	char name[64] = "";

	return EVP_PKEY_get_group_name(key, name, sizeof name, NULL) == 1 && strcmp(name, a->curve) == 0;
}

const char *
signature_key_error(const char *alg, const struct key *key)
{
	static char text[128];
	const struct algorithm *a = find(alg);

	if (a->secret > 0) {
		if (key->secret != NULL && key->secret_n >= a->secret)
			return NULL;
		snprintf(text, sizeof text, "The 'key' needs to be at least %zu bytes long for %s", a->secret,
		    alg);
	} else if (key->public == NULL || EVP_PKEY_get_base_id(key->public) != a->key_type) {
		snprintf(text, sizeof text, "The 'key' is not a PEM public key for %s", alg);
	} else if (a->curve == NULL) {
		if (EVP_PKEY_get_bits(key->public) >= RSA_LEAST_BITS)
			return NULL;
		snprintf(text, sizeof text, "The 'key' needs to have at least %d bits for %s", RSA_LEAST_BITS,
		    alg);
	} else {
		if (is_on_curve(key->public, a))
			return NULL;
		snprintf(
		    text, sizeof text, "The 'key' needs to be on the curve %s for %s", a->curve_name, alg);
	}
	return text;
}

bool
signature_private_key_fits(const char *alg, const char *pem)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	struct key key = { 0 };
	bool fits;

	key.public = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;
	fits = signature_key_error(alg, &key) == NULL;
	BIO_free(bio);
	key_clear(&key);
	ERR_clear_error();
	return fits;
}

static bool
verify_secret(const struct algorithm *a, const struct key *key, const uint8_t *text, size_t n,
    const uint8_t *signature, size_t signature_n)
{
	uint8_t digest[EVP_MAX_MD_SIZE];
	unsigned digest_n = 0;

	if (HMAC(a->digest(), key->secret, (int)key->secret_n, text, n, digest, &digest_n) == NULL)
		return false;
	return digest_n == signature_n && CRYPTO_memcmp(digest, signature, digest_n) == 0;
}

/* A token has the two numbers of an ES signature side by side, OpenSSL wants them as DER. Freed by
 * OPENSSL_free(). */
static uint8_t *
der_of(const struct algorithm *a, const uint8_t *signature, size_t n, size_t *der_n)
{
	ECDSA_SIG *pair;
	BIGNUM *r, *s;
	uint8_t *der = NULL;
	int length;

	if (n != 2 * a->half)
		return NULL;
	pair = ECDSA_SIG_new();
	r = BN_bin2bn(signature, (int)a->half, NULL);
	s = BN_bin2bn(signature + a->half, (int)a->half, NULL);
	if (pair == NULL || r == NULL || s == NULL || ECDSA_SIG_set0(pair, r, s) != 1) {
		BN_free(r);
		BN_free(s);
		ECDSA_SIG_free(pair);
		return NULL;
	}
	length = i2d_ECDSA_SIG(pair, &der);
	ECDSA_SIG_free(pair);
	*der_n = length > 0 ? (size_t)length : 0;
	return length > 0 ? der : NULL;
}

static bool
verify_pair(const struct algorithm *a, const struct key *key, const uint8_t *text, size_t n,
    const uint8_t *signature, size_t signature_n)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t *der = NULL;
	bool ok = false;

	if (ctx == NULL)
		return false;
	if (a->curve != NULL)
		signature = der = der_of(a, signature, signature_n, &signature_n);
	ok = signature != NULL && EVP_DigestVerifyInit(ctx, NULL, a->digest(), NULL, key->public) == 1 &&
	     EVP_DigestVerify(ctx, signature, signature_n, text, n) == 1;
	OPENSSL_free(der);
	EVP_MD_CTX_free(ctx);
	ERR_clear_error();
	return ok;
}

bool
signature_verify(const char *alg, const struct key *key, const uint8_t *text, size_t n,
    const uint8_t *signature, size_t signature_n)
{
	const struct algorithm *a = find(alg);

	if (a->secret > 0)
		return verify_secret(a, key, text, n, signature, signature_n);
	return verify_pair(a, key, text, n, signature, signature_n);
}
