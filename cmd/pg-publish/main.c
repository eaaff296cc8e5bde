/*
 * pg-publish: writes clients' transactions into Postgres, where the functions that electrify made resolve
 * conflicts.
 */
#include <libpq-fe.h>
#include <stdlib.h>

#include "direct.h"
#include "literal.h"
#include "service.h"

static char *database_url;

static const struct option_def options[] = {
	{ "database-url", "DATABASE_URL", OPT_STRING, &database_url, NULL, "the Postgres to write to", true,
	    true },
	{ 0 },
};

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
	.open = open_publish,
	.status = direct_status,
};

int
main(int argc, char **argv)
{
	return service_run(&pg_publish, argc, argv);
}
