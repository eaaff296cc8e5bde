/*
 * Leyden's configuration. What a single tool alone can judge (keys, retention, …) is left to that tool's own
 * --check-config; here is what leyden itself uses, and what several tools must agree on.
 */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libpq-fe.h>
#include <pwd.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "buf.h"
#include "service.h"
#include "xalloc.h"

#define LONGEST_SOCKET_NAME "/ws-gateway-256.sock"

static char *publisher_host, *write_mode, *storage_file, *instance_id;
static char *auth_mode, *auth_alg, *auth_key, *auth_is_base64, *auth_namespace, *auth_iss, *auth_aud,
    *auth_skew;
static char *tls_chain, *tls_key;
static unsigned publisher_port;

struct config config = { .gateways = UINT_MAX };

const struct option_def config_options[] = {
	{ "database-url", "DATABASE_URL", OPT_STRING, &config.databases[1], NULL, "Postgres: URL or conninfo",
	    1, OPT_SECRET_IN_PART },
	{ "logical-publisher-host", "LOGICAL_PUBLISHER_HOST", OPT_STRING, &publisher_host, NULL,
	    "host at which Postgres reaches pg-publish", 0, 0 },
	{ "logical-publisher-port", "LOGICAL_PUBLISHER_PORT", OPT_PORT, &publisher_port, "5433",
	    "port of that publisher", 0, 0 },
	{ "write-to-pg-mode", "ELECTRIC_WRITE_TO_PG_MODE", OPT_STRING, &write_mode, NULL,
	    "logical_replication or direct_writes", 0, 0 },
	{ "http-api-port", "HTTP_API_PORT", OPT_PORT, &config.http_port, "5050", "port of the HTTP API", 0,
	    0 },
	{ "websocket-port", "WEBSOCKET_PORT", OPT_PORT, &config.websocket_port, "5133",
	    "port of the websocket", 0, 0 },
	{ "offset-storage-file", "OFFSET_STORAGE_FILE", OPT_STRING, &storage_file,
	    "./offset_storage_data.dat", "log-store's file", 0, 0 },
	{ "auth-mode", "AUTH_MODE", OPT_STRING, &auth_mode, "secure", "secure or insecure", 0, 0 },
	{ "auth-jwt-alg", "AUTH_JWT_ALG", OPT_STRING, &auth_alg, NULL, "HS256 to ES512", 0, 0 },
	{ "auth-jwt-key", "AUTH_JWT_KEY", OPT_STRING, &auth_key, NULL,
	    "secret, PEM public key, or @/path of a file that holds keys", 0, 1 },
	{ "auth-jwt-key-is-base64-encoded", "AUTH_JWT_KEY_IS_BASE64_ENCODED", OPT_STRING, &auth_is_base64,
	    NULL, "true: the key is in base64", 0, 0 },
	{ "auth-jwt-namespace", "AUTH_JWT_NAMESPACE", OPT_STRING, &auth_namespace, NULL,
	    "claim that holds user_id", 0, 0 },
	{ "auth-jwt-iss", "AUTH_JWT_ISS", OPT_STRING, &auth_iss, NULL, "issuer that tokens must have", 0, 0 },
	{ "auth-jwt-aud", "AUTH_JWT_AUD", OPT_STRING, &auth_aud, NULL, "audience that tokens must have", 0,
	    0 },
	{ "auth-jwt-clock-skew", "AUTH_JWT_CLOCK_SKEW", OPT_STRING, &auth_skew, NULL,
	    "seconds that clocks may differ", 0, 0 },
	{ "instance-id", "ELECTRIC_INSTANCE_ID", OPT_STRING, &instance_id, "electric", "id told to clients",
	    0, 0 },
	{ "listen-address", "LISTEN_ADDRESS", OPT_STRING, &config.listen_address, NULL,
	    "address to listen on, all when unset", 0, 0 },
	{ "tls-cert", "LISTEN_TLS_CERT", OPT_STRING, &tls_chain, NULL,
	    "PEM file of the certificate chain: wss:// and https:// alone", 0, 0 },
	{ "tls-key", "LISTEN_TLS_KEY", OPT_STRING, &tls_key, NULL, "PEM file of its key", 0, 0 },
	{ "websocket-gateways", "WEBSOCKET_GATEWAYS", OPT_UINT, &config.gateways, NULL,
	    "ws-gateway processes, as many as cores when unset", 0, 0 },
	{ "libexec", "LEYDEN_LIBEXEC", OPT_STRING, &config.libexec, NULL,
	    "where the tools are, beside leyden when unset", 0, 0 },
	{ "user", "LEYDEN_USER", OPT_STRING, &config.user, NULL,
	    "as root: whom the tools become (USER-TOOL, where there is such a user)", 0, 0 },
	{ 0 },
};

/* Does not repeat libpq's own message: that quotes the value, password and all. */
static void
check_database(const char *variable, const char *url)
{
	PQconninfoOption *parsed = PQconninfoParse(url, NULL);

	if (parsed == NULL)
		service_config_error(variable, "not a Postgres URL or conninfo string");
	PQconninfoFree(parsed);
}

/* DATABASE_URL_2 and on, without a gap: the number is part of what the rows' origin is called. */
static void
read_more_databases(void)
{
	char variable[32];

	config.n_databases = 1;
	for (unsigned i = 2; i <= DATABASES_MAX; i++) {
		const char *url;

		snprintf(variable, sizeof variable, "DATABASE_URL_%u", i);
		url = getenv(variable);
		if (url == NULL || url[0] == '\0')
			continue;
		if (i != config.n_databases + 1)
			service_config_error(variable, "is set, but DATABASE_URL_%u is not", i - 1);
		check_database(variable, url);
		config.databases[i] = xstrdup(url);
		config.n_databases = i;
	}
}

static void
check_write_mode(void)
{
	if (write_mode == NULL)
		return;
	if (strcmp(write_mode, "logical_replication") == 0) {
		if (publisher_host == NULL)
			service_config_error("LOGICAL_PUBLISHER_HOST",
			    "is not set, and ELECTRIC_WRITE_TO_PG_MODE=logical_replication needs it");
	} else if (strcmp(write_mode, "direct_writes") != 0) {
		service_config_error("ELECTRIC_WRITE_TO_PG_MODE",
		    "not logical_replication or direct_writes: \"%s\"", write_mode);
	}
}

static void
check_listening(void)
{
	unsigned char address[sizeof(struct in6_addr)];
	cpu_set_t cores;

	if (config.listen_address != NULL && inet_pton(AF_INET, config.listen_address, address) != 1 &&
	    inet_pton(AF_INET6, config.listen_address, address) != 1)
		service_config_error("LISTEN_ADDRESS", "not an IP address: \"%s\"", config.listen_address);
	if (config.websocket_port == config.http_port && config.http_port != 0)
		service_config_error("HTTP_API_PORT", "is the same as WEBSOCKET_PORT: %u", config.http_port);
	if (config.gateways == UINT_MAX) {
		CPU_ZERO(&cores);
		config.gateways =
		    sched_getaffinity(0, sizeof cores, &cores) == 0 ? (unsigned)CPU_COUNT(&cores) : 1;
		if (config.gateways > GATEWAYS_MAX)
			config.gateways = GATEWAYS_MAX;
	}
	if (config.gateways == 0 || config.gateways > GATEWAYS_MAX)
		service_config_error(
		    "WEBSOCKET_GATEWAYS", "not a number from 1 to %d: %u", GATEWAYS_MAX, config.gateways);
}

static void
check_user(void)
{
	const struct passwd *user;

	if (config.user == NULL)
		return;
	if (geteuid() != 0)
		service_config_error("LEYDEN_USER", "only root can become another user");
	errno = 0;
	user = getpwnam(config.user);
	if (user == NULL)
		service_config_error("LEYDEN_USER", "%s: %s", config.user,
		    errno != 0 ? strerror(errno) : "there is no such user");
	if (user->pw_uid == 0)
		service_config_error("LEYDEN_USER", "%s is root itself", config.user);
	config.group = user->pw_gid;
}

/* The directory of leyden's own binary. */
static char *
own_directory(void)
{
	char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);

	if (n <= 0)
		return xstrdup(".");
	path[n] = '\0';
	*strrchr(path, '/') = '\0';
	return xstrdup(path);
}

/* The tools take what is theirs from leyden's environment: put there what flags and defaults have decided. */
static void
export_options(void)
{
	char number[16];

	for (const struct option_def *o = config_options; o->target != NULL; o++) {
		const char *value = NULL;

		if (o->env == NULL)
			continue;
		if (o->type == OPT_STRING) {
			value = *(char **)o->target;
		} else {
			snprintf(number, sizeof number, "%u", *(unsigned *)o->target);
			value = number;
		}
		if (value != NULL)
			setenv(o->env, value, 1);
	}
	snprintf(number, sizeof number, "%u", config.n_databases);
	setenv("LEYDEN_DATABASES", number, 1);
	setenv("LOG_LEVEL", service_log_level(), 1);
	setenv("LEYDEN_RUN_DIR", service_run_dir(), 1);
	setenv("TZ", "UTC", 1);
	setenv("LC_ALL", "C.UTF-8", 1);
	if (getenv("PATH") == NULL)
		setenv("PATH", "/usr/local/bin:/usr/bin:/bin", 1);
}

void
config_check(void)
{
	struct sockaddr_un addr;

	check_database("DATABASE_URL", config.databases[1]);
	read_more_databases();
	check_write_mode();
	check_listening();
	if (strlen(service_run_dir()) + sizeof LONGEST_SOCKET_NAME > sizeof addr.sun_path)
		service_config_error(
		    "LEYDEN_RUN_DIR", "too long for the sockets in it: \"%s\"", service_run_dir());
	check_user();
	if (config.libexec == NULL)
		config.libexec = own_directory();
	export_options();
}

/* As libpq has understood it, without secrets; allocated. */
static char *
masked(const char *url)
{
	PQconninfoOption *parsed = PQconninfoParse(url, NULL);
	struct buf b = { 0 };
	char *text;

	for (PQconninfoOption *o = parsed; o != NULL && o->keyword != NULL; o++)
		if (o->val != NULL)
			buf_printf(&b, "%s%s=%s", b.len > 0 ? " " : "", o->keyword,
			    strchr(o->dispchar, '*') != NULL ? "***" : o->val);
	text = xstrdup(buf_cstr(&b));
	buf_clear(&b);
	PQconninfoFree(parsed);
	return text;
}

void
config_show_databases(void)
{
	config.databases[1] = masked(config.databases[1]);
	for (unsigned i = 2; i <= config.n_databases; i++) {
		char *text = masked(config.databases[i]);

		printf("DATABASE_URL_%u=%s\n", i, text);
		free(text);
	}
}
