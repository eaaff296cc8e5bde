/*
 * The bytes of a connection: as they are, or inside TLS (1.2 or later) when the gateway has a certificate.
 * All of it is like recv(2) and writev(2) on a socket that does not block.
 */
#ifndef WS_GATEWAY_WIRE_H
#define WS_GATEWAY_WIRE_H

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

struct wire {
	int fd;
	SSL *ssl;	  /* NULL: no TLS */
	bool wants_write; /* TLS itself has something to say before more can be read */
};

/*
 * Reads the certificate chain and its key, PEM files, for the connections that come from now on. NULL, or
 * what is wrong with which of them, static; then those from before stay. Not called: no TLS.
 */
const char *wire_certificate(const char *chain_file, const char *key_file);

/* Takes over an accepted socket. */
void wire_open(struct wire *w, int fd);
/* 0: the other side's end. -1 with errno, which is EAGAIN when there is nothing to read now. */
ssize_t wire_read(struct wire *w, void *p, size_t n);
/* Is there more to read that the socket does not tell of? */
bool wire_pending(const struct wire *w);
ssize_t wire_write(struct wire *w, const struct iovec *iov, int n_iov);
/* Nothing more is written. */
void wire_shutdown(struct wire *w);
void wire_close(struct wire *w);

#endif
