/*
 * ws-gateway: websocket clients. Handshake, authentication, subscriptions, fan-out, back-pressure. It holds
 * their sockets and nothing else: no credential, no key, nothing durable.
 */
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "admit.h"
#include "client.h"
#include "conn.h"
#include "exits.h"
#include "figures.h"
#include "gateway.h"
#include "inspect.h"
#include "listen.h"
#include "log.h"
#include "operate.h"
#include "service.h"
#include "stream.h"
#include "tls_files.h"
#include "upstream.h"
#include "wire.h"
#include "xalloc.h"

#define DRAIN_TIME 1.0 /* seconds for close frames to go out */
#define FILES_OWN  32  /* that are no connections */

static char *instance_id, *address, *disconnect;
static struct tls_files tls = { .read = wire_certificate };
static bool list_clients;
static unsigned port;
static uint64_t client_buffer, cache_bytes;
static int listening_socket = -1;

static unsigned databases;

static const struct option_def options[] = {
	{ "instance-id", "ELECTRIC_INSTANCE_ID", OPT_STRING, &instance_id, "electric", "id in SatAuthResp", 0,
	    0 },
	{ "port", "WEBSOCKET_PORT", OPT_PORT, &port, "5133", "port, when started by hand", 0, 0 },
	{ "listen-address", "LISTEN_ADDRESS", OPT_STRING, &address, "127.0.0.1", "address of that", 0, 0 },
	{ "tls-cert", "LISTEN_TLS_CERT", OPT_STRING, &tls.chain, NULL,
	    "PEM file of the certificate chain: wss:// instead of ws://", 0, 0 },
	{ "tls-key", "LISTEN_TLS_KEY", OPT_STRING, &tls.key, NULL, "PEM file of its key", 0, 0 },
	{ "client-buffer", "WS_GATEWAY_CLIENT_BUFFER", OPT_BYTES, &client_buffer, "64k",
	    "bytes that may wait for one client", 0, 0 },
	{ "max-message", "WS_GATEWAY_MAX_MESSAGE", OPT_BYTES, &conn_limits.max_message, "64M",
	    "longest message of a client", 0, 0 },
	{ "max-frame", "WS_GATEWAY_MAX_FRAME", OPT_BYTES, &conn_limits.max_frame, "64M",
	    "longest frame of a message", 0, 0 },
	{ "max-connections", "WS_GATEWAY_MAX_CONNECTIONS", OPT_UINT, &admit_limits.connections, "20000",
	    "connections of this process", 0, 0 },
	{ "max-per-address", "WS_GATEWAY_MAX_PER_ADDRESS", OPT_UINT, &admit_limits.per_address, "0",
	    "of them, from one address; 0: no limit", 0, 0 },
	{ "max-unauthenticated", "WS_GATEWAY_MAX_UNAUTHENTICATED", OPT_UINT, &admit_limits.strangers, "4096",
	    "of them, not authenticated yet", 0, 0 },
	{ "handshake-time", "WS_GATEWAY_HANDSHAKE_TIME", OPT_SECONDS, &conn_limits.handshake_time, "10",
	    "to complete the upgrade", 0, 0 },
	{ "auth-time", "WS_GATEWAY_AUTH_TIME", OPT_SECONDS, &conn_limits.auth_time, "10",
	    "to authenticate after that", 0, 0 },
	{ "stall-time", "WS_GATEWAY_STALL_TIME", OPT_SECONDS, &conn_limits.stall_time, "60",
	    "until a client that does not read is disconnected", 0, 0 },
	{ "databases", "LEYDEN_DATABASES", OPT_UINT, &databases, "1", "how many Postgres there are", 0, 0 },
	{ "clients", NULL, OPT_BOOL, &list_clients, NULL, "list the clients of all gateways, and exit", 0,
	    0 },
	{ "disconnect", NULL, OPT_STRING, &disconnect, NULL, "close the connection of this client, and exit",
	    0, 0 },
	{ "cache", "WS_GATEWAY_CACHE", OPT_BYTES, &cache_bytes, "16M", "memory for what the log last held", 0,
	    0 },
	{ 0 },
};

char *
gateway_instance_id(void)
{
	return instance_id;
}

unsigned
gateway_databases(void)
{
	return databases;
}

uint64_t
gateway_client_buffer(void)
{
	return client_buffer;
}

int
gateway_port(void)
{
	return listening_socket;
}

/* Each connection is a file. */
static void
raise_file_limit(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) != 0)
		return;
	files.rlim_cur = files.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < admit_limits.connections + FILES_OWN)
		log_warning("file-limit", "variable=WS_GATEWAY_MAX_CONNECTIONS limit=%lu note=%s",
		    (unsigned long)files.rlim_cur, log_quote("the system allows fewer files than that"));
}

static void
check(bool to_print)
{
	(void)to_print;
	if (admit_limits.connections == 0)
		service_config_error("WS_GATEWAY_MAX_CONNECTIONS", "0 leaves room for nobody");
	if (admit_limits.strangers == 0)
		service_config_error("WS_GATEWAY_MAX_UNAUTHENTICATED", "0 leaves nobody in");
	tls_files_check(&tls);
}

static void
reload(void)
{
	tls_files_reload(&tls);
}

static int
open_gateway(void)
{
	OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CONFIG, NULL); /* while it can read its files */
	raise_file_limit();
	if (tls.chain != NULL)
		service_allow(SANDBOX_READ); /* when it is renewed */
	stream_cache_bytes = cache_bytes;
	listening_socket = service_inherited_port();
	if (listening_socket < 0)
		free(listen_open("WEBSOCKET_PORT", address, port, &listening_socket, 1));
	upstream_open();
	return 0;
}

static void
on_drained(struct ev_loop *l, ev_timer *w, int events)
{
	(void)l;
	(void)events;
	if (conn_count() == 0 || ev_now(l) - *(double *)w->data > DRAIN_TIME)
		service_exit(EX_OK);
}

/* Takes no more clients, sends those that are here away, and leaves when they are gone. */
static void
stop(void)
{
	static ev_timer drain;
	static double since;

	if (listening_socket >= 0)
		admit_stop();
	clients_close_all("the service is stopping");
	conn_close_all(1001, "going away");
	since = ev_now(loop());
	ev_timer_init(&drain, on_drained, 0., 0.02);
	drain.data = &since;
	ev_timer_start(loop(), &drain);
}

/* What a person asks of all gateways that run. */
static int
command(int argc, char **argv)
{
	if (argc > 0) {
		fprintf(stderr, "ws-gateway: unexpected argument: %s\n", argv[0]);
		return EX_USAGE;
	}
	if (list_clients && disconnect != NULL) {
		fprintf(stderr, "ws-gateway: --clients and --disconnect exclude each other\n");
		return EX_USAGE;
	}
	if (list_clients)
		return operate_list(service_as_json());
	return disconnect != NULL ? operate_disconnect(disconnect) : -1;
}

static const struct service ws_gateway = {
	.name = "ws-gateway",
	.summary = "Serves websocket clients: authentication, subscriptions, the stream both ways.",
	.options = options,
	.peers = { .handlers = inspect_handlers },
	.command = command,
	.check = check,
	.open = open_gateway,
	.stop = stop,
	.reload = reload,
	.status = inspect_status,
	.metrics = figures_metrics,
};

int
main(int argc, char **argv)
{
	return service_run(&ws_gateway, argc, argv);
}
