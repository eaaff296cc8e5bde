/* The paths that are served, and what each answers. */
#include <inttypes.h>
#include <jansson.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "bundle.h"
#include "http.h"
#include "log.h"
#include "satellite.h"
#include "upstream.h"
#include "xalloc.h"

#define SCHEMA_WAIT 2.0 /* seconds that a request waits for log-store */
#define JSON	    "application/json; charset=utf-8"

/* ---- /api/migrations */

static void
refuse_parameter(struct request *r, const char *sentence)
{
	json_t *error = json_pack("{s:s}", "error", sentence);
	char *text = json_dumps(error, JSON_COMPACT);
	struct buf body = { 0 };

	buf_puts(&body, text != NULL ? text : "{\"error\":\"unsupported dialect\"}");
	http_answer(r, MHD_HTTP_FORBIDDEN, JSON, &body);
	buf_clear(&body);
	free(text);
	json_decref(error);
}

static void
schema_is_late(struct request *r)
{
	http_answer_text(r, MHD_HTTP_SERVICE_UNAVAILABLE, "log-store does not answer");
}

static void
get_migrations(struct request *r)
{
	const char *dialect = http_parameter(r, "dialect");

	if (dialect == NULL) {
		refuse_parameter(r, "missing required parameter 'dialect'");
	} else if (strcmp(dialect, "sqlite") != 0) {
		char *sentence = xasprintf("unsupported dialect \"%s\"", dialect);

		refuse_parameter(r, sentence);
		free(sentence);
	} else {
		http_wait(r, SCHEMA_WAIT, schema_is_late);
		upstream_want_schema();
	}
}

static void
answer_migrations(struct request *r, const SchemaRead *schema)
{
	size_t skip = bundle_skip(schema->migrations, schema->n_migrations, http_parameter(r, "version"));
	size_t n = schema->n_migrations - skip;
	struct buf zip = { 0 };

	if (!schema->open) {
		http_answer_text(r, MHD_HTTP_SERVICE_UNAVAILABLE, "nothing has been read from Postgres yet");
	} else if (n == 0) {
		http_answer(r, MHD_HTTP_NO_CONTENT, NULL, &zip);
	} else if (bundle_make(schema->migrations + skip, n, &zip)) {
		http_answer(r, MHD_HTTP_OK, "application/zip", &zip);
	} else {
		log_error("migrations", "error=%s", log_quote("cannot make the archive"));
		http_answer_text(r, MHD_HTTP_INTERNAL_SERVER_ERROR, "cannot make the archive");
	}
	buf_clear(&zip);
}

void
api_schema_came(const SchemaRead *schema)
{
	struct request *next;

	for (struct request *r = http_waiting(NULL); r != NULL; r = next) {
		next = http_waiting(r);
		answer_migrations(r, schema);
	}
}

void
api_stop(void)
{
	while (http_waiting(NULL) != NULL)
		http_answer_text(http_waiting(NULL), MHD_HTTP_SERVICE_UNAVAILABLE, "stopping");
}

/* ---- the others */

char *
api_connectors(void)
{
	struct buf b = { 0 };
	char *json;

	buf_puts(&b, "\"connectors\":{");
	for (unsigned i = 1; i <= upstream_databases(); i++)
		buf_printf(&b, "%s\"" SAT_POSTGRES_ORIGIN "\":%s", i > 1 ? "," : "", i,
		    upstream_streaming(i) ? "true" : "false");
	buf_puts(&b, "}");
	json = xstrdup(buf_cstr(&b));
	buf_clear(&b);
	return json;
}

static void
get_status(struct request *r)
{
	char *members = api_connectors(), *json = xasprintf("{%s}", members);

	http_answer_text(r, MHD_HTTP_OK, json);
	free(members);
	free(json);
}

static void
get_health(struct request *r)
{
	http_answer_text(r, MHD_HTTP_OK, "ok");
}

static void
get_readiness(struct request *r)
{
	uint64_t first, last, bytes;

	if (!upstream_log(&first, &last, &bytes)) {
		http_answer_text(r, MHD_HTTP_SERVICE_UNAVAILABLE, "log-store is not there");
		return;
	}
	for (unsigned i = 1; i <= upstream_databases(); i++) {
		if (!upstream_streaming(i)) {
			char *text = xasprintf(SAT_POSTGRES_ORIGIN " is not streaming", i);

			http_answer_text(r, MHD_HTTP_SERVICE_UNAVAILABLE, text);
			free(text);
			return;
		}
	}
	http_answer_text(r, MHD_HTTP_OK, "ok");
}

static void
metric(struct buf *b, const char *name, const char *help, uint64_t value)
{
	buf_printf(b, "# HELP %s %s\n# TYPE %s gauge\n%s %" PRIu64 "\n", name, help, name, name, value);
}

static void
put_writes(struct buf *b)
{
	static const char *const names[] = { "leyden_applied_writes_total", "leyden_rejected_writes_total" };
	static const char *const helps[] = { "Client transactions that Postgres took.",
		"Client transactions that Postgres refused." };

	for (int k = 0; k < 2; k++) {
		buf_printf(b, "# HELP %s %s\n# TYPE %s counter\n", names[k], helps[k], names[k]);
		for (unsigned i = 1; i <= upstream_databases(); i++) {
			uint64_t counts[2];

			upstream_writes(i, &counts[0], &counts[1]);
			buf_printf(b, "%s{connector=\"" SAT_POSTGRES_ORIGIN "\"} %" PRIu64 "\n", names[k], i,
			    counts[k]);
		}
	}
}

/* A text in a label's quotes. */
static void
put_label(struct buf *b, const char *text)
{
	for (; *text != '\0'; text++) {
		if (*text == '"' || *text == '\\')
			buf_puts(b, "\\");
		buf_put(b, *text == '\n' ? " " : text, 1);
	}
}

static void
put_schemas(struct buf *b)
{
	uint64_t tables;

	buf_puts(b, "# HELP leyden_electrified_tables Tables that are synced.\n"
		    "# TYPE leyden_electrified_tables gauge\n");
	for (unsigned i = 1; i <= upstream_databases(); i++) {
		upstream_schema(i, &tables);
		buf_printf(b,
		    "leyden_electrified_tables{connector=\"" SAT_POSTGRES_ORIGIN "\"} %" PRIu64 "\n", i,
		    tables);
	}
	buf_puts(
	    b, "# HELP leyden_schema_info The version of the schema.\n# TYPE leyden_schema_info gauge\n");
	for (unsigned i = 1; i <= upstream_databases(); i++) {
		const char *version = upstream_schema(i, &tables);

		if (version == NULL)
			continue;
		buf_printf(b, "leyden_schema_info{connector=\"" SAT_POSTGRES_ORIGIN "\",version=\"", i);
		put_label(b, version);
		buf_puts(b, "\"} 1\n");
	}
}

static void
get_metrics(struct request *r)
{
	struct buf b = { 0 };
	uint64_t first, last, bytes;

	metric(&b, "leyden_up", "The HTTP API serves.", 1);
	buf_puts(&b, "# HELP leyden_build_info The version.\n# TYPE leyden_build_info gauge\n"
		     "leyden_build_info{version=\"" LEYDEN_VERSION "\"} 1\n");
	buf_puts(&b, "# HELP leyden_connector_ready Whether changes stream in from this Postgres.\n"
		     "# TYPE leyden_connector_ready gauge\n");
	for (unsigned i = 1; i <= upstream_databases(); i++)
		buf_printf(&b, "leyden_connector_ready{connector=\"" SAT_POSTGRES_ORIGIN "\"} %d\n", i,
		    upstream_streaming(i));
	put_schemas(&b);
	put_writes(&b);
	if (upstream_log(&first, &last, &bytes)) {
		metric(&b, "leyden_log_first_position", "The oldest transaction that the log keeps.", first);
		metric(&b, "leyden_log_last_position", "The newest transaction in the log.", last);
		metric(&b, "leyden_log_bytes", "What the log's file holds.", bytes);
	}
	http_answer(r, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", &b);
	buf_clear(&b);
}

void
api_get(struct request *r, const char *path)
{
	static const struct {
		const char *path;
		void (*get)(struct request *r);
	} routes[] = {
		{ "/api/status", get_status },
		{ "/api/migrations", get_migrations },
		{ "/healthz", get_health },
		{ "/readyz", get_readiness },
		{ "/metrics", get_metrics },
	};

	for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
		if (strcmp(routes[i].path, path) == 0) {
			routes[i].get(r);
			return;
		}
	}
	http_answer_text(r, MHD_HTTP_NOT_FOUND, "Not found");
}
