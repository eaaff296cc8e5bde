/*
 * http-api: status, migrations, metrics and health over HTTP. Holds nothing of its own: every answer comes
 * from log-store or pg-ingest.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "exits.h"
#include "http.h"
#include "log.h"
#include "service.h"
#include "upstream.h"
#include "xalloc.h"

#define DATABASES_MAX 16

static unsigned port, databases;
static char *address;

static const struct option_def options[] = {
	{ "port", "HTTP_API_PORT", OPT_PORT, &port, "5050", "port to listen on", 0, 0 },
	{ "listen-address", "LISTEN_ADDRESS", OPT_STRING, &address, "::", "address to listen on", 0, 0 },
	{ "databases", "LEYDEN_DATABASES", OPT_UINT, &databases, "1", "how many Postgres there are", 0, 0 },
	{ 0 },
};

static void
check(bool to_print)
{
	(void)to_print;
	if (databases < 1 || databases > DATABASES_MAX)
		service_config_error(
		    "LEYDEN_DATABASES", "not a number from 1 to %d: %u", DATABASES_MAX, databases);
}

static int
begin(void)
{
	char *name, *details;

	upstream_open(databases, api_schema_came);
	name = http_open(service_inherited_port(), address, port);
	if (name == NULL)
		service_config_error(
		    "HTTP_API_PORT", "cannot listen on port %u of %s: %s", port, address, strerror(errno));
	details = xasprintf("http=%s", name);
	service_ready(details);
	free(details);
	free(name);
	return 0;
}

static void
stop(void)
{
	api_stop();
	http_close();
	service_exit(EX_OK);
}

int
main(int argc, char **argv)
{
	static const struct handler none[] = { { 0 } };
	static const struct service http_api = {
		.name = "http-api",
		.summary = "status, migrations, metrics and health over HTTP",
		.options = options,
		.peers = { .handlers = none },
		.check = check,
		.open = begin,
		.stop = stop,
		.status = api_connectors,
	};

	return service_run(&http_api, argc, argv);
}
