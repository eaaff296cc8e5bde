/* The certificate of https://. */
#include "certificate.h"

#include <errno.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "xalloc.h"

#define CHAIN_MAX 16

struct certificate {
	gnutls_pcert_st chain[CHAIN_MAX];
	unsigned n; /* 0: there is none */
	gnutls_privkey_t key;
};

/* The one before the present one is kept, for handshakes that have begun with it. */
static struct certificate *present, *former;

static void
certificate_free(struct certificate *c)
{
	if (c == NULL)
		return;
	for (unsigned i = 0; i < c->n; i++)
		gnutls_pcert_deinit(&c->chain[i]);
	gnutls_privkey_deinit(c->key);
	free(c);
}

static int
read_chain(struct certificate *c, const char *file)
{
	gnutls_datum_t pem = { 0 };
	int code = gnutls_load_file(file, &pem);

	if (code < 0)
		return code;
	c->n = CHAIN_MAX;
	code = gnutls_pcert_list_import_x509_raw(
	    c->chain, &c->n, &pem, GNUTLS_X509_FMT_PEM, GNUTLS_X509_CRT_LIST_FAIL_IF_UNSORTED);
	if (code < 0)
		c->n = 0;
	gnutls_free(pem.data);
	return code;
}

static int
read_key(struct certificate *c, const char *file)
{
	gnutls_datum_t pem = { 0 };
	int code = gnutls_load_file(file, &pem);

	if (code < 0)
		return code;
	code = gnutls_privkey_init(&c->key);
	if (code == 0)
		code = gnutls_privkey_import_x509_raw(c->key, &pem, GNUTLS_X509_FMT_PEM, NULL, 0);
	gnutls_memset(pem.data, 0, pem.size);
	gnutls_free(pem.data);
	return code;
}

/* Are they of one pair? */
static int
match(const struct certificate *c)
{
	unsigned char one[64], other[64];
	size_t one_n = sizeof one, other_n = sizeof other;
	gnutls_pubkey_t public;
	int code = gnutls_pubkey_init(&public);

	if (code == 0)
		code = gnutls_pubkey_import_privkey(public, c->key, 0, 0);
	if (code == 0)
		code = gnutls_pubkey_get_key_id(public, GNUTLS_KEYID_USE_SHA256, one, &one_n);
	if (code == 0)
		code = gnutls_pubkey_get_key_id(c->chain[0].pubkey, GNUTLS_KEYID_USE_SHA256, other, &other_n);
	if (code == 0 && (one_n != other_n || gnutls_memcmp(one, other, one_n) != 0))
		code = GNUTLS_E_CERTIFICATE_KEY_MISMATCH;
	gnutls_pubkey_deinit(public);
	return code;
}

const char *
certificate_read(const char *chain_file, const char *key_file)
{
	static char text[512];
	struct certificate *c = xcalloc(1, sizeof *c);
	const char *file = chain_file;
	int code = read_chain(c, file);

	if (code >= 0)
		code = read_key(c, file = key_file);
	if (code >= 0)
		code = match(c);
	if (code < 0) {
		snprintf(text, sizeof text, "%s: %s", file,
		    code == GNUTLS_E_FILE_ERROR ? strerror(errno) : gnutls_strerror(code));
		certificate_free(c);
		return text;
	}
	certificate_free(former);
	former = present;
	present = c;
	return NULL;
}

int
certificate_retrieve(gnutls_session_t session, const gnutls_datum_t *authorities, int n_authorities,
    const gnutls_pk_algorithm_t *algorithms, int n_algorithms, gnutls_pcert_st **chain, unsigned *n_chain,
    gnutls_privkey_t *key)
{
	(void)session;
	(void)authorities;
	(void)n_authorities;
	(void)algorithms;
	(void)n_algorithms;
	*chain = present->chain;
	*n_chain = present->n;
	*key = present->key;
	return 0;
}
