/*
 * The tools that http-api asks. Their statuses are asked for each second and as soon as they connect; who is
 * not connected counts as down at once.
 */
#include "upstream.h"

#include <jansson.h>
#include <string.h>

#include "log.h"
#include "peer.h"
#include "xalloc.h"

#define ASK_EVERY 1.0 /* seconds */

/* What the tools of a Postgres say of themselves. */
struct database {
	struct peer *ingest, *publish;
	bool streaming;
	char *version; /* of its schema; NULL: none yet */
	uint64_t tables;
	uint64_t applied, rejected;
};

static struct database *databases;
static unsigned n_databases;
static struct peer *log_store;
static uint64_t log_first, log_last, log_bytes;
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

	const char *version = json_string_value(json_object_get(status, "schema_version"));

	d->streaming = json_is_true(json_object_get(status, "streaming"));
	d->tables = json_array_size(json_object_get(status, "electrified"));
	free(d->version);
	d->version = version != NULL ? xstrdup(version) : NULL;
	json_decref(status);
}

static void
ingest_down(struct peer *p)
{
	struct database *d = p->data;

	d->streaming = false;
}

static uint64_t
number_in(const json_t *object, const char *name)
{
	return (uint64_t)json_integer_value(json_object_get(object, name));
}

static void
publish_told(struct peer *p, const Frame *f)
{
	struct database *d = p->data;
	json_t *status = json_loads(f->status_told->json, 0, NULL);

	d->applied = number_in(status, "applied");
	d->rejected = number_in(status, "rejected");
	json_decref(status);
}

static void
log_told(struct peer *p, const Frame *f)
{
	json_t *status = json_loads(f->status_told->json, 0, NULL);

	(void)p;
	log_first = number_in(status, "first");
	log_last = number_in(status, "last");
	log_bytes = number_in(status, "bytes");
	json_decref(status);
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
	ask_status(p);
	if (schema_wanted)
		ask_schema();
}

static void
on_ask(struct ev_loop *l, ev_timer *w, int events)
{
	(void)l;
	(void)w;
	(void)events;
	ask_status(log_store);
	for (unsigned i = 0; i < n_databases; i++) {
		ask_status(databases[i].ingest);
		ask_status(databases[i].publish);
	}
}

void
upstream_open(unsigned n, void (*on_schema)(const SchemaRead *schema))
{
	static const struct handler log_handlers[] = { { FRAME__BODY_STATUS_TOLD, NULL, log_told },
		{ FRAME__BODY_SCHEMA_READ, NULL, schema_read }, { 0 } };
	static const struct handler ingest_handlers[] = { { FRAME__BODY_STATUS_TOLD, NULL, ingest_told },
		{ 0 } };
	static const struct handler publish_handlers[] = { { FRAME__BODY_STATUS_TOLD, NULL, publish_told },
		{ 0 } };
	static const struct peer_hooks publish_hooks = { publish_handlers, ask_status, NULL, NULL };
	static const struct peer_hooks log_hooks = { log_handlers, log_up, NULL, NULL };
	static const struct peer_hooks ingest_hooks = { ingest_handlers, ask_status, ingest_down, NULL };
	static ev_timer ask;

	schema_came = on_schema;
	n_databases = n;
	databases = xcalloc(n, sizeof *databases);
	for (unsigned i = 0; i < n; i++) {
		databases[i].ingest =
		    peer_connect(xasprintf("pg-ingest-%u", i + 1), &ingest_hooks, &databases[i]);
		databases[i].publish =
		    peer_connect(xasprintf("pg-publish-%u", i + 1), &publish_hooks, &databases[i]);
	}
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

const char *
upstream_schema(unsigned instance, uint64_t *tables)
{
	*tables = databases[instance - 1].tables;
	return databases[instance - 1].version;
}

void
upstream_writes(unsigned instance, uint64_t *applied, uint64_t *rejected)
{
	*applied = databases[instance - 1].applied;
	*rejected = databases[instance - 1].rejected;
}

bool
upstream_log(uint64_t *first, uint64_t *last, uint64_t *bytes)
{
	*first = log_first;
	*last = log_last;
	*bytes = log_bytes;
	return log_store->is_up;
}

void
upstream_want_schema(void)
{
	if (!schema_wanted)
		ask_schema();
	schema_wanted = true;
}
