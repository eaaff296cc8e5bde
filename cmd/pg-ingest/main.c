/*
 * pg-ingest: what happens in Postgres, into the log. Installs the schema "electric", streams one logical
 * replication slot, and appends each transaction to log-store with the tags of its rows folded in.
 */
#include <stdio.h>
#include <stdlib.h>

#include "catalog.h"
#include "exits.h"
#include "log.h"
#include "observe.h"
#include "pg.h"
#include "service.h"
#include "spool.h"
#include "startup.h"
#include "stream.h"
#include "xalloc.h"

#define SLOT "electric_replication_out"

static char *database_url, *slot;
static bool to_stdout;
static char *spool_dir;
static uint64_t max_transaction, silence_time;
static unsigned databases;

static const struct option_def options[] = {
	{ "database-url", "DATABASE_URL", OPT_STRING, &database_url, NULL, "Postgres: URL or conninfo", 1,
	    1 },
	{ "slot", NULL, OPT_STRING, &slot, NULL, "replication slot (" SLOT ", with _N for instance N)", 0,
	    0 },
	{ "databases", "LEYDEN_DATABASES", OPT_UINT, &databases, "1", "how many Postgres there are", 0, 0 },
	{ "spool-dir", "PG_INGEST_SPOOL_DIR", OPT_STRING, &spool_dir, "/var/tmp",
	    "where a transaction goes that is longer than memory allows", 0, 0 },
	{ "max-transaction", "PG_INGEST_MAX_TRANSACTION", OPT_BYTES, &max_transaction, "64G",
	    "the log begins anew after a longer one", 0, 0 },
	{ "silence-time", "PG_INGEST_SILENCE_TIME", OPT_SECONDS, &silence_time, "30",
	    "Postgres is taken to be away after so long without a word; 0: never", 0, 0 },
	{ "stdout", NULL, OPT_BOOL, &to_stdout, NULL,
	    "print changes from now on as text, with a slot of its own", 0, 0 },
	{ 0 },
};

static void
check(bool to_print)
{
	const char *error = database_url != NULL ? pg_url_error(database_url) : NULL;

	(void)to_print;
	if (error != NULL)
		service_config_error("DATABASE_URL", "%s", error);
}

static int
open_ingest(void)
{
	if (slot == NULL)
		slot = service_instance() > 1 ? xasprintf(SLOT "_%u", service_instance()) : xstrdup(SLOT);
	spool_open(spool_dir, max_transaction);
	stream_set_limits(max_transaction, silence_time);
	startup_open(database_url, slot, service_instance(), databases);
	observe_open(database_url, slot);
	return 0;
}

/* --stdout: without a control socket, so that it can run beside the service. */
static int
command(int argc, char **argv)
{
	if (argc > 0) {
		fprintf(stderr, "pg-ingest: unexpected argument: %s\n", argv[0]);
		return EX_USAGE;
	}
	if (!to_stdout)
		return -1;
	if (database_url == NULL)
		service_config_error("DATABASE_URL", "is required");
	check(false);
	spool_open(spool_dir, max_transaction);
	stream_set_limits(max_transaction, silence_time);
	startup_open(database_url, NULL, service_instance(), databases);
	ev_run(loop(), 0);
	return EX_OK;
}

static void
stop(void)
{
	startup_close();
	service_exit(EX_OK);
}

static char *
status(void)
{
	char *shown = pg_url_shown(database_url), *stream = stream_status(), *schema = catalog_status();
	char *observed = observe_status();
	char *json =
	    xasprintf("\"postgres\":\"%s\",\"slot\":\"%s\",%s,%s,%s", shown, slot, stream, observed, schema);

	free(shown);
	free(observed);
	free(stream);
	free(schema);
	return json;
}

static void
metrics(struct metrics *m)
{
	stream_metrics(m);
	observe_metrics(m);
	catalog_metrics(m);
}

static const struct handler no_handlers[] = { { 0 } };

static const struct service pg_ingest = {
	.name = "pg-ingest",
	.summary = "Streams Postgres' changes into the log.",
	.options = options,
	.peers = { .handlers = no_handlers },
	.command = command,
	.check = check,
	.open = open_ingest,
	.sandbox = SANDBOX_DIAL | SANDBOX_FILES,
	.stop = stop,
	.status = status,
	.metrics = metrics,
};

int
main(int argc, char **argv)
{
	return service_run(&pg_ingest, argc, argv);
}
