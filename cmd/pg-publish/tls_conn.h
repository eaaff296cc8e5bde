/*
 * An accepted connection of Postgres' protocol, inside TLS: what comes before the TLS handshake is answered
 * here (protocol-flow, "SSL Session Encryption"), and no plain session is ever begun.
 */
#ifndef PG_PUBLISH_TLS_CONN_H
#define PG_PUBLISH_TLS_CONN_H

#include <ev.h>
#include <openssl/ssl.h>
#include <stdbool.h>

#include "buf.h"

struct tls_conn;

struct tls_conn_hooks {
	void (*input)(struct tls_conn *c);   /* more has come into c->in */
	void (*drained)(struct tls_conn *c); /* all of c->out has gone to the kernel */
	/* The connection is lost, or was closed; c is freed after the call. `why`: NULL for an orderly end.
	 */
	void (*closed)(struct tls_conn *c, const char *why);
};

struct tls_conn {
	struct buf in;	/* received; the owner takes from its front */
	struct buf out; /* to be sent; after adding, call tls_conn_flush() */
	void *data;	/* the owner's */
	/* the rest is tls_conn.c's own */
	const struct tls_conn_hooks *hooks;
	int fd;
	SSL *ssl;
	bool asked, open, closing, in_call; /* asked: for TLS; open: its handshake is done */
	ev_io io;
};

/* A context with a key and a certificate of its own making: it encrypts, and names nobody. NULL: OpenSSL
 * failed. */
SSL_CTX *tls_conn_context(void);
/* Takes over an accepted socket. NULL, and the socket is left as it is: OpenSSL failed. */
struct tls_conn *tls_conn_accept(int fd, SSL_CTX *context, const struct tls_conn_hooks *hooks, void *data);
void tls_conn_flush(struct tls_conn *c);
/* Closes once all is sent. */
void tls_conn_finish(struct tls_conn *c);
/* Closes at once. */
void tls_conn_close(struct tls_conn *c, const char *why);

#endif
