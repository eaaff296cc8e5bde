/* The publisher's side of logical replication. */
#include "publisher.h"

#include <ev.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "incoming.h"
#include "listen.h"
#include "log.h"
#include "peer.h"
#include "service.h"
#include "tls_conn.h"
#include "xalloc.h"

#define SESSIONS_MAX	 8     /* a worker, a REFRESH, and some who are on their way out */
#define LOGIN_SECONDS	 10.   /* until the password must have come */
#define KEEPALIVE	 10.   /* seconds; the worker gives up after wal_receiver_timeout, 60 */
#define MESSAGE_MAX	 65536 /* bytes that a subscriber's message may have */
#define PROTOCOL_VERSION 196608

enum state { STARTUP, PASSWORD, READY, STARTING, STREAMING };

struct session {
	struct tls_conn *c;
	enum state state;
	char *database;
	ev_timer timer; /* the end of patience at login; then of a keepalive */
};

static const struct publisher_hooks *hooks;
static const char *password;
static SSL_CTX *context;
static ev_io listener;
static unsigned n_sessions;
static struct session *worker; /* the session that asked for the stream; NULL: none */
static uint64_t sent;	       /* position of the last transaction sent to it */

// ---- messages to the subscriber

static size_t
begin(struct session *s, char type)
{
	struct buf *out = &s->c->out;

	buf_put(out, &type, 1);
	buf_put_be32(out, 0);
	return out->len - 4;
}

static void
end(struct session *s, size_t at)
{
	struct buf *out = &s->c->out;
	uint32_t n = (uint32_t)(out->len - at);
	uint8_t *p = buf_data(out) + at;

	for (int i = 3; i >= 0; i--, n >>= 8)
		p[i] = (uint8_t)n;
}

static void
put_16(struct session *s, unsigned v)
{
	uint8_t bytes[2] = { (uint8_t)(v >> 8), (uint8_t)v };

	buf_put(&s->c->out, bytes, sizeof bytes);
}

static void
put_cstring(struct session *s, const char *text)
{
	buf_put(&s->c->out, text, strlen(text) + 1);
}

static void
send_ready(struct session *s)
{
	size_t at = begin(s, 'Z');

	buf_puts(&s->c->out, "I");
	end(s, at);
	tls_conn_flush(s->c);
}

static void
send_complete(struct session *s, const char *tag)
{
	size_t at = begin(s, 'C');

	put_cstring(s, tag);
	end(s, at);
}

static void
send_error(struct session *s, const char *severity, const char *code, const char *text)
{
	const char *const fields[] = { severity, severity, code, text };
	size_t at = begin(s, 'E');

	for (int i = 0; i < 4; i++) {
		buf_put(&s->c->out, &"SVCM"[i], 1);
		put_cstring(s, fields[i]);
	}
	buf_put(&s->c->out, "", 1);
	end(s, at);
}

static void
send_fatal(struct session *s, const char *code, const char *text)
{
	log_warning("subscriber-refused", "sqlstate=%s error=%s", code, log_quote(text));
	send_error(s, "FATAL", code, text);
	tls_conn_finish(s->c);
}

/* Columns of type text, and one row of them or none. A NULL value is NULL. */
static void
send_rows(struct session *s, unsigned n, const char *const *names, const char *const *values, const char *tag)
{
	size_t at = begin(s, 'T');

	put_16(s, n);
	for (unsigned i = 0; i < n; i++) {
		put_cstring(s, names[i]);
		buf_put_be32(&s->c->out, 0); /* of no table, */
		put_16(s, 0);		     /* no column of one */
		buf_put_be32(&s->c->out, 25);
		put_16(s, UINT16_MAX);
		buf_put_be32(&s->c->out, UINT32_MAX);
		put_16(s, 0);
	}
	end(s, at);
	at = begin(s, 'D');
	put_16(s, n);
	for (unsigned i = 0; i < n; i++) {
		buf_put_be32(&s->c->out, values[i] != NULL ? (uint32_t)strlen(values[i]) : UINT32_MAX);
		if (values[i] != NULL)
			buf_puts(&s->c->out, values[i]);
	}
	end(s, at);
	send_complete(s, tag);
}

// ---- login

/* A parameter of the startup message; NULL: it is not there. */
static const char *
startup_parameter(const char *p, const char *end_of, const char *name)
{
	while (p < end_of && *p != '\0') {
		const char *value = p + strlen(p) + 1;

		if (value >= end_of)
			break;
		if (strcmp(p, name) == 0)
			return value;
		p = value + strlen(value) + 1;
	}
	return NULL;
}

/* The startup message: its length, the protocol's version, then names and values. */
static void
on_startup(struct session *s, const uint8_t *p, size_t n)
{
	const char *first = (const char *)p + 8, *past = (const char *)p + n;
	const char *user, *database, *replication;
	size_t at;

	if (n < 9 || past[-1] != '\0' || be32_get(p + 4) != PROTOCOL_VERSION) {
		send_fatal(s, "08P01", "the startup message is not of protocol 3.0");
		return;
	}
	user = startup_parameter(first, past, "user");
	database = startup_parameter(first, past, "database");
	replication = startup_parameter(first, past, "replication");
	if (replication == NULL || strcmp(replication, "database") != 0) {
		send_fatal(s, "08004", "only subscriptions of Postgres connect here (replication=database)");
		return;
	}
	if (user == NULL || strcmp(user, PUBLISHER_USER) != 0) {
		send_fatal(s, "28P01", "there is no such user");
		return;
	}
	s->database = xstrdup(database != NULL ? database : user);
	s->state = PASSWORD;
	at = begin(s, 'R');
	buf_put_be32(&s->c->out, 3); /* the password as it is: all this is inside TLS */
	end(s, at);
	tls_conn_flush(s->c);
}

static void
on_password(struct session *s, const char *given, size_t n)
{
	static const char *const parameters[][2] = { { "server_encoding", "UTF8" },
		{ "client_encoding", "UTF8" },
		/* No number: to the subscriber a version before all others, which needs the least. */
		{ "server_version", "leyden" }, { "standard_conforming_strings", "on" },
		{ "integer_datetimes", "on" }, { "TimeZone", "UTC" } };
	size_t at;

	if (n != strlen(password) + 1 || CRYPTO_memcmp(given, password, n) != 0) {
		send_fatal(s, "28P01", "the password is wrong");
		return;
	}
	ev_timer_stop(loop(), &s->timer);
	s->state = READY;
	at = begin(s, 'R');
	buf_put_be32(&s->c->out, 0);
	end(s, at);
	for (size_t i = 0; i < sizeof parameters / sizeof *parameters; i++) {
		at = begin(s, 'S');
		put_cstring(s, parameters[i][0]);
		put_cstring(s, parameters[i][1]);
		end(s, at);
	}
	at = begin(s, 'K'); /* nothing can be cancelled */
	buf_put_be32(&s->c->out, 0);
	buf_put_be32(&s->c->out, 0);
	end(s, at);
	send_ready(s);
}

// ---- commands

static void
start_streaming(struct session *s)
{
	if (worker != NULL)
		tls_conn_close(worker->c, "another worker came");
	worker = s;
	s->state = STARTING;
	hooks->start();
}

static void
on_query(struct session *s, const char *query)
{
	if (strncasecmp(query, "START_REPLICATION ", 18) == 0) {
		start_streaming(s);
		return;
	}
	if (strncasecmp(query, "IDENTIFY_SYSTEM", 15) == 0)
		send_rows(s, 4, (const char *const[]){ "systemid", "timeline", "xlogpos", "dbname" },
		    (const char *const[]){ "leyden", "1", "0/1", s->database }, "IDENTIFY_SYSTEM");
	else if (strncasecmp(query, "CREATE_REPLICATION_SLOT ", 24) == 0)
		send_rows(s, 4,
		    (const char *const[]){
			"slot_name", "consistent_point", "snapshot_name", "output_plugin" },
		    (const char *const[]){ "leyden", "0/1", NULL, "pgoutput" }, "CREATE_REPLICATION_SLOT");
	else if (strncasecmp(query, "DROP_REPLICATION_SLOT ", 22) == 0)
		send_complete(s, "DROP_REPLICATION_SLOT");
	else if (strstr(query, "set_config(") != NULL)
		send_rows(
		    s, 1, (const char *const[]){ "set_config" }, (const char *const[]){ "" }, "SELECT 1");
	else if (strstr(query, "pg_publication_tables") != NULL)
		send_rows(s, 2, (const char *const[]){ "schemaname", "tablename" },
		    (const char *const[]){ INCOMING_SCHEMA, INCOMING_TABLE }, "SELECT 1");
	else if (strstr(query, "pg_publication") != NULL)
		send_rows(s, 1, (const char *const[]){ "pubname" },
		    (const char *const[]){ "electric_publication" }, "SELECT 1");
	else
		send_error(s, "ERROR", "0A000", "this publisher answers what a subscription asks, no more");
	send_ready(s);
}

static void
on_status(struct session *s, const uint8_t *p, size_t n)
{
	if (n != 34 || p[0] != 'r' || s->state != STREAMING)
		return;
	if (p[33] != 0) {
		incoming_keepalive(&s->c->out, sent);
		tls_conn_flush(s->c);
	}
	hooks->flushed(be64_get(p + 9));
}

static void
end_of_copy(struct session *s)
{
	size_t at = begin(s, 'c');

	end(s, at);
	send_complete(s, "COPY 0");
	send_complete(s, "START_REPLICATION");
	s->state = READY;
	ev_timer_stop(loop(), &s->timer);
	if (worker == s) {
		worker = NULL;
		hooks->stopped();
	}
	send_ready(s);
}

/* False: it does not belong here. */
static bool
on_message(struct session *s, char type, const uint8_t *p, size_t n)
{
	bool text = n > 0 && p[n - 1] == '\0' && strlen((const char *)p) == n - 1;

	if (type == 'X')
		tls_conn_close(s->c, NULL);
	else if (type == 'p' && s->state == PASSWORD && text)
		on_password(s, (const char *)p, n);
	else if (type == 'Q' && s->state == READY && text)
		on_query(s, (const char *)p);
	else if (type == 'd' && s->state >= STARTING)
		on_status(s, p, n);
	else if (type == 'c' && s->state == STREAMING)
		end_of_copy(s);
	else
		return false;
	return true;
}

/* Takes the messages that are there whole. */
static void
on_input(struct tls_conn *c)
{
	struct session *s = c->data;

	while (c->fd >= 0 && !c->closing) {
		size_t head = s->state == STARTUP ? 4 : 5; /* the first message has no type */
		uint8_t *p = buf_data(&c->in);
		uint32_t n;
		bool good = true;

		if (c->in.len < head)
			return;
		n = be32_get(p + head - 4);
		if (n < 4 || n > MESSAGE_MAX) {
			good = false;
		} else if (c->in.len < head - 4 + n) {
			return;
		} else if (s->state == STARTUP) {
			on_startup(s, p, n);
		} else {
			good = on_message(s, (char)p[0], p + 5, n - 4);
		}
		if (!good)
			send_fatal(s, "08P01", "a message that does not belong here");
		if (c->fd >= 0 && good)
			buf_take(&c->in, head - 4 + n);
	}
}

// ---- sessions

static void
on_drained(struct tls_conn *c)
{
	if (worker == c->data && worker->state == STREAMING)
		hooks->drained();
}

static void
on_closed(struct tls_conn *c, const char *why)
{
	struct session *s = c->data;

	if (why != NULL)
		log_warning("subscriber-lost", "error=%s", log_quote(why));
	if (n_sessions-- == SESSIONS_MAX)
		ev_io_start(loop(), &listener);
	ev_timer_stop(loop(), &s->timer);
	free(s->database);
	if (worker == s) {
		worker = NULL;
		hooks->stopped();
	}
	free(s);
}

static void
on_timer(struct ev_loop *l, ev_timer *w, int events)
{
	struct session *s = w->data;

	(void)l;
	(void)events;
	if (s->state == STREAMING) {
		incoming_keepalive(&s->c->out, sent);
		tls_conn_flush(s->c);
	} else {
		tls_conn_close(s->c, "it did not log in in time");
	}
}

static void
on_accept(struct ev_loop *l, ev_io *w, int events)
{
	static const struct tls_conn_hooks conn_hooks = { on_input, on_drained, on_closed };
	int fd = accept4(w->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct session *s;

	(void)l;
	(void)events;
	if (fd < 0)
		return;
	s = xcalloc(1, sizeof *s);
	s->c = tls_conn_accept(fd, context, &conn_hooks, s);
	if (s->c == NULL) {
		close(fd);
		free(s);
		return;
	}
	ev_timer_init(&s->timer, on_timer, LOGIN_SECONDS, KEEPALIVE);
	s->timer.data = s;
	ev_timer_start(loop(), &s->timer);
	if (++n_sessions == SESSIONS_MAX)
		ev_io_stop(loop(), &listener);
}

unsigned
publisher_open(const char *address, unsigned port, const char *own_password, const struct publisher_hooks *h)
{
	int fd;
	char *name = listen_open("LOGICAL_PUBLISHER_PORT", address, port, &fd, 1);

	port = (unsigned)atoi(strrchr(name, ':') + 1); /* where the kernel has chosen one, too */
	free(name);
	context = tls_conn_context();
	if (context == NULL)
		service_config_error("ELECTRIC_WRITE_TO_PG_MODE", "OpenSSL cannot make a certificate");
	hooks = h;
	password = own_password;
	ev_io_init(&listener, on_accept, fd, EV_READ);
	ev_io_start(loop(), &listener);
	return port;
}

// ---- the stream

void
publisher_begin(uint64_t position)
{
	size_t at;

	if (worker == NULL || worker->state != STARTING)
		return;
	at = begin(worker, 'W');
	buf_put(&worker->c->out, "", 1); /* format: text, of no columns */
	put_16(worker, 0);
	end(worker, at);
	sent = position;
	worker->state = STREAMING;
	incoming_relation(&worker->c->out);
	incoming_keepalive(&worker->c->out, sent);
	ev_timer_again(loop(), &worker->timer);
	tls_conn_flush(worker->c);
}

void
publisher_send(const char *life, const ClientTransaction *t)
{
	if (worker == NULL || worker->state != STREAMING)
		return;
	incoming_transaction(&worker->c->out, life, t);
	sent = t->position;
	tls_conn_flush(worker->c);
}

size_t
publisher_pending(void)
{
	return worker != NULL ? worker->c->out.len : 0;
}

void
publisher_drop(const char *why)
{
	if (worker != NULL)
		tls_conn_close(worker->c, why);
}
