/* leyden --status for people: what is asked in an incident, in a dozen lines, and a table of the tools. */
#include <stdio.h>
#include <string.h>

#include "report.h"

static const char *
text(const json_t *object, const char *name)
{
	const char *value = json_string_value(json_object_get(object, name));

	return value != NULL ? value : "?";
}

/* "16.0 MiB"; good until the fourth next call. */
static const char *
size_text(double bytes)
{
	static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB" };
	static char ring[4][32];
	static unsigned next;
	char *out = ring[next++ % 4];
	size_t unit = 0;

	for (; bytes >= 1024 && unit < 4; unit++)
		bytes /= 1024;
	snprintf(out, sizeof ring[0], unit == 0 ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
	return out;
}

/* "3 h 12 min"; static. */
static const char *
time_text(json_int_t seconds)
{
	static char out[48];
	long s = (long)seconds;

	if (s < 120)
		snprintf(out, sizeof out, "%ld s", s);
	else if (s < 7200)
		snprintf(out, sizeof out, "%ld min", s / 60);
	else if (s < 172800)
		snprintf(out, sizeof out, "%ld h %ld min", s / 3600, s % 3600 / 60);
	else
		snprintf(out, sizeof out, "%ld days %ld h", s / 86400, s % 86400 / 3600);
	return out;
}

static void
print_postgres(const json_t *row)
{
	printf("%s: ", text(row, "name"));
	if (json_object_get(row, "streaming") == NULL)
		printf("pg-ingest does not answer");
	else
		printf("%s from %s",
		    json_is_true(json_object_get(row, "streaming")) ? "streams" : "does not stream",
		    text(row, "postgres"));
	if (json_is_integer(json_object_get(row, "wal_held_bytes")))
		printf(", slot %s (%s) holds %s of WAL, %s behind", text(row, "slot"),
		    text(row, "wal_status"), size_text((double)report_number(row, "wal_held_bytes")),
		    size_text((double)report_number(row, "wal_behind_bytes")));
	printf("\n  schema %s, %lld electrified tables; %s, applied %lld, refused %lld since its start\n",
	    json_is_string(json_object_get(row, "schema_version")) ? text(row, "schema_version") : "none",
	    (long long)report_number(row, "electrified_tables"),
	    json_is_true(json_object_get(row, "writable")) ? "is written to" : "cannot be written to",
	    (long long)report_number(row, "applied"), (long long)report_number(row, "rejected"));
}

static void
print_log(const json_t *log)
{
	if (json_object_size(log) == 0) {
		printf("log: log-store does not answer\n");
		return;
	}
	printf("log: of postgres_%lld, transactions %lld to %lld, %s",
	    (long long)report_number(log, "leader"), (long long)report_number(log, "first"),
	    (long long)report_number(log, "last"), size_text((double)report_number(log, "bytes")));
	printf(" (file: %s of %s)", size_text((double)report_number(log, "file_bytes")),
	    size_text((double)report_number(log, "file_limit_bytes")));
	printf(", %.1f transactions/s, %s/s%s\n",
	    json_number_value(json_object_get(log, "transactions_per_second")),
	    size_text(json_number_value(json_object_get(log, "bytes_per_second"))),
	    json_is_true(json_object_get(log, "writable")) ? "" : ", CANNOT BE WRITTEN");
}

static void
print_clients(const json_t *summary)
{
	const json_t *clients = json_object_get(summary, "clients"),
		     *writes = json_object_get(summary, "writes");
	json_t *count;
	const char *table;

	printf(
	    "clients: %lld connected, %lld stalled, %lld take initial rows, at most %lld transactions behind",
	    (long long)report_number(clients, "connected"), (long long)report_number(clients, "stalled"),
	    (long long)report_number(clients, "delivering"),
	    (long long)report_number(clients, "longest_lag_transactions"));
	if (report_number(clients, "silent_gateways") > 0)
		printf("; %lld gateways do not answer", (long long)report_number(clients, "silent_gateways"));
	printf("\ntables, with the clients that have them:");
	json_object_foreach(json_object_get(clients, "by_table"), table, count)
	{
		printf(" %s=%lld", table, (long long)json_integer_value(count));
	}
	printf("%s\n", json_object_size(json_object_get(clients, "by_table")) == 0 ? " none" : "");
	printf("writes: %lld wait for Postgres (%.1f s), %lld refused ones wait for a person (pg-publish "
	       "--rejected)\n",
	    (long long)report_number(writes, "pending"),
	    json_number_value(json_object_get(writes, "oldest_pending_seconds")),
	    (long long)report_number(writes, "rejected"));
}

static void
print_tool(const json_t *tool)
{
	const json_t *last = json_array_get(json_object_get(tool, "ends"), 0);
	const char *error = json_string_value(json_object_get(json_object_get(tool, "status"), "error"));

	printf("%-14s %-9s %7lld %8lld  %9s %7.1f s", text(tool, "name"), text(tool, "state"),
	    (long long)report_number(tool, "pid"), (long long)report_number(tool, "restarts"),
	    size_text((double)report_number(tool, "resident_bytes")),
	    json_number_value(json_object_get(tool, "cpu_seconds")));
	if (error != NULL)
		printf("  %s (%s)", error, text(tool, "process"));
	if (last != NULL)
		printf("  %s: %s, after %.0f s", text(last, "at"), text(last, "reason"),
		    json_number_value(json_object_get(last, "alive_seconds")));
	printf("\n");
}

void
report_text(const json_t *root)
{
	const json_t *summary = json_object_get(root, "summary");
	json_t *row;
	size_t i;

	printf("leyden: %s, for %s, pid %lld, websocket %s, http %s\n",
	    json_is_true(json_object_get(root, "ready")) ? "ready" : "NOT READY",
	    time_text(report_number(root, "uptime_seconds")), (long long)report_number(root, "pid"),
	    text(root, "websocket"), text(root, "http"));
	json_array_foreach(json_object_get(summary, "postgres"), i, row)
	{
		print_postgres(row);
	}
	print_log(json_object_get(summary, "log"));
	print_clients(summary);
	printf("%-14s %-9s %7s %8s  %9s %9s  %s\n", "tool", "state", "pid", "restarts", "memory", "cpu",
	    "trouble, last end");
	json_array_foreach(json_object_get(root, "tools"), i, row)
	{
		print_tool(row);
	}
}
