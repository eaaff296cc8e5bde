/*
 * pg-publish: writes clients' transactions into Postgres, where the functions that electrify made resolve
 * conflicts.
 */
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>

#include "direct.h"
#include "exits.h"
#include "literal.h"
#include "rejected.h"
#include "service.h"

static char *database_url;
static bool list;
static unsigned retry, discard;

static const struct option_def options[] = {
	{ "database-url", "DATABASE_URL", OPT_STRING, &database_url, NULL, "the Postgres to write to", true,
	    true },
	{ "rejected", NULL, OPT_BOOL, &list, NULL, "list the transactions that Postgres refused, and exit", 0,
	    0 },
	{ "retry", NULL, OPT_UINT, &retry, NULL,
	    "apply the rejected transaction with this id again, and exit", 0, 0 },
	{ "discard", NULL, OPT_UINT, &discard, NULL, "take it off the list, and exit", 0, 0 },
	{ 0 },
};

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
	return list ? rejected_list(database_url)
		    : rejected_settle(database_url, retry != 0 ? retry : discard, retry != 0);
}

static int
open_publish(void)
{
	char *error = NULL;
	PQconninfoOption *parsed = PQconninfoParse(database_url, &error);

	if (parsed == NULL)
		service_config_error(
		    "DATABASE_URL", "%s", error != NULL ? error : "not a Postgres URL or conninfo");
	PQconninfoFree(parsed);
	literal_set_own_origin(service_instance());
	direct_open(database_url);
	return 0;
}

static const struct service pg_publish = {
	.name = "pg-publish",
	.summary = "Writes clients' transactions into Postgres.",
	.options = options,
	.peers = { .handlers = (const struct handler[]){ { 0 } } },
	.command = command,
	.open = open_publish,
	.status = direct_status,
};

int
main(int argc, char **argv)
{
	return service_run(&pg_publish, argc, argv);
}
