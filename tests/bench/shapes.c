/*
 * Initial rows on the whole service, beside COPY of the same rows by libpq in the same run, with the memory
 * that each tool grew by; many clients that subscribe at once; and what clients that do not read cost those
 * that do.
 */
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "fail.h"
#include "measure.h"
#include "pbwire.h"
#include "peer.h"
#include "sat_client.h"
#include "testbed.h"
#include "xalloc.h"

#define ROWS	1000000
#define CROWD	200
#define STALLED 1000
#define LIVE	1000
#define BEATS	100 /* rows written while they watch */
#define ROUNDS	5

static struct test_service service = { .env = { "AUTH_MODE=insecure", "WS_GATEWAY_STALL_TIME=600", NULL } };
static const char *const tools[] = { "pg-ingest", "pg-snapshot", "log-store", "ws-gateway" };
#define N_TOOLS (sizeof tools / sizeof *tools)

/* The most memory that a tool's processes ever had, in kB: the largest of them. The log's file is mapped, and
 * its pages are the kernel's: of log-store, what it has of its own now. */
static long
peak(const char *tool)
{
	const char *what = strcmp(tool, "log-store") == 0 ? "RssAnon" : "VmHWM";
	long most = 0;

	for (unsigned i = 0; test_tool_pid(&service, tool, i) != 0; i++) {
		long kb = atol(test_shell("sed -n 's/^%s:[^0-9]*//p' /proc/%d/status", what,
		    (int)test_tool_pid(&service, tool, i)));

		if (kb > most)
			most = kb;
	}
	return most;
}

static struct sat_client *
client(const char *prefix, unsigned i)
{
	char id[32];
	struct sat_client *c;

	snprintf(id, sizeof id, "%s-%u", prefix, i);
	c = sat_connect(service.port, id);
	sat_login(c, "ann");
	sat_start(c, NULL, 0);
	return c;
}

// ---- one client, many rows

static size_t n_rows;
static bool done;

static void
count_rows(struct sat_client *c, const struct sat_message *m)
{
	(void)c;
	if (m->code == SAT_SUBS_DATA_END)
		done = true;
	else if (m->code == SAT_SUBS_DATA_ERROR)
		test_fail("the delivery failed");
}

static void
count_ops(struct sat_client *c, const uint8_t *p, size_t n)
{
	struct pb_field field;

	(void)c;
	for (const uint8_t *end = p + n; pb_next(&p, end, &field);)
		n_rows++;
}

/* Seconds from the request until the last row. */
static double
take_table(struct sat_client *c, unsigned n, const char *table)
{
	double start = measure_now();
	char id[40];

	snprintf(id, sizeof id, "%08x-0000-4000-8000-000000000000", n);
	done = false;
	n_rows = 0;
	c->on_message = count_rows;
	c->on_oplog = count_ops;
	sat_ask_subscription(c, id, &table, 1);
	while (!done)
		sat_turn();
	return measure_now() - start;
}

static double
copy_rows(PGconn *conn, const char *query)
{
	char sql[300], *line;
	double start = measure_now();

	snprintf(sql, sizeof sql, "COPY (%s) TO STDOUT", query);
	PQclear(PQexec(conn, sql));
	while (PQgetCopyData(conn, &line, 0) > 0)
		PQfreemem(line);
	PQclear(PQgetResult(conn));
	return measure_now() - start;
}

/* In turns with COPY of the same: the machine may do other work. */
static void
one_client(PGconn *conn, const char *table, const char *query, const char *what)
{
	static unsigned n;
	long before[N_TOOLS];
	double copies[ROUNDS], takes[ROUNDS], copy, take;

	copy_rows(conn, query); /* both find it in memory */
	for (size_t i = 0; i < N_TOOLS; i++)
		before[i] = peak(tools[i]);
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct sat_client *c = client("one", ++n);

		copies[i] = copy_rows(conn, query);
		takes[i] = take_table(c, n, table);
		sat_free(c);
	}
	copy = measure_share(copies, ROUNDS, 0.5);
	take = measure_share(takes, ROUNDS, 0.5);
	printf("%s: %.0f rows/s to one client; COPY by libpq %.0f rows/s, ratio %.2f (goal 0.60);", what,
	    (double)n_rows / take, (double)n_rows / copy, copy / take);
	for (size_t i = 0; i < N_TOOLS; i++)
		printf(" %s +%ld MiB", tools[i], (peak(tools[i]) - before[i]) / 1024);
	printf(" (goal 64)\n");
}

/* A client's first rows come once the stream has passed all that was written before. */
static void
await_stream(void)
{
	struct sat_client *c = client("first", 0);

	take_table(c, 0, "small");
	sat_free(c);
}

// ---- many clients at once

static unsigned left;
static double started, *times;

static void
note_end(struct sat_client *c, const struct sat_message *m)
{
	if (m->code == SAT_SUBS_DATA_ERROR)
		test_fail("client %s: the delivery failed", c->id);
	if (m->code == SAT_SUBS_DATA_END)
		times[--left] = measure_now() - started;
}

static double
crowd(unsigned n, unsigned subscription)
{
	static const char *const small[] = { "small" };
	struct sat_client **all = xcalloc(n, sizeof(struct sat_client *));
	char id[40];
	double most;

	for (unsigned i = 0; i < n; i++) {
		all[i] = client(n > 1 ? "crowd" : "alone", i);
		all[i]->on_message = note_end;
	}
	snprintf(id, sizeof id, "%08x-0000-4000-8000-000000000000", subscription);
	times = xcalloc(n, sizeof *times);
	left = n;
	started = measure_now();
	for (unsigned i = 0; i < n; i++)
		sat_ask_subscription(all[i], id, small, 1);
	while (left > 0)
		sat_turn();
	most = measure_share(times, n, 1.);
	printf("%u client%s, 500 rows each, at once: p50 %.1f ms, max %.1f ms\n", n, n > 1 ? "s" : "",
	    measure_share(times, n, 0.5) * 1e3, most * 1e3);
	for (unsigned i = 0; i < n; i++)
		sat_free(all[i]);
	free(all);
	free(times);
	return most;
}

// ---- clients that do not read

static double *delays;
static size_t n_delays;
static double written;

static void
note_delay(struct sat_client *c, const struct sat_message *m)
{
	(void)c;
	if (m->code == SAT_OP_LOG)
		delays[n_delays++] = measure_now() - written;
}

/* p50 and p99 of the time from a commit to its coming at each of the live ones, in ms. */
static void
beat(PGconn *conn, const char *what, double *p50, double *p99)
{
	delays = xcalloc((size_t)LIVE * BEATS, sizeof *delays);
	n_delays = 0;
	for (unsigned i = 1; i <= BEATS; i++) {
		written = measure_now();
		PQclear(PQexec(conn, "UPDATE wide SET v = repeat(md5(random()::text), 125) WHERE id = 1"));
		while (n_delays < (size_t)LIVE * i)
			sat_turn();
	}
	*p50 = measure_share(delays, n_delays, 0.50) * 1e3;
	*p99 = measure_share(delays, n_delays, 0.99) * 1e3;
	printf("%u live clients, %s: p50 %.1f ms, p99 %.1f ms\n", LIVE, what, *p50, *p99);
	free(delays);
}

/* Clients of the table, all of whom have its rows. */
static struct sat_client **
watchers(const char *prefix, unsigned n)
{
	static const char *const wide[] = { "wide" };
	struct sat_client **all = xcalloc(n, sizeof(struct sat_client *));

	for (unsigned i = 0; i < n; i++) {
		all[i] = client(prefix, i);
		sat_ask_subscription(all[i], "11111111-1111-4111-8111-111111111111", wide, 1);
	}
	for (unsigned i = 0; i < n; i++)
		sat_message_free(sat_await(all[i], SAT_SUBS_DATA_END));
	return all;
}

/* Who does not read cannot answer pings either, and would be let go after some ten seconds: these go on
 * talking, and stay. */
static void
talk(struct sat_client **all, unsigned n)
{
	static const uint8_t pong[] = { 0x82, 0x81, 0, 0, 0, 0, SAT_PING_RESP };

	for (unsigned i = 0; i < n; i++)
		if (send(all[i]->fd, pong, sizeof pong, MSG_NOSIGNAL) != sizeof pong)
			test_fail("client %s was let go", all[i]->id);
}

/* How many clients take nothing of what waits for them, as the gateways count. */
static unsigned
count_stalled(void)
{
	return (unsigned)atoi(test_shell("curl -s http://127.0.0.1:%u/metrics | "
					 "awk '/^leyden_stalled_clients/ { n += $2 } END { print n }'",
	    service.http));
}

/* What all sockets of this machine hold in the kernel, in KiB. */
static long
kernel_memory(void)
{
	return atol(test_shell("awk '/^TCP:/ { print $NF * 4 }' /proc/net/sockstat"));
}

static void
stalled_among_live(PGconn *conn)
{
	struct sat_client **live = watchers("live", LIVE), **stalled;
	double p50[2], p99[2];
	long before, kernel;

	for (unsigned i = 0; i < LIVE; i++)
		live[i]->on_message = note_delay;
	beat(conn, "alone", &p50[0], &p99[0]);
	stalled = watchers("stalled", STALLED);
	before = peak("ws-gateway");
	kernel = kernel_memory();
	for (unsigned i = 0; i < STALLED; i++) {
		ev_io_stop(loop(), &stalled[i]->io);
		setsockopt(stalled[i]->fd, SOL_SOCKET, SO_RCVBUF, &(int){ 1 }, sizeof(int));
	}
	/* As long as the kernel has room for them they are sent all that the live ones are. */
	do {
		talk(stalled, STALLED);
		beat(conn, "while the kernel's buffers fill", &p50[1], &p99[1]);
	} while (count_stalled() < STALLED);
	talk(stalled, STALLED);
	beat(conn, "with 1000 that do not read", &p50[1], &p99[1]);
	printf("stalled clients: p50 ratio %.2f, p99 ratio %.2f; the larger gateway grew by %ld KiB for each "
	       "of its %u (goal 64), the kernel by %ld\n",
	    p50[1] / p50[0], p99[1] / p99[0], (peak("ws-gateway") - before) / (STALLED / 2), STALLED / 2,
	    (kernel_memory() - kernel) / STALLED);
	for (unsigned i = 0; i < LIVE; i++)
		sat_free(live[i]);
	for (unsigned i = 0; i < STALLED; i++)
		sat_free(stalled[i]);
	free(live);
	free(stalled);
}

int
main(void)
{
	PGconn *conn;
	double alone, most;

	setvbuf(stdout, NULL, _IOLBF, 0);
	test_postgres_start(&service, "shared_buffers=512MB");
	test_leyden_start(&service);
	test_sql(&service,
	    "CREATE TABLE many (id int PRIMARY KEY, value text, n int);"
	    "CREATE TABLE tagged (id int PRIMARY KEY, value text, n int);"
	    "CREATE TABLE large (id int PRIMARY KEY, value text); CREATE TABLE larger (id int PRIMARY KEY, "
	    "value text);"
	    "CREATE TABLE small (id int PRIMARY KEY, value text); CREATE TABLE wide (id int PRIMARY KEY, v "
	    "text);"
	    "INSERT INTO many SELECT i, 'a value of some forty bytes, as values are', i FROM "
	    "generate_series(1, %d) AS i;"
	    "INSERT INTO large SELECT i, repeat('0123456789', 100000) FROM generate_series(1, 100) AS i;"
	    "INSERT INTO larger SELECT i, repeat('0123456789', 1000000) FROM generate_series(1, 10) AS i;"
	    "CREATE TABLE largest (id int PRIMARY KEY, value text);"
	    "INSERT INTO largest VALUES (1, repeat('0123456789', 10000000));"
	    "INSERT INTO small SELECT i, 'a value of some forty bytes, as values are' FROM "
	    "generate_series(1, 500) AS i;"
	    "INSERT INTO wide VALUES (1, 'x');"
	    "SELECT electric.migration_version('1');"
	    "CALL electric.electrify('many'); CALL electric.electrify('tagged'); CALL "
	    "electric.electrify('large'); CALL "
	    "electric.electrify('larger');"
	    "CALL electric.electrify('largest'); CALL electric.electrify('small'); CALL "
	    "electric.electrify('wide')",
	    ROWS);
	test_schema_await(&service);
	test_sql(&service, "INSERT INTO tagged SELECT * FROM many");
	test_sql(&service, "VACUUM ANALYZE");
	conn = PQconnectdb(service.url);
	await_stream();
	one_client(conn, "many", "SELECT * FROM many", "1,000,000 rows from before electrification");
	one_client(
	    conn, "tagged", "SELECT * FROM tagged", "1,000,000 rows with tags, beside the rows without");
	one_client(conn, "tagged",
	    "SELECT s._tags, t.* FROM tagged AS t JOIN electric.shadow__public__tagged AS s ON s.k1 = t.id",
	    "1,000,000 rows with tags, beside the rows with them");
	one_client(conn, "large", "SELECT * FROM large", "100 rows of 1 MB");
	one_client(conn, "larger", "SELECT * FROM larger", "10 rows of 10 MB");
	one_client(conn, "largest", "SELECT * FROM largest", "1 row of 100 MB");
	alone = crowd(1, 1);
	most = crowd(CROWD, 1);
	printf("the last of %d waits %.1f times as long as one alone\n", CROWD, most / alone);
	stalled_among_live(conn);
	PQfinish(conn);
	test_leyden_stop(&service);
	test_service_end(&service);
	return 0;
}
