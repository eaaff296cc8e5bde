/*
 * The tools that http-api asks. Their statuses are asked for each second, oftener while a Postgres does not
 * stream, and as soon as they connect; who is not connected counts as down at once.
 */
#include "upstream.h"

#include <jansson.h>
#include <string.h>

#include "log.h"
#include "peer.h"
#include "xalloc.h"

#define ASK_EVERY 1.0 /* seconds */
#define ASK_SOON  0.1 /* while a Postgres does not stream: whoever waits for that is told soon */

/* What the pg-ingest of a Postgres says of itself. */
struct database {
	struct peer *ingest;
	bool streaming;
};

static struct database *databases;
static unsigned n_databases;
static struct peer *log_store;
static bool schema_wanted;
static void (*schema_came)(const SchemaRead *schema);

static void
ask_status(struct peer *p)
{
	AskStatus ask = ASK_STATUS__INIT;

	peer_send(p, FRAME__BODY_ASK_STATUS, &ask);
}

static void
ask_schema(void)
{
	ReadSchema ask = READ_SCHEMA__INIT;

	peer_send(log_store, FRAME__BODY_READ_SCHEMA, &ask);
}

static void
ingest_told(struct peer *p, const Frame *f)
{
	struct database *d = p->data;
	json_t *status = json_loads(f->status_told->json, 0, NULL);

	d->streaming = json_is_true(json_object_get(status, "streaming"));
	json_decref(status);
}

static void
ingest_down(struct peer *p)
{
	struct database *d = p->data;

	d->streaming = false;
}

static void
schema_read(struct peer *p, const Frame *f)
{
	(void)p;
	schema_wanted = false;
	schema_came(f->schema_read);
}

static void
log_up(struct peer *p)
{
	(void)p;
	if (schema_wanted)
		ask_schema();
}

static void
on_ask(struct ev_loop *l, ev_timer *w, int events)
{
	(void)events;
	w->repeat = ASK_EVERY;
	for (unsigned i = 0; i < n_databases; i++) {
		ask_status(databases[i].ingest);
		if (!databases[i].streaming)
			w->repeat = ASK_SOON;
	}
	ev_timer_again(l, w);
}

void
upstream_open(unsigned n, void (*on_schema)(const SchemaRead *schema))
{
	static const struct handler log_handlers[] = { { FRAME__BODY_SCHEMA_READ, NULL, schema_read },
		{ 0 } };
	static const struct handler ingest_handlers[] = { { FRAME__BODY_STATUS_TOLD, NULL, ingest_told },
		{ 0 } };
	static const struct peer_hooks log_hooks = { log_handlers, log_up, NULL, NULL };
	static const struct peer_hooks ingest_hooks = { ingest_handlers, ask_status, ingest_down, NULL };
	static ev_timer ask;

	schema_came = on_schema;
	n_databases = n;
	databases = xcalloc(n, sizeof *databases);
	for (unsigned i = 0; i < n; i++)
		databases[i].ingest =
		    peer_connect(xasprintf("pg-ingest-%u", i + 1), &ingest_hooks, &databases[i]);
	log_store = peer_connect("log-store", &log_hooks, NULL);
	ev_timer_init(&ask, on_ask, ASK_EVERY, ASK_EVERY);
	ev_timer_start(loop(), &ask);
}

unsigned
upstream_databases(void)
{
	return n_databases;
}

bool
upstream_streaming(unsigned instance)
{
	return databases[instance - 1].streaming;
}

bool
upstream_log_is_there(void)
{
	return log_store->is_up;
}

void
upstream_want_schema(void)
{
	if (!schema_wanted)
		ask_schema();
	schema_wanted = true;
}
