/*
 * Signatures, by OpenSSL. libjwt could verify them as well, but takes the algorithm from the token, and
 * refuses tokens whose "typ" is not "JWT" (RFC 9068 has "at+jwt").
 */
#include "signature.h"

#include <limits.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <string.h>

struct algorithm {
	const char *name;
	const EVP_MD *(*digest)(void);
	size_t secret;	/* HS: least length of the secret */
	int key_type;	/* RS, ES */
	int curve_bits; /* ES */
};

static const struct algorithm algorithms[] = {
	{ "HS256", EVP_sha256, 32, 0, 0 },
	{ "HS384", EVP_sha384, 48, 0, 0 },
	{ "HS512", EVP_sha512, 64, 0, 0 },
	{ "RS256", EVP_sha256, 0, EVP_PKEY_RSA, 0 },
	{ "RS384", EVP_sha384, 0, EVP_PKEY_RSA, 0 },
	{ "RS512", EVP_sha512, 0, EVP_PKEY_RSA, 0 },
	{ "ES256", EVP_sha256, 0, EVP_PKEY_EC, 256 },
	{ "ES384", EVP_sha384, 0, EVP_PKEY_EC, 384 },
	{ "ES512", EVP_sha512, 0, EVP_PKEY_EC, 521 },
};

static const struct algorithm *
find(const char *alg)
{
	for (size_t i = 0; i < sizeof algorithms / sizeof algorithms[0]; i++)
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

size_t
signature_secret_length(const char *alg)
{
	return find(alg)->secret;
}

typedef EVP_PKEY *(*pem_reader)(BIO *, EVP_PKEY **, pem_password_cb *, void *);

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

/* The key, if it is one for the algorithm. */
static EVP_PKEY *
read_key(const struct algorithm *a, const char *pem, pem_reader reader)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	EVP_PKEY *key = bio != NULL ? reader(bio, NULL, no_passphrase, NULL) : NULL;

	BIO_free(bio);
	if (key != NULL && (EVP_PKEY_base_id(key) != a->key_type ||
			       (a->key_type == EVP_PKEY_EC && EVP_PKEY_bits(key) != a->curve_bits))) {
		EVP_PKEY_free(key);
		key = NULL;
	}
	ERR_clear_error();
	return key;
}

bool
signature_key_fits(const char *alg, const char *pem)
{
	EVP_PKEY *key = read_key(find(alg), pem, PEM_read_bio_PUBKEY);

	EVP_PKEY_free(key);
	return key != NULL;
}

bool
signature_private_key_fits(const char *alg, const char *pem)
{
	EVP_PKEY *key = read_key(find(alg), pem, PEM_read_bio_PrivateKey);

	EVP_PKEY_free(key);
	return key != NULL;
}

static bool
verify_secret(const struct algorithm *a, const char *secret, const uint8_t *text, size_t n,
    const uint8_t *signature, size_t signature_n)
{
	uint8_t digest[EVP_MAX_MD_SIZE];
	unsigned digest_n = 0;

	if (HMAC(a->digest(), secret, (int)strlen(secret), text, n, digest, &digest_n) == NULL)
		return false;
	return digest_n == signature_n && CRYPTO_memcmp(digest, signature, digest_n) == 0;
}

/* A token has the two numbers of an ES signature side by side, OpenSSL wants them as DER. Freed by
 * OPENSSL_free(). */
static uint8_t *
der_of(const struct algorithm *a, const uint8_t *signature, size_t n, size_t *der_n)
{
	size_t half = ((size_t)a->curve_bits + 7) / 8;
	ECDSA_SIG *pair;
	BIGNUM *r, *s;
	uint8_t *der = NULL;
	int length;

	if (n != 2 * half)
		return NULL;
	pair = ECDSA_SIG_new();
	r = BN_bin2bn(signature, (int)half, NULL);
	s = BN_bin2bn(signature + half, (int)half, NULL);
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
verify_pair(const struct algorithm *a, const char *pem, const uint8_t *text, size_t n,
    const uint8_t *signature, size_t signature_n)
{
	EVP_PKEY *key = read_key(a, pem, PEM_read_bio_PUBKEY);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t *der = NULL;
	bool ok = false;

	if (key == NULL || ctx == NULL)
		goto out;
	if (a->key_type == EVP_PKEY_EC) {
		der = der_of(a, signature, signature_n, &signature_n);
		if (der == NULL)
			goto out;
		signature = der;
	}
	ok = EVP_DigestVerifyInit(ctx, NULL, a->digest(), NULL, key) == 1 &&
	     EVP_DigestVerify(ctx, signature, signature_n, text, n) == 1;
out:
	OPENSSL_free(der);
	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(key);
	ERR_clear_error();
	return ok;
}

bool
signature_verify(const char *alg, const char *key, const uint8_t *text, size_t n, const uint8_t *signature,
    size_t signature_n)
{
	const struct algorithm *a = find(alg);

	if (a->secret > 0)
		return verify_secret(a, key, text, n, signature, signature_n);
	return verify_pair(a, key, text, n, signature, signature_n);
}
