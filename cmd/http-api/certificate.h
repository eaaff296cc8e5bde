/* The certificate of https://, for libmicrohttpd and the GnuTLS under it. */
#ifndef HTTP_API_CERTIFICATE_H
#define HTTP_API_CERTIFICATE_H

#include <gnutls/abstract.h>

/* TLS 1.2 and later. */
#define CERTIFICATE_PRIORITIES "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

/*
 * Reads the certificate chain and its key, PEM files, for the connections that come from now on. NULL, or
 * what is wrong with which of them, static; then those from before stay.
 */
const char *certificate_read(const char *chain_file, const char *key_file);

/* A gnutls_certificate_retrieve_function2. */
int certificate_retrieve(gnutls_session_t session, const gnutls_datum_t *authorities, int n_authorities,
    const gnutls_pk_algorithm_t *algorithms, int n_algorithms, gnutls_pcert_st **chain, unsigned *n_chain,
    gnutls_privkey_t *key);

#endif
