/*
 * leyden --status. Asking is done here, in the process of the one who wants to know: a tool that hangs delays
 * nobody but by the time that is waited for all of them together.
 */
#include "report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exits.h"
#include "inquiry.h"
#include "service.h"
#include "status.h"
#include "xalloc.h"

json_int_t
report_number(const json_t *object, const char *name)
{
	return json_integer_value(json_object_get(object, name));
}

static void
add(json_t *object, const char *name, json_int_t more)
{
	json_object_set_new(object, name, json_integer(report_number(object, name) + more));
}

/* Each tool's own status becomes the member "status" of its row. True: all are ready. */
static bool
ask_tools(json_t *tools)
{
	size_t n = json_array_size(tools);
	struct inquiry *all = xcalloc(n, sizeof *all);
	AskStatus ask = ASK_STATUS__INIT;
	struct arena answers = { 0 };
	bool ready = true;

	for (size_t i = 0; i < n; i++)
		all[i] = (struct inquiry){ .socket_name = json_string_value(
					       json_object_get(json_array_get(tools, i), "name")),
			.body_case = FRAME__BODY_ASK_STATUS,
			.message = &ask,
			.wanted = FRAME__BODY_STATUS_TOLD };
	inquire(all, n, &answers);
	for (size_t i = 0; i < n; i++) {
		json_t *tool = json_array_get(tools, i);
		const char *state = json_string_value(json_object_get(tool, "state"));

		json_object_set_new(tool, "status",
		    all[i].answer != NULL ? json_loads(all[i].answer->status_told->json, 0, NULL)
					  : json_pack("{s:s}", "error", all[i].error));
		ready = ready && all[i].answer != NULL && state != NULL && strcmp(state, "ready") == 0;
	}
	arena_clear(&answers);
	free(all);
	return ready;
}

// ---- the summary: what concerns several tools, added up

static void
sum_gateway(json_t *summary, const json_t *status)
{
	static const char *const added[] = { "clients", "stalled", "delivering", "subscriptions",
		"queued_bytes" };
	json_t *clients = json_object_get(summary, "clients"), *tables = json_object_get(clients, "by_table"),
	       *count;
	json_int_t lag = report_number(status, "longest_lag_transactions");
	const char *table;

	for (size_t i = 0; i < sizeof added / sizeof *added; i++)
		add(clients, i == 0 ? "connected" : added[i], report_number(status, added[i]));
	if (lag > report_number(clients, "longest_lag_transactions"))
		json_object_set_new(clients, "longest_lag_transactions", json_integer(lag));
	json_object_foreach(json_object_get(status, "clients_by_table"), table, count)
	{
		add(tables, table, json_integer_value(count));
	}
}

/* The row of a Postgres, which its pg-ingest and its pg-publish fill. */
static json_t *
postgres_of(json_t *summary, const char *tool)
{
	json_t *all = json_object_get(summary, "postgres"), *row, *found = NULL;
	char *name = xasprintf("postgres_%s", strrchr(tool, '-') + 1);
	size_t i;

	json_array_foreach(all, i, row)
	{
		if (strcmp(json_string_value(json_object_get(row, "name")), name) == 0)
			found = row;
	}
	if (found == NULL) {
		found = json_pack("{s:s}", "name", name);
		json_array_append_new(all, found);
	}
	free(name);
	return found;
}

static void
copy(json_t *to, const json_t *from, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (json_object_get(from, names[i]) != NULL)
			json_object_set(to, names[i], json_object_get(from, names[i]));
}

#define COPY(to, from, ...)                                                                                  \
	do {                                                                                                 \
		static const char *const names_[] = { __VA_ARGS__ };                                         \
		copy(to, from, names_, sizeof names_ / sizeof *names_);                                      \
	} while (0)

static void
sum_tool(json_t *summary, const json_t *tool)
{
	const char *name = json_string_value(json_object_get(tool, "name"));
	const json_t *status = json_object_get(tool, "status");
	json_t *writes = json_object_get(summary, "writes");

	add(summary, "restarts", report_number(tool, "restarts"));
	if (json_object_get(status, "error") != NULL) {
		if (strncmp(name, "ws-gateway", 10) == 0)
			add(json_object_get(summary, "clients"), "silent_gateways", 1);
		return;
	}
	if (strncmp(name, "ws-gateway", 10) == 0) {
		sum_gateway(summary, status);
	} else if (strcmp(name, "log-store") == 0) {
		COPY(json_object_get(summary, "log"), status, "life", "first", "last", "bytes", "file_bytes",
		    "file_limit_bytes", "transactions_per_second", "bytes_per_second", "writable", "leader");
		json_object_set_new(writes, "pending", json_integer(report_number(status, "writes_pending")));
		COPY(writes, status, "oldest_pending_seconds");
	} else if (strncmp(name, "pg-ingest", 9) == 0) {
		COPY(postgres_of(summary, name), status, "postgres", "streaming", "slot", "wal_status",
		    "wal_held_bytes", "wal_behind_bytes", "rejected_writes", "schema_version");
		json_object_set_new(postgres_of(summary, name), "electrified_tables",
		    json_integer((json_int_t)json_array_size(json_object_get(status, "electrified"))));
		add(writes, "rejected", report_number(status, "rejected_writes"));
	} else if (strncmp(name, "pg-publish", 10) == 0) {
		json_t *row = postgres_of(summary, name);

		json_object_set(row, "writable", json_object_get(status, "connected"));
		COPY(row, status, "applied", "rejected");
	}
}

static json_t *
summarize(const json_t *tools)
{
	json_t *summary = json_pack("{s:i,s:[],s:{},s:{s:i,s:i},s:{s:i,s:i,s:i,s:i,s:i,s:i,s:{}}}",
	    "restarts", 0, "postgres", "log", "writes", "pending", 0, "rejected", 0, "clients", "connected",
	    0, "stalled", 0, "delivering", 0, "subscriptions", 0, "longest_lag_transactions", 0,
	    "silent_gateways", 0, "by_table");
	json_t *tool;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)tools, i, tool)
	{
		sum_tool(summary, tool);
	}
	return summary;
}

int
report_print(bool as_json)
{
	const char *error = NULL;
	char *told = status_ask(service_name(), &error);
	json_t *root, *tools;

	if (told == NULL) {
		fprintf(stderr, "leyden: not running, or not answering (LEYDEN_RUN_DIR=%s): %s\n",
		    service_run_dir(), error);
		return EX_UNAVAILABLE;
	}
	root = json_loads(told, 0, NULL);
	free(told);
	tools = json_object_get(root, "tools");
	json_object_set_new(root, "ready", json_boolean(ask_tools(tools)));
	json_object_set_new(root, "summary", summarize(tools));
	if (as_json) {
		json_dumpf(root, stdout, JSON_COMPACT);
		putchar('\n');
	} else {
		report_text(root);
	}
	json_decref(root);
	return EX_OK;
}
