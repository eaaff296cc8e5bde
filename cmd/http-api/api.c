/* The paths that are served, and what each answers. */
#include <jansson.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "bundle.h"
#include "http.h"
#include "log.h"
#include "satellite.h"
#include "scrape.h"
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
	if (!upstream_log_is_there()) {
		http_answer_text(r, MHD_HTTP_SERVICE_UNAVAILABLE, "log-store is not there");
		return;
	}
	for (unsigned i = 1; i <= upstream_databases(); i++) {
		if (upstream_streaming(i)) {
			http_answer_text(r, MHD_HTTP_OK, "ok");
			return;
		}
	}
	http_answer_text(r, MHD_HTTP_SERVICE_UNAVAILABLE, "no Postgres is streaming");
}

static void
get_metrics(struct request *r)
{
	struct buf b = { 0 };

	scrape_put(&b);
	http_answer(r, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", &b);
	buf_clear(&b);
}

static struct route {
	const char *path;
	void (*get)(struct request *r);
	uint64_t requests;
} routes[] = {
	{ "/api/status", get_status, 0 },
	{ "/api/migrations", get_migrations, 0 },
	{ "/healthz", get_health, 0 },
	{ "/readyz", get_readiness, 0 },
	{ "/metrics", get_metrics, 0 },
};

#define EACH_ROUTE(r) for (struct route *r = routes; r < routes + sizeof routes / sizeof *routes; r++)

void
api_metrics(struct metrics *m)
{
	metrics_gauge(m, "leyden_up", "The HTTP API serves.", 1);
	metrics_family(m, "gauge", "leyden_build_info", "The version.");
	metrics_sample(m, 1, "version=\"" LEYDEN_VERSION "\"");
	metrics_family(m, "counter", "leyden_http_requests_total", "Requests of the HTTP API, by path.");
	EACH_ROUTE(r)
	metrics_sample(m, (double)r->requests, "path=\"%s\"", r->path);
}

void
api_get(struct request *request, const char *path)
{
	EACH_ROUTE(r)
	{
		if (strcmp(r->path, path) == 0) {
			r->requests++;
			r->get(request);
			return;
		}
	}
	http_answer_text(request, MHD_HTTP_NOT_FOUND, "Not found");
}
