/*
 * pg-snapshot: "these tables for this user, now". Each snapshot is one read-only transaction, whose rows are
 * read by COPY and sent as fast as the gateways grant.
 */
#include <stdio.h>
#include <stdlib.h>

#include "exits.h"
#include "pg.h"
#include "service.h"
#include "snapshot.h"
#include "spool.h"
#include "xalloc.h"

static char *database_url;
static char *spool_dir;
static unsigned connections;
static uint64_t memory, spool, max_row;

static const struct option_def options[] = {
	{ "database-url", "DATABASE_URL", OPT_STRING, &database_url, NULL, "Postgres: URL or conninfo", 1,
	    1 },
	{ "connections", "PG_SNAPSHOT_CONNECTIONS", OPT_UINT, &connections, "8",
	    "connections to Postgres at most; one of them reads no rows", 0, 0 },
	{ "memory", "PG_SNAPSHOT_MEMORY", OPT_BYTES, &memory, "8M", "rows in memory that wait to be sent", 0,
	    0 },
	{ "spool", "PG_SNAPSHOT_SPOOL", OPT_BYTES, &spool, "1G", "more of them, in a temporary file", 0, 0 },
	{ "max-row", "PG_SNAPSHOT_MAX_ROW", OPT_BYTES, &max_row, "1G", "longest row that is sent", 0, 0 },
	{ "spool-dir", "PG_SNAPSHOT_SPOOL_DIR", OPT_STRING, &spool_dir, "/var/tmp", "where it is made", 0,
	    0 },
	{ 0 },
};

static void
check(bool to_print)
{
	const char *error = database_url != NULL ? pg_url_error(database_url) : NULL;

	(void)to_print;
	if (error != NULL)
		service_config_error("DATABASE_URL", "%s", error);
	if (connections < 2)
		service_config_error("PG_SNAPSHOT_CONNECTIONS", "must be at least 2");
}

static int
open_snapshot(void)
{
	spool_open(spool_dir, memory, spool);
	snapshot_open(database_url, connections - 1, max_row, service_instance());
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
	.sandbox = SANDBOX_DIAL | SANDBOX_FILES,
	.status = status,
	.metrics = snapshot_metrics,
};

int
main(int argc, char **argv)
{
	return service_run(&pg_snapshot, argc, argv);
}
