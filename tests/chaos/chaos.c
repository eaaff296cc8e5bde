/*
 * chaos [KILLS [SEED [INSTANCES]]]: kills tools, Postgres and sockets while writers write on both sides, and
 * in two Postgres where there are two, and then checks that each Postgres, the log and every client agree.
 * CHAOS_CUT: seconds that the link to one of two is cut at most.
 * Prints the seed and what it did; ends with "N passed, N failed".
 */
#include "chaos.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fail.h"
#include "link.h"
#include "peer.h"
#include "sat_client.h"
#include "testbed.h"

#define KILL_AFTER   0.1 /* seconds from one to the next, and as much again by chance, twice */
#define QUIET	     120 /* seconds in which all must agree when nobody is killed any more */
#define NEWCOMER_AGE 1.5 /* seconds until it makes room for the next */
#define TICK	     0.005

static const char *const tools[] = { "log-store", "pg-ingest", "pg-snapshot", "pg-publish", "ws-gateway",
	"auth-check", "http-api" };
#define TOOLS (sizeof tools / sizeof *tools)

unsigned chaos_instances = 1;

static struct test_service service = { .env = { "AUTH_MODE=insecure", NULL } };
static struct test_service second; /* its Postgres only */
static struct follower *followers[CLIENTS], *newcomer;
static unsigned newcomers;
static pid_t writers[WRITERS];
static uint64_t state;
static ev_timer tick;
static bool writing = true;
static unsigned kills[TOOLS], stops, crashes, alls, cuts, links_cut;
static struct test_link links[2]; /* to each Postgres, where there are two */

unsigned
chaos_random(unsigned n)
{
	/* xorshift64 */
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (unsigned)(state >> 32) % n;
}

// ---- the scene

#define TICKET_TABLE "CREATE TABLE ticket (n int8); INSERT INTO ticket VALUES (0);"

static struct test_service *
instance_of(unsigned w)
{
	return w % chaos_instances == 0 ? &service : &second;
}

static void
set_up(void)
{
	static char urls[2][600];

	test_postgres_start(&service, "fsync=off");
	if (chaos_instances > 1) {
		test_postgres_start(&second, "fsync=off");
		test_sql(&second, TICKET_TABLE);
		test_link_start(&links[0], test_url_port(service.url));
		test_link_start(&links[1], test_url_port(second.url));
		snprintf(urls[0], sizeof urls[0], "DATABASE_URL=%s", test_link_url(&links[0], service.url));
		snprintf(urls[1], sizeof urls[1], "DATABASE_URL_2=%s", test_link_url(&links[1], second.url));
		service.env[1] = urls[0];
		service.env[3] = urls[1];
		service.env[4] = "PG_INGEST_SILENCE_TIME=1";
		/* One that applies again what another one had decided about fires triggers again: who counts
		 * them has to know who leads. */
		service.env[2] = state % 2 == 0 ? "LOG_STORE_LEAD_TIME=1" : "LOG_STORE_LEAD_TIME=0";
	}
	test_leyden_start(&service);
	test_sql(&service,
	    "CREATE TABLE pg_items (id text PRIMARY KEY, writer text, n int4, ticket int8);"
	    "CREATE TABLE pg_heads (id text PRIMARY KEY, n int4);"
	    "CREATE TABLE cl_items (id text PRIMARY KEY, client text, n int4);"
	    "CREATE TABLE cl_heads (id text PRIMARY KEY, n int4);" TICKET_TABLE
	    "CREATE TABLE audit (at bigserial, client text, n int4);"
	    "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
	    " INSERT INTO public.audit (client, n) VALUES (new.client, new.n); RETURN NULL; END $$;"
	    "CREATE TRIGGER note AFTER INSERT OR UPDATE ON cl_items FOR EACH ROW EXECUTE FUNCTION note();"
	    "ALTER TABLE cl_items ENABLE ALWAYS TRIGGER note;"
	    "SELECT electric.migration_version('1');"
	    "CALL electric.electrify('pg_items'); CALL electric.electrify('pg_heads');"
	    "CALL electric.electrify('cl_items'); CALL electric.electrify('cl_heads')");
	test_schema_await(&service);
	if (chaos_instances > 1)
		test_sql_await(&second, "4", "SELECT count(*) FROM electric.electrified");
	for (unsigned w = 0; w < WRITERS; w++)
		writers[w] = writer_start(instance_of(w), w);
	for (unsigned i = 0; i < CLIENTS; i++)
		followers[i] = follower_new(i);
}

static void
on_tick(struct ev_loop *l, ev_timer *w, int events)
{
	static double since;

	(void)w;
	(void)events;
	for (unsigned i = 0; i < CLIENTS; i++)
		follower_tick(followers[i], service.port, writing);
	if (newcomer == NULL || (writing && ev_now(l) - since > NEWCOMER_AGE)) {
		if (newcomer != NULL)
			follower_free(newcomer);
		newcomer = follower_new(CLIENTS + newcomers++);
		since = ev_now(l);
	}
	follower_tick(newcomer, service.port, writing);
}

static void
turn_for(double seconds)
{
	double end = ev_time() + seconds;

	while (ev_time() < end)
		sat_turn();
}

// ---- what goes wrong

static void
kill_tool(unsigned t)
{
	pid_t pid = test_tool_pid(&service, tools[t], chaos_random(2));

	if (pid == 0)
		pid = test_tool_pid(&service, tools[t], 0);
	if (pid == 0)
		return; /* it is not back yet */
	if (chaos_random(4) == 0) {
		stops++;
		kill(pid, SIGSTOP);
		turn_for(chaos_random(500) / 1000.0);
		kill(pid, SIGCONT);
	} else {
		kills[t]++;
		kill(pid, SIGKILL);
	}
}

static void
kill_all(void)
{
	pid_t pids[32], pid;
	unsigned n = 0;

	while (n < 32 && (pid = test_tool_pid(&service, NULL, n)) != 0)
		pids[n++] = pid;
	while (n > 0)
		kill(pids[--n], SIGKILL);
	alls++;
}

static void
crash_postgres(void)
{
	struct test_service *s = instance_of(chaos_random(WRITERS));

	test_postgres_stop(s, "immediate");
	/* Where there are two, at times for so long that the other one leads. */
	turn_for(chaos_random(chaos_instances > 1 ? 3000 : 300) / 1000.0);
	test_postgres_again(s);
	crashes++;
}

/* The link to a Postgres hangs or breaks, both go on writing. */
static void
cut_link(void)
{
	struct test_link *link = &links[chaos_random(2)];
	const char *longest = getenv("CHAOS_CUT");
	double seconds = chaos_random(longest != NULL ? (unsigned)atoi(longest) * 1000 : 3000) / 1000.0;

	links_cut++;
	if (chaos_random(2) == 0) {
		test_link_hang(link);
		turn_for(seconds);
		test_link_go_on(link);
	} else {
		test_link_break(link);
		turn_for(seconds);
		test_link_mend(link);
	}
}

static void
do_harm(void)
{
	unsigned what = chaos_random(100);

	/* With two Postgres, how they part and meet again matters most. */
	if (chaos_instances > 1 && chaos_random(6) == 0) {
		crash_postgres();
	} else if (chaos_instances > 1 && chaos_random(6) == 0) {
		cut_link();
	} else if (what < 60) {
		kill_tool(chaos_random(TOOLS));
	} else if (what < 75) {
		follower_cut(followers[chaos_random(CLIENTS)]);
		cuts++;
	} else if (what < 92) {
		/* log-store, pg-ingest and pg-publish have the most to lose. */
		kill_tool((unsigned[]){ 0, 1, 3 }[chaos_random(3)]);
	} else if (what < 96) {
		kill_all();
	} else {
		crash_postgres();
	}
}

// ---- what must be true

static bool
instances_agree(void)
{
	static const char *const tables[] = { "pg_items", "pg_heads", "cl_items", "cl_heads" };
	char rows[40];

	if (chaos_instances == 1)
		return true;
	for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
		const char *sql = "SELECT md5(string_agg((t.*)::text, ';' ORDER BY id)) FROM %s AS t";

		snprintf(rows, sizeof rows, "%s", test_sql(&service, sql, tables[i]));
		if (strcmp(rows, test_sql(&second, sql, tables[i])) != 0)
			return false;
	}
	return true;
}

static bool
all_agree(void)
{
	uint32_t w[WRITERS], c[CLIENTS];
	bool agree = true;

	for (unsigned i = 0; i < WRITERS; i++)
		w[i] = (uint32_t)atol(
		    test_sql(instance_of(i), "SELECT coalesce(max(n), 0) FROM pg_heads WHERE id = 'w%u'", i));
	for (unsigned i = 0; i < CLIENTS; i++)
		c[i] = follower_written(followers[i]);
	for (unsigned i = 0; i < CLIENTS; i++)
		agree = agree && follower_agrees(followers[i], w, c);
	return agree && follower_agrees(newcomer, w, c) && instances_agree();
}

static void
await_agreement(void)
{
	for (int i = 0; !all_agree(); i++) {
		if (i >= QUIET * 10) {
			for (unsigned k = 0; k < CLIENTS; k++)
				follower_print(followers[k]);
			follower_print(newcomer);
			test_fail(
			    "after %d quiet seconds they do not agree; the service's log: %s/service.log",
			    QUIET, service.dir);
		}
		turn_for(0.1);
	}
}

/* Each client transaction was applied once, in its client's order. */
static void
check_audit(void)
{
	const char *out_of_order =
	    test_sql(&service, "SELECT count(*) FROM (SELECT n, row_number() OVER (PARTITION BY client ORDER "
			       "BY at) AS r FROM audit) AS a"
			       " WHERE n <> r");

	if (strcmp(out_of_order, "0") != 0)
		test_fail("%s client transactions were applied twice or out of order", out_of_order);
	for (unsigned i = 0; i < CLIENTS; i++) {
		long n = atol(test_sql(&service, "SELECT count(*) FROM audit WHERE client = 'c%u'", i));

		if (n != (long)follower_written(followers[i]))
			test_fail("client c%u wrote %u transactions, %ld were applied", i,
			    follower_written(followers[i]), n);
	}
}

/* The log holds each of Postgres' own transactions once, in Postgres' order. */
static void
check_log(void)
{
	char command[400], line[1000];
	long n[WRITERS] = { 0 }, tickets[WRITERS] = { 0 }, *ticket, seen;
	bool to_one = false; /* a transaction for one client or instance */
	FILE *dump;

	snprintf(command, sizeof command, TEST_BIN "/log-store --dump --file %s/log", service.dir);
	dump = popen(command, "r");
	while (dump != NULL && fgets(line, sizeof line, dump) != NULL) {
		const char *row = strstr(line, " insert relation=") != NULL ? strstr(line, "row=('w") : NULL;
		unsigned w, teller = 0;
		long in_id, in_row, in_ticket;

		if (strstr(line, " begin ") != NULL)
			to_one = strstr(line, " only_client=") != NULL;
		if (row == NULL || to_one ||
		    sscanf(row, "row=('w%u/%ld','w%*u','%ld','%ld')", &w, &in_id, &in_row, &in_ticket) != 4)
			continue;
		/* One that leads anew may tell again what another has told. */
		sscanf(line, "%*u postgres_%u ", &teller);
		if (w < WRITERS && teller != w % chaos_instances + 1 && in_row <= n[w])
			continue;
		ticket = &tickets[w % chaos_instances];
		if (w >= WRITERS || in_id != in_row || in_row != n[w] + 1 || in_ticket <= *ticket)
			test_fail("the log is out of order: %s", line);
		n[w] = in_row;
		*ticket = in_ticket;
	}
	if (dump == NULL || pclose(dump) != 0)
		test_fail("the log cannot be dumped");
	for (unsigned i = 0; i < WRITERS; i++) {
		seen = atol(test_sql(&service, "SELECT max(n) FROM pg_heads WHERE id = 'w%u'", i));
		if (n[i] != seen)
			test_fail("writer %u made %ld transactions, the log has %ld", i, seen, n[i]);
	}
	test_shell(TEST_BIN "/log-store --check --file %s/log", service.dir);
}

static void
report(unsigned n, unsigned long seed)
{
	printf("seed=%lu kills=%u:", seed, n);
	for (unsigned t = 0; t < TOOLS; t++)
		printf(" %s=%u", tools[t], kills[t]);
	printf(" stopped=%u all=%u postgres=%u sockets=%u links=%u leads=%s\n", stops, alls, crashes, cuts,
	    links_cut, test_shell("grep -c lead-taken %s/service.log || true", service.dir));
	printf("transactions:");
	for (unsigned w = 0; w < WRITERS; w++)
		printf(" w%u=%s", w, test_sql(&service, "SELECT max(n) FROM pg_heads WHERE id = 'w%u'", w));
	for (unsigned i = 0; i < CLIENTS; i++)
		printf(" c%u=%u", i, follower_written(followers[i]));
	printf(" deliveries=%lu connections=%lu\n", follower_deliveries, follower_connections);
}

static void
on_fail(const char *sentence)
{
	printf("FAILED: %s\n0 passed, 1 failed\n", sentence);
	for (unsigned w = 0; w < WRITERS; w++)
		if (writers[w] > 0)
			kill(writers[w], SIGKILL);
	/* Its files are left to look at. */
	test_on_fail = NULL;
	if (service.pid > 0)
		kill(service.pid, SIGKILL);
	test_postgres_stop(&service, "immediate");
	if (chaos_instances > 1)
		test_postgres_stop(&second, "immediate");
	exit(1);
}

int
main(int argc, char **argv)
{
	unsigned n = argc > 1 ? (unsigned)atoi(argv[1]) : 200;
	unsigned long seed = argc > 2 ? strtoul(argv[2], NULL, 10) : (unsigned long)time(NULL);

	chaos_instances = argc > 3 ? (unsigned)atoi(argv[3]) : 1;
	test_on_fail = on_fail;
	printf("chaos: kills=%u seed=%lu instances=%u\n", n, seed, chaos_instances);
	fflush(stdout);
	state = seed * 2654435769u + 88172645463325252u;
	set_up();
	ev_timer_init(&tick, on_tick, 0., TICK);
	ev_timer_start(loop(), &tick);
	turn_for(1.0);
	for (unsigned i = 0; i < n; i++) {
		do_harm();
		turn_for(KILL_AFTER + KILL_AFTER * chaos_random(200) / 100);
	}
	for (unsigned w = 0; w < WRITERS; w++)
		writer_stop(writers[w]);
	writing = false;
	await_agreement();
	if (strcmp(test_shell("grep -c lead-taken %s/service.log || true", service.dir), "0") == 0)
		check_audit();
	if (test_leyden_stop(&service) != 0)
		test_fail("leyden did not end well");
	check_log();
	report(n, seed);
	test_service_end(&service);
	if (chaos_instances > 1) {
		test_link_end(&links[0]);
		test_link_end(&links[1]);
		test_service_end(&second);
	}
	printf("1 passed, 0 failed\n");
	return 0;
}
