/* Sending a client the log. */
#include "replicate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "accept.h"
#include "delivery.h"
#include "figures.h"
#include "gateway.h"
#include "initial.h"
#include "log.h"
#include "position.h"
#include "schema.h"
#include "subscribe.h"
#include "upstream.h"
#include "xalloc.h"

/*
 * Seconds between a client's own transaction and another's that follows. The client tidies up its log before
 * it applies its own, and applies one that comes meanwhile first: of two transactions on one row the older
 * would stay.
 */
#define ECHO_GAP 0.02

void
replicate_announce(struct client *c, const struct table_version *table)
{
	size_t i;

	for (i = 0; i < c->n_announced; i++)
		if (c->announced[i]->def->relation == table->def->relation)
			break;
	if ((i < c->n_announced && c->announced[i] == table) || table->def->n_columns == 0)
		return;
	if (i == c->n_announced)
		c->announced = xrealloc(c->announced, ++c->n_announced * sizeof *c->announced);
	c->announced[i] = table;
	conn_send(c->conn, chunk_ref(table->relation));
}

struct audience *
replicate_audience(const struct client *c, const uint32_t *relations, size_t n)
{
	bool owned = false;

	for (size_t i = 0; i < n; i++) {
		const struct table_version *t = schema_table(relations[i]);

		owned |= t != NULL && t->owned;
	}
	return audience_get(owned ? c->user_id : NULL, relations, n);
}

// ---- start and stop

static void
refuse_start(struct client *c, SatInStartReplicationResp__ReplicationError__Code code, const char *message)
{
	SatInStartReplicationResp response = SAT_IN_START_REPLICATION_RESP__INIT;
	SatInStartReplicationResp__ReplicationError error =
	    SAT_IN_START_REPLICATION_RESP__REPLICATION_ERROR__INIT;

	error.code = code;
	error.message = (char *)(uintptr_t)message;
	response.err = &error;
	client_send(c, SAT_START_RESP, &response.base);
	client_close(c, message);
}

/* One migration of the history, as a transaction at the position where the stream will start. */
static void
send_migration(struct client *c, const Migration *m, uint64_t position)
{
	Change change = CHANGE__INIT, *changes[] = { &change };
	Transaction t = TRANSACTION__INIT;
	struct record record = { .transaction = &t };
	char origin[32];

	if (m->n_ops == 0)
		return;
	for (size_t i = 0; i < m->n_tables; i++)
		replicate_announce(c, schema_table(m->tables[i]->relation));
	change.kind = CHANGE_KIND__MIGRATE;
	change.migration = (Migration *)(uintptr_t)m;
	snprintf(origin, sizeof origin, SAT_POSTGRES_ORIGIN, 1u);
	t.position = position;
	t.timestamp = m->timestamp;
	t.origin = origin;
	t.is_migration = true;
	t.changes = changes;
	t.n_changes = 1;
	conn_send(
	    c->conn, audience_encode(&record, c->audience, ENCODE_BEGIN | ENCODE_COMMIT | ENCODE_FORCE));
	audience_forget(&record);
}

static void
start_stream(struct client *c, struct cursor from)
{
	SatInStartReplicationResp response = SAT_IN_START_REPLICATION_RESP__INIT;

	client_send(c, SAT_START_RESP, &response.base);
	c->cursor = from;
	c->streaming = true;
	c->n_announced = 0; /* the client forgets relations at every start */
	c->in_transaction = false;
	if (c->audience == NULL)
		c->audience = replicate_audience(c, NULL, 0);
}

static void
start_afresh(struct client *c, long after_version)
{
	size_t n;
	const struct migration *migrations = schema_migrations(&n);
	uint64_t position = stream_end();

	start_stream(c, (struct cursor){ position, WHOLE });
	for (size_t i = (size_t)(after_version + 1); i < n; i++)
		send_migration(c, migrations[i].def, position);
}

static void
resume(struct client *c, const SatInStartReplicationReq *request, uint64_t position)
{
	char message[200];
	const char *unknown = subscribe_resume(c, request->subscription_ids, request->n_subscription_ids,
	    position, initial_is_known(&request->lsn));

	if (unknown != NULL) {
		snprintf(message, sizeof message, "Unknown subscription: %.*s%s",
		    strlen(unknown) > 128 ? 126 : 128, unknown, strlen(unknown) > 128 ? "..." : "");
		refuse_start(c,
		    SAT_IN_START_REPLICATION_RESP__REPLICATION_ERROR__CODE__SUBSCRIPTION_NOT_FOUND, message);
		return;
	}
	start_stream(c, (struct cursor){ position, WHOLE });
}

/* Log-store has told the gateway, or the client when it came: the later news counts. */
static bool
is_kept(const struct client *c, uint64_t position)
{
	return position + 1 >= stream_first() && position + 1 >= c->log_first &&
	       (position <= stream_end() || position <= c->log_position);
}

void
replicate_start(struct client *c, const SatInStartReplicationReq *request)
{
	bool has_version = request->presence_case == SAT_IN_START_REPLICATION_REQ__PRESENCE_SCHEMA_VERSION;
	long version = has_version ? schema_version_index(request->schema_version) : -1;
	uint64_t life = 0, position = 0;
	char message[300];

	if (has_version && version < 0) {
		snprintf(
		    message, sizeof message, "Unknown schema version: \"%.200s\"", request->schema_version);
		refuse_start(
		    c, SAT_IN_START_REPLICATION_RESP__REPLICATION_ERROR__CODE__UNKNOWN_SCHEMA_VSN, message);
	} else if (request->lsn.len == 0 && request->n_subscription_ids > 0) {
		refuse_start(c, SAT_IN_START_REPLICATION_RESP__REPLICATION_ERROR__CODE__INVALID_POSITION,
		    "Cannot resume subscriptions for a first-time client");
	} else if (request->lsn.len == 0) {
		start_afresh(c, version);
	} else if (!position_parse(request->lsn.data, request->lsn.len, &life, &position)) {
		refuse_start(c, SAT_IN_START_REPLICATION_RESP__REPLICATION_ERROR__CODE__MALFORMED_LSN,
		    "Could not validate start replication request");
	} else if (life != stream_life() || !is_kept(c, position)) {
		ForgetSubscriptions forget = FORGET_SUBSCRIPTIONS__INIT;

		forget.client_id = c->id;
		peer_send(upstream_log(), FRAME__BODY_FORGET_SUBSCRIPTIONS, &forget);
		refuse_start(c, SAT_IN_START_REPLICATION_RESP__REPLICATION_ERROR__CODE__BEHIND_WINDOW,
		    "Cannot catch up to the server's current state");
	} else {
		resume(c, request, position);
	}
	if (c->streaming) {
		delivery_next(c);
		accept_moved(c);
		replicate_pump(c);
	}
}

void
replicate_stop(struct client *c)
{
	SatInStopReplicationResp response = SAT_IN_STOP_REPLICATION_RESP__INIT;

	c->streaming = false;
	client_send(c, SAT_STOP_RESP, &response.base);
}

// ---- the stream

/* Relations that the record's visible changes use, before the frame that uses them. */
static void
announce_for(struct client *c, const struct audience *audience, const Transaction *t)
{
	for (size_t i = 0; i < t->n_changes; i++) {
		const Change *change = t->changes[i];

		if (change->kind == CHANGE_KIND__MIGRATE) {
			for (size_t k = 0; k < change->migration->n_tables; k++)
				replicate_announce(
				    c, schema_table_at(change->migration->tables[k]->relation, t->position));
		} else if (audience_view(audience, t, change) != VIEW_NONE) {
			const struct table_version *v =
			    schema_table_at(change->relation, t->position - t->early);

			if (v != NULL)
				replicate_announce(c, v);
		}
	}
}

static void
on_after_echo(struct ev_loop *l, ev_timer *w, int events)
{
	struct client *c = w->data;

	(void)l;
	(void)events;
	c->echoed = false;
	replicate_pump(c);
}

/* A client's own timestamps say nothing of when Postgres committed; what was there before the client came is
 * no news that is late. */
static void
note_sent(const struct client *c, const Transaction *t)
{
	double committed = (double)t->timestamp / 1000;

	figures.transactions++;
	if (t->client_lsn.len == 0 && t->only_client[0] == '\0' && committed >= c->since)
		histogram_observe(&figures.commit_to_sent, ev_now(loop()) - committed);
}

/* What waits for a client is no longer than its buffer, but for one long message. */
static bool
has_room(const struct client *c, size_t n)
{
	size_t waiting = conn_pending(c->conn);

	return waiting == 0 || waiting + n <= gateway_client_buffer();
}

/* The client is to be left alone with its echo for a moment, or has no room. */
static bool
must_wait(struct client *c, const struct chunk *chunk, bool own)
{
	if (!own && c->echoed) {
		ev_timer_init(&c->after_echo, on_after_echo, ECHO_GAP, 0.);
		c->after_echo.data = c;
		ev_timer_start(loop(), &c->after_echo);
		return true;
	}
	c->kept_back = has_room(c, chunk->len) ? 0 : chunk->len;
	return c->kept_back > 0;
}

/* False: not now. */
static bool
send_record(struct client *c, struct record *record)
{
	const Transaction *t = record->transaction;
	bool own = strcmp(t->origin, c->id) == 0;
	bool mine = t->only_client[0] == '\0' || strcmp(t->only_client, c->id) == 0;
	/* A begin that nothing may follow is sent for the author's sake only; a commit closes what was begun.
	 */
	bool force = (own && t->part == 0) || (t->last && c->in_transaction);
	unsigned flags = (c->in_transaction ? 0 : ENCODE_BEGIN) | (t->last ? ENCODE_COMMIT : 0) |
			 (force ? ENCODE_FORCE : 0) | (own ? ENCODE_ECHO : 0);
	struct audience *reduced = subscribe_audience(c, t),
			*audience = reduced != NULL ? reduced : c->audience;
	struct chunk *chunk = mine ? audience_encode(record, audience, flags) : NULL;

	if (chunk != NULL && must_wait(c, chunk, own)) {
		chunk_unref(chunk);
		audience_unref(reduced);
		return false;
	}
	if (chunk != NULL) {
		announce_for(c, audience, t);
		conn_send(c->conn, chunk);
		c->in_transaction = !t->last;
		if (t->last)
			note_sent(c, t);
	}
	audience_unref(reduced);
	c->cursor = cursor_after(record);
	if (own && t->last) {
		c->echoed = true;
		accept_echoed(c, &t->client_lsn);
	}
	return true;
}

void
replicate_pump(struct client *c)
{
	struct record *record;

	if (ev_is_active(&c->after_echo))
		return;
	while (c->state == CLIENT_IN && c->streaming && !c->held && has_room(c, c->kept_back)) {
		if (!c->in_transaction && delivery_at(c))
			return;
		switch (stream_next(&c->cursor, &record)) {
		case STREAM_RECORD:
			if (!send_record(c, record))
				return;
			break;
		case STREAM_GONE:
			client_fail(c, SAT_ERROR_RESP__ERROR_CODE__REPLICATION_FAILED,
			    "it fell behind what the log still holds");
			return;
		case STREAM_END:
		case STREAM_WAIT:
			accept_moved(c);
			return;
		}
	}
}

void
replicate_echo_empty(struct client *c, uint64_t timestamp)
{
	Transaction t = TRANSACTION__INIT;
	struct record record = { .transaction = &t };

	t.position = c->cursor.position;
	t.timestamp = timestamp;
	t.origin = c->id;
	conn_send(
	    c->conn, audience_encode(&record, c->audience, ENCODE_BEGIN | ENCODE_COMMIT | ENCODE_FORCE));
	audience_forget(&record);
}
