/*
 * pg-snapshot: "these tables for this user, now". Each snapshot is one read-only transaction, whose rows are
 * streamed by COPY as fast as the gateway grants.
 */
#include <stdio.h>
#include <stdlib.h>

#include "exits.h"
#include "pg.h"
#include "service.h"
#include "snapshot.h"
#include "xalloc.h"

static char *database_url;
static unsigned connections;

static const struct option_def options[] = {
	{ "database-url", "DATABASE_URL", OPT_STRING, &database_url, NULL, "Postgres: URL or conninfo", 1,
	    1 },
	{ "connections", NULL, OPT_UINT, &connections, "8", "most connections to Postgres at once", 0, 0 },
	{ 0 },
};

static void
check(bool to_print)
{
	const char *error = database_url != NULL ? pg_url_error(database_url) : NULL;

	(void)to_print;
	if (error != NULL)
		service_config_error("DATABASE_URL", "%s", error);
	if (connections == 0)
		service_config_error("--connections", "must be at least 1");
}

static int
open_snapshot(void)
{
	snapshot_open(database_url, connections, service_instance());
	service_ready("");
	return 0;
}

static char *
status(void)
{
	char *shown = pg_url_shown(database_url), *snapshots = snapshot_status();
	char *json = xasprintf("\"postgres\":\"%s\",%s", shown, snapshots);

	free(shown);
	free(snapshots);
	return json;
}

static const struct service pg_snapshot = {
	.name = "pg-snapshot",
	.summary = "Reads the rows that subscriptions begin from.",
	.options = options,
	.peers = { .handlers = snapshot_handlers, .down = snapshot_peer_down },
	.check = check,
	.open = open_snapshot,
	.sandbox = SANDBOX_DIAL,
	.status = status,
};

int
main(int argc, char **argv)
{
	return service_run(&pg_snapshot, argc, argv);
}
