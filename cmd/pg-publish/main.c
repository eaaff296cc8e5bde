/*
 * pg-publish: brings clients' transactions into Postgres, where the functions that electrify made resolve
 * conflicts: over a connection of its own, or as a publisher to which Postgres subscribes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "direct.h"
#include "exits.h"
#include "literal.h"
#include "logical.h"
#include "pg.h"
#include "rejected.h"
#include "service.h"

static char *database_url, *publisher_host, *write_mode, *listen_address;
static unsigned publisher_port, databases;
static bool list;
static unsigned retry, discard;

static const struct option_def options[] = {
	{ "database-url", "DATABASE_URL", OPT_STRING, &database_url, NULL, "the Postgres to write to", true,
	    true },
	{ "logical-publisher-host", "LOGICAL_PUBLISHER_HOST", OPT_STRING, &publisher_host, NULL,
	    "where Postgres reaches this tool: it subscribes", 0, 0 },
	{ "logical-publisher-port", "LOGICAL_PUBLISHER_PORT", OPT_PORT, &publisher_port, "5433",
	    "port for that; instance N takes N - 1 more", 0, 0 },
	{ "write-mode", "ELECTRIC_WRITE_TO_PG_MODE", OPT_STRING, &write_mode, NULL,
	    "logical_replication or direct_writes", 0, 0 },
	{ "listen-address", "LISTEN_ADDRESS", OPT_STRING, &listen_address, NULL,
	    "IP address to listen on (all interfaces)", 0, 0 },
	{ "databases", "LEYDEN_DATABASES", OPT_UINT, &databases, "1", "how many Postgres there are", 0, 0 },
	{ "rejected", NULL, OPT_BOOL, &list, NULL, "list the transactions that Postgres refused, and exit", 0,
	    0 },
	{ "retry", NULL, OPT_UINT, &retry, NULL,
	    "apply the rejected transaction with this id again, and exit", 0, 0 },
	{ "discard", NULL, OPT_UINT, &discard, NULL, "take it off the list, and exit", 0, 0 },
	{ 0 },
};

static void
check_url(void)
{
	const char *error = pg_url_error(database_url);

	if (error != NULL)
		service_config_error("DATABASE_URL", "%s", error);
}

/* What a person does about rejected writes, beside the service. */
static int
command(int argc, char **argv)
{
	if (argc > 0) {
		fprintf(stderr, "pg-publish: unexpected argument: %s\n", argv[0]);
		return EX_USAGE;
	}
	if (!list && retry == 0 && discard == 0)
		return -1;
	if (list + (retry != 0) + (discard != 0) > 1) {
		fprintf(stderr, "pg-publish: --rejected, --retry and --discard exclude each other\n");
		return EX_USAGE;
	}
	if (database_url == NULL)
		service_config_error("DATABASE_URL", "is required");
	check_url();
	return list ? rejected_list(database_url)
		    : rejected_settle(database_url, retry != 0 ? retry : discard, retry != 0);
}

static bool is_logical;

static void
check(bool to_print)
{
	(void)to_print;
	check_url();
	is_logical =
	    write_mode != NULL ? strcmp(write_mode, "logical_replication") == 0 : publisher_host != NULL;
	if (write_mode != NULL && !is_logical && strcmp(write_mode, "direct_writes") != 0)
		service_config_error("ELECTRIC_WRITE_TO_PG_MODE",
		    "not logical_replication or direct_writes: \"%s\"", write_mode);
	if (is_logical && publisher_host == NULL)
		service_config_error("LOGICAL_PUBLISHER_HOST",
		    "is not set, and ELECTRIC_WRITE_TO_PG_MODE=logical_replication needs it");
	if (is_logical && databases > 1)
		service_config_error(
		    write_mode != NULL ? "ELECTRIC_WRITE_TO_PG_MODE" : "LOGICAL_PUBLISHER_HOST",
		    "logical publication serves one Postgres; there are %u", databases);
}

static int
open_publish(void)
{
	literal_set_own_origin(service_instance());
	if (is_logical)
		logical_open(database_url, publisher_host, listen_address,
		    publisher_port != 0 ? publisher_port + service_instance() - 1 : 0);
	else
		direct_open(database_url, databases > 1);
	return 0;
}

static char *
status(void)
{
	return is_logical ? logical_status() : direct_status();
}

static void
metrics(struct metrics *m)
{
	if (is_logical)
		logical_metrics(m);
	else
		direct_metrics(m);
}

static const struct service pg_publish = {
	.name = "pg-publish",
	.summary = "Writes clients' transactions into Postgres.",
	.options = options,
	.peers = { .handlers = (const struct handler[]){ { 0 } } },
	.command = command,
	.check = check,
	.open = open_publish,
	.sandbox = SANDBOX_DIAL | SANDBOX_FILES,
	.status = status,
	.metrics = metrics,
};

int
main(int argc, char **argv)
{
	return service_run(&pg_publish, argc, argv);
}
