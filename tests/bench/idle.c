/*
 * Clients that are there and do nothing: what each costs in memory, of all tools together, and how many log
 * in a second, connecting included. Tokens are HS256.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "measure.h"
#include "peer.h"
#include "sat_client.h"
#include "testbed.h"
#include "xalloc.h"

#define BATCH 500 /* clients that log in at the same time */
#define KEY   "a-secret-of-at-least-thirty-two-bytes"

static struct test_service service = { .env = { "AUTH_MODE=secure", "AUTH_JWT_ALG=HS256", "AUTH_JWT_KEY=" KEY,
					   NULL } };
static unsigned logged_in, started;

static void
on_message(struct sat_client *c, const struct sat_message *m)
{
	(void)c;
	if (m->code == SAT_AUTH_RESP) {
		logged_in++;
	} else if (m->code == SAT_START_RESP) {
		started++;
	} else if (m->code == SAT_ERROR_RESP) {
		fprintf(stderr, "client %s was refused\n", c->id);
		exit(EXIT_FAILURE);
	}
}

/* KiB that the tools have resident, each; the sum. */
static unsigned long
resident(bool print)
{
	static const char *const tools[] = { "log-store", "pg-ingest", "pg-snapshot", "pg-publish",
		"auth-check", "http-api", "ws-gateway" };
	unsigned long sum = 0;

	for (size_t i = 0; i < sizeof tools / sizeof *tools; i++) {
		unsigned long of_tool = 0;
		pid_t pid;

		for (unsigned n = 0; (pid = test_tool_pid(&service, tools[i], n)) != 0; n++)
			of_tool += strtoul(
			    test_shell("sed -n 's/^VmRSS:[^0-9]*//p' /proc/%d/status", (int)pid), NULL, 10);
		if (print)
			printf("  %-12s %8lu KiB\n", tools[i], of_tool);
		sum += of_tool;
	}
	return sum;
}

static void
await(const unsigned *count, unsigned wanted)
{
	while (*count < wanted)
		sat_turn();
}

int
main(int argc, char **argv)
{
	unsigned n = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 10000;
	struct sat_client **clients = xcalloc(n, sizeof *clients);
	struct rlimit files;
	unsigned long before, after;
	double seconds = 0;
	char *token;

	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	test_postgres_start(&service, "fsync=off");
	test_leyden_start(&service);
	token = xstrdup(
	    test_shell("AUTH_JWT_ALG=HS256 AUTH_JWT_KEY=" KEY " %s/auth-check gen-token ann", TEST_BIN));
	before = resident(false);
	for (unsigned i = 0; i < n; i += BATCH) {
		unsigned end = i + BATCH < n ? i + BATCH : n;
		double began = measure_now();

		for (unsigned k = i; k < end; k++) {
			char id[32];

			snprintf(id, sizeof id, "idle-%u", k);
			clients[k] = sat_connect(service.port, id);
			clients[k]->on_message = on_message;
			sat_auth(clients[k], token);
		}
		await(&logged_in, end);
		seconds += measure_now() - began;
		for (unsigned k = i; k < end; k++)
			sat_ask_start(clients[k], NULL, 0);
		await(&started, end);
	}
	after = resident(true);
	printf("%u idle clients: %.1f KiB resident each; %.0f logins/s with their connections\n", n,
	    (double)(after - before) / n, n / seconds);
	for (unsigned i = 0; i < n; i++)
		sat_free(clients[i]);
	test_leyden_stop(&service);
	test_service_end(&service);
	free(clients);
	free(token);
	return EXIT_SUCCESS;
}
