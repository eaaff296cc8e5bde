/*
 * http-api: status, migrations, metrics and health over HTTP. Holds nothing of its own: every answer comes
 * from log-store or pg-ingest.
 */
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "certificate.h"
#include "exits.h"
#include "http.h"
#include "listen.h"
#include "log.h"
#include "scrape.h"
#include "service.h"
#include "tls_files.h"
#include "upstream.h"
#include "xalloc.h"

static unsigned port, databases, gateways;
static char *address;
static struct tls_files tls = { .read = certificate_read };

static const struct option_def options[] = {
	{ "port", "HTTP_API_PORT", OPT_PORT, &port, "5050", "port to listen on", 0, 0 },
	{ "listen-address", "LISTEN_ADDRESS", OPT_STRING, &address, NULL,
	    "address to listen on, all when unset", 0, 0 },
	{ "tls-cert", "LISTEN_TLS_CERT", OPT_STRING, &tls.chain, NULL,
	    "PEM file of the certificate chain: https:// instead of http://", 0, 0 },
	{ "tls-key", "LISTEN_TLS_KEY", OPT_STRING, &tls.key, NULL, "PEM file of its key", 0, 0 },
	{ "databases", "LEYDEN_DATABASES", OPT_UINT, &databases, "1", "how many Postgres there are", 0, 0 },
	{ "gateways", "WEBSOCKET_GATEWAYS", OPT_UINT, &gateways, "1", "how many ws-gateway there are", 0, 0 },
	{ 0 },
};

static void
check(bool to_print)
{
	(void)to_print;
	if (databases < 1 || databases > DATABASES_MAX)
		service_config_error(
		    "LEYDEN_DATABASES", "not a number from 1 to %d: %u", DATABASES_MAX, databases);
	if (gateways > GATEWAYS_MAX)
		service_config_error("WEBSOCKET_GATEWAYS", "more than %d: %u", GATEWAYS_MAX, gateways);
	tls_files_check(&tls);
}

static void
reload(void)
{
	tls_files_reload(&tls);
}

static int
begin(void)
{
	int fd = service_inherited_port();
	char *name, *details;

	OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CONFIG, NULL); /* while it can read its files */
	if (tls.chain != NULL)
		service_allow(SANDBOX_READ); /* when it is renewed */
	upstream_open(databases, api_schema_came);
	scrape_open(databases, gateways);
	name = fd >= 0 ? listen_name(fd) : listen_open("HTTP_API_PORT", address, port, &fd, 1);
	if (!http_open(fd, tls.chain != NULL)) {
		log_error("http", "listening=%s error=%s", name, log_quote("cannot start the HTTP server"));
		return EX_SOFTWARE;
	}
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
		.reload = reload,
		.status = api_connectors,
		.metrics = api_metrics,
	};

	return service_run(&http_api, argc, argv);
}
