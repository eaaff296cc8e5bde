/* The bytes of a connection. */
#include "wire.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define RECORD 16384 /* bytes in one record of TLS */

static SSL_CTX *context;

// ---- the certificate

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

static const char *
complaint(const char *file)
{
	static char text[512];
	unsigned long code = ERR_peek_error();
	const char *reason =
	    ERR_SYSTEM_ERROR(code) ? strerror(ERR_GET_REASON(code)) : ERR_reason_error_string(code);

	snprintf(text, sizeof text, "%s: %s", file, reason != NULL ? reason : "not usable");
	ERR_clear_error();
	return text;
}

const char *
wire_certificate(const char *chain_file, const char *key_file)
{
	SSL_CTX *made = SSL_CTX_new(TLS_server_method());
	const char *error = NULL;

	if (made == NULL)
		return complaint("TLS");
	ERR_clear_error();
	SSL_CTX_set_default_passwd_cb(made, no_passphrase);
	SSL_CTX_set_min_proto_version(made, TLS1_2_VERSION);
	SSL_CTX_set_options(
	    made, SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_NO_COMPRESSION);
	/* What an idle connection has no use for is given back. */
	SSL_CTX_set_mode(made,
	    SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_session_cache_mode(made, SSL_SESS_CACHE_OFF);
	if (SSL_CTX_use_certificate_chain_file(made, chain_file) != 1)
		error = complaint(chain_file);
	else if (SSL_CTX_use_PrivateKey_file(made, key_file, SSL_FILETYPE_PEM) != 1)
		error = complaint(key_file);
	SSL_CTX_free(error == NULL ? context : made); /* connections keep theirs */
	if (error == NULL)
		context = made;
	return error;
}

// ---- a connection

void
wire_open(struct wire *w, int fd)
{
	*w = (struct wire){ .fd = fd };
	if (context == NULL || (w->ssl = SSL_new(context)) == NULL)
		return;
	SSL_set_fd(w->ssl, fd);
	SSL_set_accept_state(w->ssl);
}

/* What a call of OpenSSL came to, as a system call would tell it. */
static ssize_t
outcome(struct wire *w, int result)
{
	int saved = errno, error = SSL_get_error(w->ssl, result);

	ERR_clear_error();
	w->wants_write = error == SSL_ERROR_WANT_WRITE;
	if (error == SSL_ERROR_NONE)
		return result;
	if (error == SSL_ERROR_ZERO_RETURN)
		return 0;
	errno = error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? EAGAIN
		: error == SSL_ERROR_SYSCALL && saved != 0		      ? saved
									      : EPROTO;
	return -1;
}

ssize_t
wire_read(struct wire *w, void *p, size_t n)
{
	int result;

	if (w->ssl == NULL)
		return recv(w->fd, p, n, 0);
	errno = 0;
	result = SSL_read(w->ssl, p, (int)n);
	return outcome(w, result);
}

bool
wire_pending(const struct wire *w)
{
	return w->ssl != NULL && SSL_pending(w->ssl) > 0;
}

ssize_t
wire_write(struct wire *w, const struct iovec *iov, int n_iov)
{
	static char record[RECORD];
	size_t n = 0;
	int result;

	if (w->ssl == NULL)
		return writev(w->fd, iov, n_iov);
	/* What was not taken comes again, at the front of the next call, as OpenSSL demands. */
	for (int i = 0; i < n_iov && n < sizeof record; i++) {
		size_t part = iov[i].iov_len < sizeof record - n ? iov[i].iov_len : sizeof record - n;

		memcpy(record + n, iov[i].iov_base, part);
		n += part;
	}
	errno = 0;
	result = SSL_write(w->ssl, record, (int)n);
	return outcome(w, result);
}

void
wire_shutdown(struct wire *w)
{
	if (w->ssl != NULL && SSL_is_init_finished(w->ssl))
		SSL_shutdown(w->ssl);
	ERR_clear_error();
	shutdown(w->fd, SHUT_WR);
}

void
wire_close(struct wire *w)
{
	SSL_free(w->ssl);
	close(w->fd);
}
