/*
 * The tools that the gateway depends on.
 *
 * Clients stay connected while log-store, auth-check or pg-snapshot restarts: requests are repeated, the
 * stream goes on from where it was, and a delivery that had not begun takes another snapshot. Only when the
 * log has begun another life must every client go: no position of theirs means anything in it.
 */
#include "upstream.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "admit.h"
#include "ask.h"
#include "client.h"
#include "conn.h"
#include "delivery.h"
#include "gateway.h"
#include "listen.h"
#include "log.h"
#include "schema.h"
#include "service.h"
#include "stream.h"
#include "xalloc.h"

static struct peer *log_peer, *auth_peer;
static struct snapshot_peer {
	char tool[24];
	struct peer *peer; /* NULL: it never led */
} snapshot_peers[DATABASES_MAX + 1];
static unsigned leader = 1;
static struct ask_owner none;
static bool listening;

struct peer *
upstream_log(void)
{
	return log_peer;
}

struct peer *
upstream_auth(void)
{
	return auth_peer;
}

// ---- pg-snapshot

static void
on_snapshot_frame(struct peer *peer, const Frame *f)
{
	(void)peer;
	delivery_snapshot_frame(f);
}

static void
on_snapshot_up(struct peer *peer)
{
	for (struct client *c = clients_first(); c != NULL; c = c->next)
		delivery_snapshot_lost(c, peer);
}

static const struct handler snapshot_handlers[] = {
	{ FRAME__BODY_SNAPSHOT_READY, NULL, on_snapshot_frame },
	{ FRAME__BODY_SNAPSHOT_BEGUN, NULL, on_snapshot_frame },
	{ FRAME__BODY_ROWS_READ, NULL, on_snapshot_frame },
	{ FRAME__BODY_SNAPSHOT_ENDED, NULL, on_snapshot_frame },
	{ FRAME__BODY_SNAPSHOT_FAILED, NULL, on_snapshot_frame },
	{ 0 },
};

static void
dial_leader(void)
{
	static const struct peer_hooks hooks = { .handlers = snapshot_handlers, .up = on_snapshot_up };
	struct snapshot_peer *s = &snapshot_peers[leader];

	if (s->peer != NULL)
		return;
	snprintf(s->tool, sizeof s->tool, "pg-snapshot-%u", leader);
	s->peer = peer_connect(s->tool, &hooks, NULL);
}

unsigned
upstream_leader(void)
{
	return leader;
}

struct peer *
upstream_snapshot(void)
{
	return snapshot_peers[leader].peer;
}

// ---- log-store

static void on_schema_read(void *data, const Frame *f);

void
upstream_read_schema(void)
{
	ReadSchema read = READ_SCHEMA__INIT;

	ask_cancel(&none);
	read.id = ask_id();
	ask(log_peer, &none, read.id, FRAME__BODY_READ_SCHEMA, &read.base, on_schema_read, NULL);
}

static void
on_ask_again_later(struct ev_loop *l, ev_timer *w, int events)
{
	(void)l;
	(void)w;
	(void)events;
	upstream_read_schema();
}

static void
take_clients(void)
{
	char *name = listen_name(gateway_port()), *details = xasprintf("websocket=%s", name);

	listening = true;
	admit_listen(gateway_port());
	service_ready(details);
	free(name);
	free(details);
}

static void
on_schema_read(void *data, const Frame *f)
{
	static ev_timer later;
	const SchemaRead *s = f->schema_read;

	(void)data;
	if (!s->open) {
		/* pg-ingest has not begun the log's first life yet. */
		ev_timer_stop(loop(), &later);
		ev_timer_init(&later, on_ask_again_later, 0.1, 0.);
		ev_timer_start(loop(), &later);
		return;
	}
	if (stream_life() != s->life) {
		if (stream_life() != 0)
			clients_close_all("the log began a new life");
		schema_clear();
		for (size_t i = 0; i < s->n_migrations; i++)
			schema_add(s->migrations[i]);
	}
	if (s->leader != leader && s->leader >= 1 && s->leader <= DATABASES_MAX) {
		leader = s->leader;
		log_info("leader", "instance=%u", leader);
		dial_leader();
		for (struct client *c = clients_first(); c != NULL; c = c->next)
			delivery_leader_moved(c);
	}
	stream_open(s->life, s->first, s->position, s->bytes);
	clients_pump();
	if (!listening)
		take_clients();
}

static void
on_log_up(struct peer *peer)
{
	ask_cancel(&none);
	ask_again(peer);
	clients_attach_again();
	upstream_read_schema();
}

static void
on_answer(struct peer *peer, const Frame *f)
{
	(void)peer;
	switch (f->body_case) {
	case FRAME__BODY_LOG_READ:
		stream_read(f->log_read);
		break;
	case FRAME__BODY_SCHEMA_READ:
		ask_answered(f->schema_read->id, f);
		break;
	case FRAME__BODY_SNAPSHOT_MET:
		ask_answered(f->snapshot_met->id, f);
		break;
	case FRAME__BODY_CLIENT_ATTACHED:
		ask_answered(f->client_attached->id, f);
		break;
	case FRAME__BODY_SUBSCRIPTION_SAVED:
		ask_answered(f->subscription_saved->id, f);
		break;
	case FRAME__BODY_WRITE_APPENDED:
		ask_answered(f->write_appended->id, f);
		break;
	case FRAME__BODY_TOKEN_VERIFIED:
		ask_answered(f->token_verified->id, f);
		break;
	default:
		break;
	}
}

static const struct handler log_handlers[] = {
	{ FRAME__BODY_LOG_READ, "log-store", on_answer },
	{ FRAME__BODY_SCHEMA_READ, "log-store", on_answer },
	{ FRAME__BODY_SNAPSHOT_MET, "log-store", on_answer },
	{ FRAME__BODY_CLIENT_ATTACHED, "log-store", on_answer },
	{ FRAME__BODY_SUBSCRIPTION_SAVED, "log-store", on_answer },
	{ FRAME__BODY_WRITE_APPENDED, "log-store", on_answer },
	{ 0 },
};

// ---- auth-check

static void
on_auth_up(struct peer *peer)
{
	ask_again(peer);
}

static const struct handler auth_handlers[] = {
	{ FRAME__BODY_TOKEN_VERIFIED, "auth-check", on_answer },
	{ 0 },
};

void
upstream_open(void)
{
	static const struct peer_hooks log_hooks = { .handlers = log_handlers, .up = on_log_up };
	static const struct peer_hooks auth_hooks = { .handlers = auth_handlers, .up = on_auth_up };

	log_peer = peer_connect("log-store", &log_hooks, NULL);
	auth_peer = peer_connect("auth-check", &auth_hooks, NULL);
	dial_leader();
}
