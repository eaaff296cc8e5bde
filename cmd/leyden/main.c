/*
 * leyden: init. Starts the tools of the table below, each with its sockets and only the variables that it
 * needs, starts them again when they end, and stops them in order. It speaks no protocol and reads no
 * client's bytes.
 */
#include <stdlib.h>

#include "config.h"
#include "report.h"
#include "service.h"
#include "supervise.h"

#define LIBPQ "DATABASE_URL PG* HOME" /* what a Postgres client reads */

static const struct program table[] = {
	{ "log-store", PER_SERVICE, NOWHERE, STAGE_LOG, "OFFSET_STORAGE_FILE LOG_STORE_*" },
	{ "pg-ingest", PER_DATABASE, NOWHERE, STAGE_INGEST, LIBPQ " PG_INGEST_* LEYDEN_DATABASES" },
	{ "pg-snapshot", PER_DATABASE, NOWHERE, STAGE_WORKERS, LIBPQ " PG_SNAPSHOT_*" },
	{ "pg-publish", PER_DATABASE, NOWHERE, STAGE_WORKERS,
	    LIBPQ " LEYDEN_DATABASES LOGICAL_PUBLISHER_* ELECTRIC_WRITE_TO_PG_MODE LISTEN_ADDRESS" },
	{ "auth-check", PER_SERVICE, NOWHERE, STAGE_WORKERS, "AUTH_*" },
	{ "http-api", PER_SERVICE, ON_HTTP, STAGE_CLIENTS,
	    "LEYDEN_DATABASES WEBSOCKET_GATEWAYS LISTEN_TLS_*" },
	{ "ws-gateway", PER_GATEWAY, ON_WEBSOCKET, STAGE_CLIENTS,
	    "ELECTRIC_INSTANCE_ID LEYDEN_DATABASES LISTEN_TLS_* WS_GATEWAY_*" },
	{ 0 },
};

static void
check(bool to_print)
{
	int code;

	config_check();
	code = supervise_check(table);
	if (code != 0)
		exit(code);
	if (to_print)
		config_show_databases();
}

static int
begin(void)
{
	return supervise_start(table);
}

static void
stop(void)
{
	supervise_stop(0);
}

int
main(int argc, char **argv)
{
	static const struct handler none[] = { { 0 } };
	static const struct service leyden = {
		.name = "leyden",
		.summary = "starts, supervises and stops Leyden's tools",
		.options = config_options,
		.peers = { .handlers = none },
		.check = check,
		.open = begin,
		.sandbox = SANDBOX_NONE,
		.stop = stop,
		.reload = supervise_hangup,
		.status = supervise_status,
		.metrics = supervise_metrics,
		.print_status = report_print,
		.ready_event = "leyden: ready",
	};

	return service_run(&leyden, argc, argv);
}
