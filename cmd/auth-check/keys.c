/* The keys that tokens are verified with. */
#include "keys.h"

#include <errno.h>
#include <jansson.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base64.h"
#include "buf.h"
#include "xalloc.h"

#define FILE_MAX (1024 * 1024)

const char *
keys_path(const char *value)
{
	return value != NULL && value[0] == '@' && value[1] == '/' ? value + 1 : NULL;
}

void
keys_clear(struct keys *keys)
{
	for (size_t i = 0; i < keys->n; i++)
		key_clear(&keys->all[i]);
	free(keys->all);
	*keys = (struct keys){ 0 };
}

static struct key *
add(struct keys *keys)
{
	struct key *key;

	keys->all = xrealloc(keys->all, (keys->n + 1) * sizeof *keys->all);
	key = &keys->all[keys->n++];
	*key = (struct key){ 0 };
	return key;
}

// ---- a set of JSON Web Keys

/* A member in base64url, as an allocated NUL-terminated run of bytes; NULL when it is none. */
static uint8_t *
member(const json_t *jwk, const char *name, size_t *n)
{
	const json_t *value = json_object_get(jwk, name);
	uint8_t *bytes;

	if (!json_is_string(value))
		return NULL;
	bytes = xmalloc(BASE64_ROOM(json_string_length(value)) + 1);
	if (base64url_decode(json_string_value(value), json_string_length(value), bytes, n)) {
		bytes[*n] = '\0';
		return bytes;
	}
	free(bytes);
	return NULL;
}

static EVP_PKEY *
key_of(const char *type, OSSL_PARAM_BLD *parts)
{
	OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(parts);
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
	EVP_PKEY *key = NULL;

	if (params == NULL || ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1 ||
	    EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
		key = NULL;
	EVP_PKEY_CTX_free(ctx);
	OSSL_PARAM_free(params);
	ERR_clear_error();
	return key;
}

static EVP_PKEY *
rsa_of(const json_t *jwk)
{
	size_t n_n = 0, e_n = 0;
	uint8_t *n = member(jwk, "n", &n_n), *e = member(jwk, "e", &e_n);
	BIGNUM *modulus = n != NULL ? BN_bin2bn(n, (int)n_n, NULL) : NULL;
	BIGNUM *exponent = e != NULL ? BN_bin2bn(e, (int)e_n, NULL) : NULL;
	OSSL_PARAM_BLD *parts = OSSL_PARAM_BLD_new();
	EVP_PKEY *key = NULL;

	if (parts != NULL && modulus != NULL && exponent != NULL &&
	    OSSL_PARAM_BLD_push_BN(parts, OSSL_PKEY_PARAM_RSA_N, modulus) == 1 &&
	    OSSL_PARAM_BLD_push_BN(parts, OSSL_PKEY_PARAM_RSA_E, exponent) == 1)
		key = key_of("RSA", parts);
	OSSL_PARAM_BLD_free(parts);
	BN_free(modulus);
	BN_free(exponent);
	free(n);
	free(e);
	return key;
}

static EVP_PKEY *
ec_of(const json_t *jwk)
{
	const char *curve = json_string_value(json_object_get(jwk, "crv"));
	size_t x_n = 0, y_n = 0;
	uint8_t *x = member(jwk, "x", &x_n), *y = member(jwk, "y", &y_n);
	OSSL_PARAM_BLD *parts = OSSL_PARAM_BLD_new();
	struct buf point = { 0 };
	EVP_PKEY *key = NULL;

	if (parts != NULL && curve != NULL && x != NULL && y != NULL) {
		buf_put(&point, "\x04", 1); /* uncompressed */
		buf_put(&point, x, x_n);
		buf_put(&point, y, y_n);
		if (OSSL_PARAM_BLD_push_utf8_string(parts, OSSL_PKEY_PARAM_GROUP_NAME, curve, 0) == 1 &&
		    OSSL_PARAM_BLD_push_octet_string(
			parts, OSSL_PKEY_PARAM_PUB_KEY, buf_data(&point), point.len) == 1)
			key = key_of("EC", parts);
	}
	OSSL_PARAM_BLD_free(parts);
	buf_clear(&point);
	free(x);
	free(y);
	return key;
}

static bool
says(const json_t *jwk, const char *name, const char *wanted)
{
	const char *value = json_string_value(json_object_get(jwk, name));

	return value != NULL && strcmp(value, wanted) == 0;
}

/* NULL, or what is wrong with a set; its fitting keys are added. */
static const char *
read_set(struct keys *keys, const char *alg, const char *text, size_t n)
{
	static char why[64];
	json_t *set = json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL);
	const char *type = signature_is_secret(alg) ? "oct" : alg[0] == 'R' ? "RSA" : "EC";
	const json_t *jwk, *id;
	size_t i;

	json_array_foreach(json_object_get(set, "keys"), i, jwk)
	{
		struct key *key;

		if (!says(jwk, "kty", type) ||
		    (json_object_get(jwk, "alg") != NULL && !says(jwk, "alg", alg)) ||
		    (json_object_get(jwk, "use") != NULL && !says(jwk, "use", "sig")))
			continue;
		key = add(keys);
		id = json_object_get(jwk, "kid");
		if (json_is_string(id))
			key->id = xstrdup(json_string_value(id));
		if (signature_is_secret(alg))
			key->secret = member(jwk, "k", &key->secret_n);
		else
			key->public = alg[0] == 'R' ? rsa_of(jwk) : ec_of(jwk);
	}
	if (set == NULL)
		return "The 'key' is not a JSON Web Key Set";
	json_decref(set);
	snprintf(why, sizeof why, "The key set holds no key for %s", alg);
	return keys->n > 0 ? NULL : why;
}

// ---- secrets and PEM

static void
read_pems(struct keys *keys, const char *text, size_t n)
{
	BIO *bio = BIO_new_mem_buf(text, (int)n);
	EVP_PKEY *key;
	size_t begun = 0;

	for (const char *p = text; (p = strstr(p, "-----BEGIN")) != NULL; p++)
		begun++;
	while (bio != NULL && (key = signature_read_pem(bio)) != NULL)
		add(keys)->public = key;
	BIO_free(bio);
	if (keys->n == 0 || keys->n != begun)
		add(keys); /* fits no algorithm */
}

static const char *
read_text(struct keys *keys, const char *alg, const char *text, size_t n, bool is_file)
{
	if (is_file && n > 0 && text[strspn(text, " \t\r\n")] == '{') {
		const char *error = read_set(keys, alg, text, n);

		if (error != NULL)
			return error;
	} else if (signature_is_secret(alg)) {
		struct key *key = add(keys);

		key->secret = (uint8_t *)xmemdup0(text, n);
		key->secret_n = n;
	} else {
		read_pems(keys, text, n);
	}
	for (size_t i = 0; i < keys->n; i++) {
		const char *error = signature_key_error(alg, &keys->all[i]);

		if (error != NULL)
			return error;
	}
	return NULL;
}

/* NULL, or why the file cannot be read. Its last newline is not part of it. */
static const char *
read_file(const char *path, struct buf *b)
{
	static char why[512];
	FILE *f = fopen(path, "re");
	int error = errno;
	size_t n;

	if (f != NULL) {
		while (b->len <= FILE_MAX && (n = fread(buf_room(b, 4096), 1, 4096, f)) > 0)
			buf_added(b, n);
		error = ferror(f) ? errno : b->len > FILE_MAX ? EFBIG : 0;
		fclose(f);
	}
	for (const char *end = "\n\r"; *end != '\0'; end++)
		if (b->len > 0 && buf_data(b)[b->len - 1] == *end)
			b->len--;
	snprintf(why, sizeof why, "%s: %s", path, strerror(error));
	return error == 0 ? NULL : why;
}

/* False: it is not base64. */
static bool
take_base64_off(struct buf *text)
{
	uint8_t *bytes = xmalloc(BASE64_ROOM(text->len));
	size_t n;
	bool ok = base64_decode(buf_cstr(text), text->len, bytes, &n);

	if (ok) {
		buf_take(text, text->len);
		buf_put(text, bytes, n);
	}
	free(bytes);
	return ok;
}

const char *
keys_read(struct keys *keys, const char *alg, const char *value, bool is_base64)
{
	const char *path = keys_path(value), *error = NULL;
	struct keys found = { 0 };
	struct buf text = { 0 };

	if (value == NULL || value[strspn(value, " \t\r\n")] == '\0')
		return "Missing 'key' configuration option for secure auth mode";
	if (path != NULL)
		error = read_file(path, &text);
	else
		buf_puts(&text, value);
	if (error == NULL && is_base64 && !take_base64_off(&text))
		error = "The 'key' is not base64, as AUTH_JWT_KEY_IS_BASE64_ENCODED has it";
	if (error == NULL)
		error = read_text(&found, alg, buf_cstr(&text), text.len, path != NULL);
	if (text.len > 0)
		OPENSSL_cleanse(buf_data(&text), text.len);
	buf_clear(&text);
	keys_clear(error == NULL ? keys : &found);
	if (error == NULL)
		*keys = found;
	return error;
}
