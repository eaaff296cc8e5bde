/*
 * What Postgres, or whoever else connects, sends to the publisher: the startup message, a password, queries,
 * status updates. The publisher's file is compiled in here, its connection is one of no socket.
 */
#include "../../cmd/pg-publish/publisher.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static bool closed;

// ---- the connection

SSL_CTX *
tls_conn_context(void)
{
	return NULL;
}

struct tls_conn *
tls_conn_accept(int fd, SSL_CTX *with, const struct tls_conn_hooks *h, void *data)
{
	(void)fd;
	(void)with;
	(void)h;
	(void)data;
	return NULL;
}

void
tls_conn_flush(struct tls_conn *c)
{
	buf_take(&c->out, c->out.len);
}

void
tls_conn_finish(struct tls_conn *c)
{
	c->closing = true;
}

void
tls_conn_close(struct tls_conn *c, const char *why)
{
	if (!closed) {
		closed = true;
		c->fd = -1;
		on_closed(c, why);
	}
}

// ---- what it is for

static void
start_now(void)
{
	publisher_begin(7);
}

static void
nothing(void)
{
}

static void
nothing_of(uint64_t lsn)
{
	(void)lsn;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const struct publisher_hooks none = { start_now, nothing_of, nothing, nothing };
	struct session *s = xcalloc(1, sizeof *s);
	struct tls_conn c = { .fd = 0, .open = true, .data = s };

	log_init("publisher", LOG_LEVEL_ERROR); /* what is refused is no news here */
	hooks = &none;
	password = "secret";
	closed = false;
	s->c = &c;
	ev_timer_init(&s->timer, on_timer, LOGIN_SECONDS, KEEPALIVE);
	s->timer.data = s;
	ev_timer_start(loop(), &s->timer);
	n_sessions++;
	for (size_t at = 0; at < n && !closed && !c.closing; at += 61) { /* in pieces */
		buf_put(&c.in, data + at, n - at < 61 ? n - at : 61);
		on_input(&c);
	}
	tls_conn_close(&c, NULL);
	buf_clear(&c.in);
	buf_clear(&c.out);
	return 0;
}
