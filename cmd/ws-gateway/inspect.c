/* What an operator may ask of a gateway. */
#include "inspect.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "accept.h"
#include "client.h"
#include "figures.h"
#include "measure.h"
#include "schema.h"
#include "stream.h"
#include "subscribe.h"
#include "xalloc.h"

// ---- clients

static const char *
state_of(const struct client *c)
{
	if (!c->streaming)
		return "idle";
	return c->delivery != NULL ? "delivering" : "streaming";
}

static void
describe(ClientTold *told, const struct client *c)
{
	client_told__init(told);
	told->client_id = c->id;
	told->user_id = c->user_id;
	told->address = (char *)(uintptr_t)conn_address(c->conn);
	told->since = (uint64_t)(c->since * 1000);
	told->state = (char *)(uintptr_t)state_of(c);
	if (c->streaming) {
		told->position = c->cursor.position;
		told->lag_bytes = measure_after(c->cursor.position);
	}
	told->queued_bytes = conn_pending(c->conn);
	told->stalled = conn_untaken_for(c->conn);
	told->subscriptions = (uint32_t)subscribe_count(c);
	told->pending_writes = (uint32_t)accept_pending(c);
}

static void
ask_clients(struct peer *peer, const Frame *f)
{
	size_t n = figures_totals().clients;
	ClientsTold answer = CLIENTS_TOLD__INIT;
	struct arena a = { 0 };
	ClientTold *all = arena_alloc(&a, n * sizeof *all);

	(void)f;
	answer.clients = arena_alloc(&a, n * sizeof *answer.clients);
	for (const struct client *c = clients_first(); c != NULL; c = c->next) {
		if (c->state != CLIENT_IN)
			continue;
		describe(&all[answer.n_clients], c);
		answer.clients[answer.n_clients] = &all[answer.n_clients];
		answer.n_clients++;
	}
	peer_send(peer, FRAME__BODY_CLIENTS_TOLD, &answer);
	arena_clear(&a);
}

static void
disconnect_client(struct peer *peer, const Frame *f)
{
	ClientDisconnected answer = CLIENT_DISCONNECTED__INIT;
	struct client *c = clients_first();

	while (c != NULL && (c->state != CLIENT_IN || strcmp(c->id, f->disconnect_client->client_id) != 0))
		c = c->next;
	answer.found = c != NULL;
	if (c != NULL)
		client_close(c, "an operator disconnects it");
	figures.disconnected += answer.found;
	peer_send(peer, FRAME__BODY_CLIENT_DISCONNECTED, &answer);
}

const struct handler inspect_handlers[] = {
	{ FRAME__BODY_ASK_CLIENTS, NULL, ask_clients },
	{ FRAME__BODY_DISCONNECT_CLIENT, NULL, disconnect_client },
	{ 0 },
};

// ---- all of them together

/* To how many clients the stream carries each table. */
static json_t *
clients_by_table(void)
{
	struct {
		uint32_t relation;
		json_int_t clients;
	} *tables = NULL;
	size_t n = 0;
	json_t *object = json_object();

	for (const struct client *c = clients_first(); c != NULL; c = c->next) {
		for (size_t i = 0; c->audience != NULL && i < c->audience->n; i++) {
			size_t k = 0;

			while (k < n && tables[k].relation != c->audience->relations[i])
				k++;
			if (k == n) {
				tables = xrealloc(tables, ++n * sizeof *tables);
				tables[k].relation = c->audience->relations[i];
				tables[k].clients = 0;
			}
			tables[k].clients++;
		}
	}
	for (size_t k = 0; k < n; k++) {
		const struct table_version *t = schema_table(tables[k].relation);

		if (t != NULL)
			json_object_set_new(object, t->def->name, json_integer(tables[k].clients));
	}
	free(tables);
	return object;
}

char *
inspect_status(void)
{
	size_t migrations;
	struct totals t = figures_totals();
	json_t *tables = clients_by_table();
	char *text = json_dumps(tables, JSON_COMPACT), *members;

	schema_migrations(&migrations);
	members = xasprintf("\"connections\":%zu,\"unauthenticated\":%zu,\"clients\":%zu,\"stalled\":%zu,"
			    "\"delivering\":%zu,\"longest_lag_transactions\":%" PRIu64
			    ",\"queued_bytes\":%" PRIu64
			    ",\"pending_writes\":%zu,\"subscriptions\":%zu,\"clients_by_table\":%s,"
			    "\"life\":%" PRIu64 ",\"position\":%" PRIu64 ",\"migrations\":%zu",
	    conn_count(), conn_strangers(), t.clients, t.stalled, t.delivering, t.longest_lag, t.queued_bytes,
	    t.pending_writes, t.subscriptions, text, stream_life(), stream_end(), migrations);
	free(text);
	json_decref(tables);
	return members;
}
