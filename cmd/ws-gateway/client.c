/* One client: its life, and which message may come when. */
#include "client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "accept.h"
#include "delivery.h"
#include "figures.h"
#include "gateway.h"
#include "log.h"
#include "replicate.h"
#include "subscribe.h"
#include "upstream.h"
#include "value.h"
#include "version.h"
#include "xalloc.h"

#define PING_EVERY   5.0 /* seconds; the protocol's */
#define ATTACH_AGAIN 0.1 /* seconds between attempts to take a client id that another connection holds */
#define ATTACH_TRIES 10
#define WRITES_PAUSE (1024 * 1024) /* bytes on their way to the log before the socket is no longer read */

static struct client *all;

const char *
client_name(const struct client *c)
{
	static char ring[4][640];
	static unsigned next;
	char *name = ring[next++ % 4];

	snprintf(name, sizeof ring[0], "client_id=%s address=%s", log_quote(c->id != NULL ? c->id : ""),
	    conn_address(c->conn));
	return name;
}

// ---- ending

static void
clear(struct client *c)
{
	if (c->state == CLIENT_GONE)
		return;
	if (c->attached != 0) {
		DetachClient detach = DETACH_CLIENT__INIT;

		detach.client_id = c->id;
		detach.attached = c->attached;
		peer_send(upstream_log(), FRAME__BODY_DETACH_CLIENT, &detach);
	}
	if (c->state == CLIENT_IN)
		log_info("client-left", "%s", client_name(c));
	c->state = CLIENT_GONE;
	ev_timer_stop(loop(), &c->tick);
	ev_periodic_stop(loop(), &c->expiry);
	ev_timer_stop(loop(), &c->attach_again);
	ev_timer_stop(loop(), &c->after_echo);
	ask_cancel(&c->asks);
	subscribe_clear(c);
	accept_clear(c);
	audience_unref(c->audience);
	c->audience = NULL;
}

void
client_closed(struct client *c)
{
	clear(c);
	while (c->inbox != NULL) {
		struct waiting_message *m = c->inbox;

		c->inbox = m->next;
		free(m);
	}
	*(c->prev != NULL ? &c->prev->next : &all) = c->next;
	if (c->next != NULL)
		c->next->prev = c->prev;
	free(c->id);
	free(c->user_id);
	free(c->announced);
	free(c->own_lsn.data);
	arena_clear(&c->memory);
	free(c);
}

void
client_close(struct client *c, const char *why)
{
	if (c->state == CLIENT_GONE)
		return;
	log_info("client-closed", "%s why=%s", client_name(c), log_quote(why));
	clear(c);
	conn_close(c->conn, 0, "");
}

void
client_fail(struct client *c, SatErrorResp__ErrorCode code, const char *why)
{
	SatErrorResp error = SAT_ERROR_RESP__INIT;

	if (c->state == CLIENT_GONE)
		return;
	figures.errors[code < ERROR_CODES ? code : 0]++;
	error.error_type = code;
	client_send(c, SAT_ERROR_RESP, &error.base);
	client_close(c, why);
}

// ---- sending

void
client_send(struct client *c, uint8_t code, const ProtobufCMessage *message)
{
	if (c->state != CLIENT_GONE)
		conn_send(c->conn, chunk_message(code, message));
}

void
client_writable(struct client *c)
{
	if (c->state != CLIENT_IN)
		return;
	delivery_grant(c);
	replicate_pump(c);
}

static void
on_tick(struct ev_loop *l, ev_timer *w, int events)
{
	struct client *c = w->data;
	SatPingReq ping = SAT_PING_REQ__INIT;

	(void)events;
	if (conn_untaken_for(c->conn) > (double)conn_limits.stall_time) {
		figures.stalled++;
		client_close(c, "does not read what it is sent");
		return;
	}
	if (ev_now(l) - c->heard < PING_EVERY)
		return;
	if (c->state != CLIENT_IN)
		return;
	if (c->pinged) {
		figures.silent++;
		client_close(c, "does not answer pings");
	} else if (!c->answering && c->delivery == NULL) {
		/* During a request a client would take the ping for the answer; inside initial rows it is out
		 * of place. */
		client_send(c, SAT_PING_REQ, &ping.base);
		c->pinged = true;
	}
}

// ---- authentication

static void
send_start_request(struct client *c)
{
	SatInStartReplicationReq request = SAT_IN_START_REPLICATION_REQ__INIT;
	SatInStartReplicationReq__Option sync = SAT_IN_START_REPLICATION_REQ__OPTION__SYNC_MODE;

	request.options = &sync;
	request.n_options = 1;
	request.sync_batch_size = 1;
	request.lsn = c->own_lsn;
	client_send(c, SAT_START_REQ, &request.base);
}

static void
on_attached(void *data, const Frame *f)
{
	struct client *c = data;
	const ClientAttached *a = f->client_attached;
	SatAuthResp response = SAT_AUTH_RESP__INIT;

	if (a->result != CLIENT_ATTACHED__RESULT__OK)
		c->attached = 0;
	if (a->result == CLIENT_ATTACHED__RESULT__BUSY && ++c->attach_tries < ATTACH_TRIES) {
		ev_timer_set(&c->attach_again, ATTACH_AGAIN, 0.);
		ev_timer_start(loop(), &c->attach_again);
		return;
	}
	if (a->result != CLIENT_ATTACHED__RESULT__OK) {
		client_fail(c, SAT_ERROR_RESP__ERROR_CODE__INVALID_REQUEST,
		    a->result == CLIENT_ATTACHED__RESULT__BUSY
			? "its client id is in use on another connection"
			: "its client id belongs to another user");
		return;
	}
	c->own_lsn = (ProtobufCBinaryData){ a->lsn.len, (uint8_t *)xmemdup0(a->lsn.data, a->lsn.len) };
	c->saved = arena_alloc(&c->memory, a->n_subscriptions * sizeof *c->saved);
	for (size_t i = 0; i < a->n_subscriptions; i++) {
		size_t n = subscription__get_packed_size(a->subscriptions[i]);
		uint8_t *packed = arena_alloc(&c->memory, n);

		subscription__pack(a->subscriptions[i], packed);
		c->saved[c->n_saved++] = subscription__unpack(arena_pb(&c->memory), n, packed);
	}
	c->log_first = a->first;
	c->log_position = a->position;
	c->state = CLIENT_IN;
	histogram_observe(&figures.auth, ev_now(loop()) - c->since);
	c->since = ev_now(loop());
	figures.logins++;
	conn_known(c->conn);
	log_info("client-came", "%s user_id=%s", client_name(c), log_quote(c->user_id));
	response.id = gateway_instance_id();
	client_send(c, SAT_AUTH_RESP, &response.base);
	send_start_request(c);
	client_answered(c);
}

static void
attach(struct client *c)
{
	AttachClient request = ATTACH_CLIENT__INIT;

	request.id = c->attached = ask_id();
	request.client_id = c->id;
	request.user_id = c->user_id;
	ask(upstream_log(), &c->asks, request.id, FRAME__BODY_ATTACH_CLIENT, &request.base, on_attached, c);
}

static void
on_attach_again(struct ev_loop *l, ev_timer *w, int events)
{
	(void)l;
	(void)events;
	attach(w->data);
}

void
client_late(struct client *c)
{
	client_fail(c, SAT_ERROR_RESP__ERROR_CODE__AUTH_REQUIRED, "did not authenticate in time");
}

static void
on_expiry(struct ev_loop *l, ev_periodic *w, int events)
{
	(void)l;
	(void)events;
	client_fail(w->data, SAT_ERROR_RESP__ERROR_CODE__AUTH_REQUIRED, "its token has expired");
}

/* What the answer of auth-check is checked against, once it is there: the order of checks is the protocol's.
 */
struct credentials {
	struct client *client;
	enum version_check version;
	bool has_headers;
};

static void
on_verified(void *data, const Frame *f)
{
	struct credentials *k = data;
	struct client *c = k->client;
	const TokenVerified *t = f->token_verified;
	enum version_check version = k->version;
	bool has_headers = k->has_headers;
	char why[256];

	if (t->error[0] != '\0') {
		figures.refused_tokens++;
		snprintf(why, sizeof why, "token refused: %s", t->error);
		client_fail(c, SAT_ERROR_RESP__ERROR_CODE__AUTH_REQUIRED, why);
	} else if (!has_headers) {
		client_fail(c, SAT_ERROR_RESP__ERROR_CODE__INVALID_REQUEST, "no headers in SatAuthReq");
	} else if (version != VERSION_FITS) {
		client_fail(c, SAT_ERROR_RESP__ERROR_CODE__PROTO_VSN_MISMATCH, "protocol version");
	} else {
		c->user_id = xstrdup(t->user_id);
		if (t->expires != 0) {
			ev_periodic_set(&c->expiry, (double)t->expires, 0., NULL);
			ev_periodic_start(loop(), &c->expiry);
		}
		attach(c);
	}
}

static void
authenticate(struct client *c, const SatAuthReq *request)
{
	VerifyToken verify = VERIFY_TOKEN__INIT;
	struct credentials *k;
	const char *version = "";

	if (request->id[0] == '\0' || request->token[0] == '\0') {
		client_fail(c, SAT_ERROR_RESP__ERROR_CODE__INVALID_REQUEST, "no client id or no token");
		return;
	}
	if (!value_is_text((const uint8_t *)request->id, strlen(request->id))) {
		client_fail(
		    c, SAT_ERROR_RESP__ERROR_CODE__INVALID_REQUEST, "a client id that is not UTF-8 text");
		return;
	}
	if (strchr(request->id, '@') != NULL) {
		/* It is the origin in tags, which are split there. */
		client_fail(c, SAT_ERROR_RESP__ERROR_CODE__INVALID_REQUEST, "'@' in the client id");
		return;
	}
	for (size_t i = 0; i < request->n_headers; i++)
		if (request->headers[i]->key == SAT_AUTH_HEADER__PROTO_VERSION)
			version = request->headers[i]->value;
	c->state = CLIENT_VERIFYING;
	c->answering = true;
	c->since = ev_now(loop());
	c->id = xstrdup(request->id);
	k = arena_alloc(&c->memory, sizeof *k);
	*k = (struct credentials){ c, version_check(version), request->n_headers > 0 };
	verify.id = ask_id();
	verify.token = request->token;
	ask(upstream_auth(), &c->asks, verify.id, FRAME__BODY_VERIFY_TOKEN, &verify.base, on_verified, k);
}

// ---- messages

static void
on_ping(struct client *c)
{
	SatPingResp response = SAT_PING_RESP__INIT;

	/* Present but empty: what the reference answers. */
	response.presence_case = SAT_PING_RESP__PRESENCE_LSN;
	client_send(c, SAT_PING_RESP, &response.base);
}

static void
on_start_answer(struct client *c)
{
	if (c->accepting)
		client_fail(
		    c, SAT_ERROR_RESP__ERROR_CODE__INTERNAL, "answers a start request that was not made");
	c->accepting = true;
}

static void
dispatch(struct client *c, unsigned code, const ProtobufCMessage *m)
{
	if (c->state == CLIENT_NEW && code != SAT_AUTH_REQ) {
		client_fail(c, SAT_ERROR_RESP__ERROR_CODE__AUTH_REQUIRED, "not authenticated");
		return;
	}
	switch (code) {
	case SAT_AUTH_REQ:
		if (c->state == CLIENT_NEW) {
			authenticate(c, (const SatAuthReq *)m);
			return;
		}
		break;
	case SAT_PING_REQ:
		on_ping(c);
		return;
	case SAT_PING_RESP:
		return;
	case SAT_ERROR_RESP:
		client_close(c, "it reported an error");
		return;
	case SAT_START_REQ:
		replicate_start(c, (const SatInStartReplicationReq *)m);
		return;
	case SAT_START_RESP:
		on_start_answer(c);
		return;
	case SAT_STOP_REQ:
		if (c->streaming) {
			replicate_stop(c);
			return;
		}
		break;
	case SAT_STOP_RESP:
		return;
	case SAT_RELATION:
		accept_relation(c, (const SatRelation *)m);
		return;
	case SAT_OP_LOG:
		accept_oplog(c, (const SatOpLog *)m);
		return;
	case SAT_SUBS_REQ:
		subscribe_request(c, (const SatSubsReq *)m);
		return;
	case SAT_UNSUBS_REQ:
		subscribe_cancel(c, (const SatUnsubsReq *)m);
		return;
	}
	client_fail(c, SAT_ERROR_RESP__ERROR_CODE__INVALID_REQUEST, "a message that has no place here");
}

static void
handle(struct client *c, const uint8_t *data, size_t len)
{
	const ProtobufCMessageDescriptor *type = len > 0 ? sat_descriptor(data[0]) : NULL;
	struct arena a = { 0 };
	ProtobufCMessage *m =
	    type != NULL ? protobuf_c_message_unpack(type, arena_pb(&a), len - 1, data + 1) : NULL;

	if (m == NULL)
		client_fail(
		    c, SAT_ERROR_RESP__ERROR_CODE__INTERNAL, "a frame that is no message of the protocol");
	else
		dispatch(c, data[0], m);
	arena_clear(&a);
}

void
client_message(struct client *c, const uint8_t *data, size_t len)
{
	struct waiting_message *m;

	if (c->state == CLIENT_GONE)
		return;
	figures.messages++;
	c->heard = ev_now(loop());
	c->pinged = false;
	if (!c->answering && c->inbox == NULL) {
		handle(c, data, len);
		return;
	}
	m = xmalloc(sizeof *m + len);
	m->next = NULL;
	m->len = len;
	memcpy(m->data, data, len);
	*c->inbox_end = m;
	c->inbox_end = &m->next;
	client_reading(c);
}

void
client_text(struct client *c)
{
	client_fail(c, SAT_ERROR_RESP__ERROR_CODE__INTERNAL, "a text frame; the protocol is binary");
}

static void
take_next(struct client *c)
{
	while (c->inbox != NULL && !c->answering && c->state != CLIENT_GONE) {
		struct waiting_message *m = c->inbox;

		c->inbox = m->next;
		if (c->inbox == NULL)
			c->inbox_end = &c->inbox;
		handle(c, m->data, m->len);
		free(m);
	}
	client_reading(c);
}

void
client_reading(struct client *c)
{
	if (c->state == CLIENT_GONE)
		return;
	if (c->inbox != NULL || c->write_bytes > WRITES_PAUSE)
		conn_pause(c->conn);
	else
		conn_resume(c->conn);
}

void
client_answered(struct client *c)
{
	c->answering = false;
	take_next(c);
}

// ---- all of them

struct client *
client_new(struct conn *conn)
{
	struct client *c = xcalloc(1, sizeof *c);

	c->conn = conn;
	c->inbox_end = &c->inbox;
	c->writes_end = &c->writes;
	c->heard = ev_now(loop());
	ev_timer_init(&c->tick, on_tick, PING_EVERY, PING_EVERY);
	ev_periodic_init(&c->expiry, on_expiry, 0., 0., NULL);
	ev_init(&c->attach_again, on_attach_again);
	c->tick.data = c->expiry.data = c->attach_again.data = c;
	ev_timer_start(loop(), &c->tick);
	c->next = all;
	if (all != NULL)
		all->prev = c;
	all = c;
	return c;
}

void
clients_pump(void)
{
	for (struct client *c = all; c != NULL; c = c->next)
		if (c->state == CLIENT_IN)
			replicate_pump(c);
}

static void
on_attached_again(void *data, const Frame *f)
{
	struct client *c = data;

	if (f->client_attached->result == CLIENT_ATTACHED__RESULT__OK)
		return;
	c->attached = 0;
	client_close(c, "its client id was taken by another connection");
}

void
clients_attach_again(void)
{
	for (struct client *c = all; c != NULL; c = c->next) {
		AttachClient request = ATTACH_CLIENT__INIT;

		if (c->state != CLIENT_IN)
			continue;
		request.id = c->attached = ask_id();
		request.client_id = c->id;
		request.user_id = c->user_id;
		ask(upstream_log(), &c->asks, request.id, FRAME__BODY_ATTACH_CLIENT, &request.base,
		    on_attached_again, c);
	}
}

void
clients_close_all(const char *why)
{
	for (struct client *c = all; c != NULL; c = c->next)
		client_close(c, why);
}

struct client *
clients_first(void)
{
	return all;
}
