/* Postgres' protocol inside TLS, on a socket that does not block. */
#include "tls_conn.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "peer.h"
#include "xalloc.h"

#define REQUEST_SIZE  8 /* bytes of what may come before TLS: a length and a code */
#define SSL_REQUEST   80877103
#define GSS_REQUEST   80877104
#define READ_SIZE     16384
#define VALID_SECONDS (20L * 365 * 24 * 3600)

SSL_CTX *
tls_conn_context(void)
{
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *certificate = X509_new();
	X509_NAME *name = certificate != NULL ? X509_get_subject_name(certificate) : NULL;
	bool ok = context != NULL && key != NULL && name != NULL &&
		  ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1) == 1 &&
		  X509_gmtime_adj(X509_getm_notBefore(certificate), -24L * 3600) != NULL &&
		  X509_gmtime_adj(X509_getm_notAfter(certificate), VALID_SECONDS) != NULL &&
		  X509_NAME_add_entry_by_txt(
		      name, "CN", MBSTRING_ASC, (const unsigned char *)"leyden", -1, -1, 0) == 1 &&
		  X509_set_issuer_name(certificate, name) == 1 && X509_set_pubkey(certificate, key) == 1 &&
		  X509_sign(certificate, key, EVP_sha256()) != 0 &&
		  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1 &&
		  SSL_CTX_use_certificate(context, certificate) == 1 &&
		  SSL_CTX_use_PrivateKey(context, key) == 1;

	if (ok) {
		SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION);
		SSL_CTX_set_mode(
		    context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
		SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	} else {
		SSL_CTX_free(context);
		context = NULL;
	}
	X509_free(certificate);
	EVP_PKEY_free(key);
	return context;
}

static void
destroy(struct tls_conn *c)
{
	SSL_free(c->ssl);
	buf_clear(&c->in);
	buf_clear(&c->out);
	free(c);
}

/* The owner is told, and the memory stays. */
static void
shut(struct tls_conn *c, const char *why)
{
	if (c->fd < 0)
		return;
	ev_io_stop(loop(), &c->io);
	if (c->open)
		SSL_shutdown(c->ssl);
	close(c->fd);
	c->fd = -1;
	c->hooks->closed(c, why);
}

void
tls_conn_close(struct tls_conn *c, const char *why)
{
	if (c->fd < 0)
		return;
	shut(c, why);
	if (!c->in_call)
		destroy(c);
}

/* What TLS waits for after this result: events, or 0 when the connection has ended and is closed. */
static int
waits_for(struct tls_conn *c, int result)
{
	switch (SSL_get_error(c->ssl, result)) {
	case SSL_ERROR_WANT_READ:
		return EV_READ;
	case SSL_ERROR_WANT_WRITE:
		return EV_WRITE;
	case SSL_ERROR_ZERO_RETURN:
		shut(c, NULL);
		return 0;
	case SSL_ERROR_SYSCALL:
		shut(c, errno != 0 ? strerror(errno) : "the connection was cut");
		return 0;
	default: {
		const char *reason = ERR_reason_error_string(ERR_peek_error());

		shut(c, reason != NULL ? reason : "TLS failed");
		return 0;
	}
	}
}

/* The request for TLS, which must be the first; not a byte beyond it is read outside of TLS. False: wait, or
 * gone. */
static bool
begin_tls(struct tls_conn *c)
{
	ssize_t n;
	uint32_t code;

	n = recv(c->fd, buf_room(&c->in, REQUEST_SIZE), REQUEST_SIZE - c->in.len, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		shut(c, n == 0 ? NULL : strerror(errno));
		return false;
	}
	buf_added(&c->in, (size_t)n);
	if (c->in.len < REQUEST_SIZE)
		return false;
	code = be32_get(buf_data(&c->in) + 4);
	buf_take(&c->in, REQUEST_SIZE);
	if (code == GSS_REQUEST) {
		if (send(c->fd, "N", 1, MSG_NOSIGNAL) != 1)
			shut(c, "the connection was cut");
		return false;
	}
	if (code != SSL_REQUEST) {
		shut(c, "a session without TLS was asked for");
		return false;
	}
	c->asked = send(c->fd, "S", 1, MSG_NOSIGNAL) == 1;
	if (!c->asked)
		shut(c, "the connection was cut");
	return c->asked;
}

/* Reads all that is there: the events to wait for, 0 when the connection is gone. */
static int
read_all(struct tls_conn *c)
{
	for (;;) {
		int n;

		ERR_clear_error();
		errno = 0;
		n = SSL_read(c->ssl, buf_room(&c->in, READ_SIZE), READ_SIZE);
		if (n <= 0)
			return waits_for(c, n);
		buf_added(&c->in, (size_t)n);
		c->hooks->input(c);
		if (c->fd < 0)
			return 0;
	}
}

static int
write_all(struct tls_conn *c)
{
	bool any = c->out.len > 0;

	while (c->out.len > 0) {
		size_t n;
		int rc;

		ERR_clear_error();
		errno = 0;
		rc = SSL_write_ex(c->ssl, buf_data(&c->out), c->out.len, &n);
		if (rc != 1)
			return waits_for(c, rc);
		buf_take(&c->out, n);
	}
	if (c->closing) {
		shut(c, NULL);
		return 0;
	}
	if (any)
		c->hooks->drained(c);
	return c->fd >= 0 ? EV_READ : 0;
}

/* As far as the socket allows. */
static void
drive(struct tls_conn *c)
{
	int events = EV_READ;

	if (!c->open) {
		int rc;

		ERR_clear_error();
		errno = 0;
		rc = SSL_accept(c->ssl);
		c->open = rc == 1;
		if (!c->open)
			events = waits_for(c, rc);
	}
	if (c->open)
		events = read_all(c);
	if (c->open && events != 0)
		events |= write_all(c);
	/* drained may have added more: then it is written when the socket says that it can be. */
	if (c->fd >= 0) {
		ev_io_stop(loop(), &c->io);
		ev_io_set(&c->io, c->fd, events | (c->open && c->out.len > 0 ? EV_WRITE : 0));
		ev_io_start(loop(), &c->io);
	}
}

static void
on_io(struct ev_loop *l, ev_io *w, int events)
{
	struct tls_conn *c = w->data;

	(void)l;
	(void)events;
	c->in_call = true;
	if (c->asked || begin_tls(c))
		drive(c);
	c->in_call = false;
	if (c->fd < 0)
		destroy(c);
}

struct tls_conn *
tls_conn_accept(int fd, SSL_CTX *context, const struct tls_conn_hooks *hooks, void *data)
{
	struct tls_conn *c = xcalloc(1, sizeof *c);

	c->fd = fd;
	c->hooks = hooks;
	c->data = data;
	c->ssl = SSL_new(context);
	if (c->ssl == NULL || SSL_set_fd(c->ssl, fd) != 1) {
		SSL_free(c->ssl);
		free(c);
		return NULL;
	}
	ev_io_init(&c->io, on_io, fd, EV_READ);
	c->io.data = c;
	ev_io_start(loop(), &c->io);
	return c;
}

void
tls_conn_flush(struct tls_conn *c)
{
	if (c->fd < 0 || !c->open || c->in_call)
		return; /* within on_io it is done at its end */
	ev_io_stop(loop(), &c->io);
	ev_io_set(&c->io, c->fd, EV_READ | EV_WRITE);
	ev_io_start(loop(), &c->io);
}

void
tls_conn_finish(struct tls_conn *c)
{
	c->closing = true;
	if (c->open)
		tls_conn_flush(c);
	else
		tls_conn_close(c, NULL);
}
