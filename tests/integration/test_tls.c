/*
 * TLS with a real chain of certificates: wss:// and https:// served directly, certificates renewed while
 * clients are there, and Postgres whose certificate is verified in full.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fail.h"
#include "sat_client.h"
#include "suite.h"
#include "testbed.h"

#define UPGRADE                                                                                              \
	"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"               \
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

static char certificate[300], key[300];
static struct test_service service = { .env = { "AUTH_MODE=insecure", "WEBSOCKET_GATEWAYS=1", certificate,
					   key, NULL } };

static void
set_up(void)
{
	test_postgres_start(&service, "fsync=off");
	test_shell("tests/support/certificates %s server", service.dir);
	snprintf(certificate, sizeof certificate, "LISTEN_TLS_CERT=%s/server.pem", service.dir);
	snprintf(key, sizeof key, "LISTEN_TLS_KEY=%s/server.key", service.dir);
	test_leyden_start(&service);
}

static void
tear_down(void)
{
	ck_assert_int_eq(test_leyden_stop(&service), 0);
	test_service_end(&service);
}

// ---- a client that looks at certificates

struct secure {
	int fd;
	SSL_CTX *context;
	SSL *ssl;
};

/* Connects, TLS of at most this version. False: the handshake failed. */
static bool
secure_open(struct secure *s, int version)
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
		.sin_port = htons((uint16_t)service.port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct timeval limit = { .tv_sec = (time_t)AWAIT_SECONDS };
	char root[300];

	snprintf(root, sizeof root, "%s/root.pem", service.dir);
	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(s->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	ck_assert_int_eq(connect(s->fd, (struct sockaddr *)&addr, sizeof addr), 0);
	s->context = SSL_CTX_new(TLS_client_method());
	ck_assert_int_eq(SSL_CTX_load_verify_locations(s->context, root, NULL), 1);
	SSL_CTX_set_verify(s->context, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_min_proto_version(s->context, TLS1_VERSION);
	SSL_CTX_set_max_proto_version(s->context, version);
	SSL_CTX_set_security_level(s->context, version < TLS1_2_VERSION ? 0 : 2);
	s->ssl = SSL_new(s->context);
	SSL_set1_host(s->ssl, "localhost");
	SSL_set_fd(s->ssl, s->fd);
	return SSL_connect(s->ssl) == 1;
}

static void
secure_free(struct secure *s)
{
	SSL_free(s->ssl);
	SSL_CTX_free(s->context);
	close(s->fd);
}

static void
secure_write(struct secure *s, const void *p, size_t n)
{
	ck_assert_int_eq(SSL_write(s->ssl, p, (int)n), (int)n);
}

static void
secure_read(struct secure *s, uint8_t *p, size_t n)
{
	while (n > 0) {
		int got = SSL_read(s->ssl, p, (int)n);

		ck_assert_int_gt(got, 0);
		p += got;
		n -= (size_t)got;
	}
}

/* Completes the upgrade; what the server answers ends with an empty line. */
static void
secure_upgrade(struct secure *s)
{
	char answer[1024] = "";

	secure_write(s, UPGRADE, strlen(UPGRADE));
	for (size_t n = 0; strstr(answer, "\r\n\r\n") == NULL; n++)
		secure_read(s, (uint8_t *)answer + n, 1);
	ck_assert_int_eq(strncmp(answer, "HTTP/1.1 101 ", 13), 0);
}

static void
secure_open_websocket(struct secure *s)
{
	ck_assert(secure_open(s, TLS1_3_VERSION));
	secure_upgrade(s);
}

/* It answers: a ping of the websocket is as good as any message. */
static void
expect_served(struct secure *s)
{
	uint8_t pong[3];

	secure_write(s, "\x89\x81\0\0\0\0x", 7);
	secure_read(s, pong, sizeof pong);
	ck_assert_int_eq(memcmp(pong, "\x8a\x01x", 3), 0);
}

/* The serial number of the certificate that the server has shown; static. */
static const char *
serial(struct secure *s)
{
	static char text[128];
	X509 *shown = SSL_get1_peer_certificate(s->ssl);
	BIGNUM *number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(shown), NULL);
	char *hex = BN_bn2hex(number);

	snprintf(text, sizeof text, "%s", hex);
	OPENSSL_free(hex);
	BN_free(number);
	X509_free(shown);
	return text;
}

/* The status of a request whose certificate is verified. */
static const char *
curl(const char *flags)
{
	return test_shell(
	    "curl -s -o /dev/null -w '%%{http_code}' --cacert %s/root.pem %s https://localhost:%u/healthz",
	    service.dir, flags, service.http);
}

// ----

START_TEST(websocket_inside_tls)
{
	struct secure s;

	secure_open_websocket(&s);
	expect_served(&s);
	/* A byte at a time, each a record; and many frames in one record. */
	for (const char *p = "\x89\x81\0\0\0\0y"; p < "\x89\x81\0\0\0\0y" + 7; p++)
		secure_write(&s, p, 1);
	{
		uint8_t pong[3];

		secure_read(&s, pong, sizeof pong);
		ck_assert_int_eq(memcmp(pong, "\x8a\x01y", 3), 0);
	}
	secure_write(&s, "\x88\x82\0\0\0\0\x03\xe8", 8);
	{
		uint8_t close_frame[4], more;

		secure_read(&s, close_frame, sizeof close_frame);
		ck_assert_int_eq(memcmp(close_frame, "\x88\x02\x03\xe8", 4), 0);
		ck_assert_int_eq(SSL_read(s.ssl, &more, 1), 0);
		ck_assert_int_eq(SSL_get_error(s.ssl, 0), SSL_ERROR_ZERO_RETURN); /* not cut off */
	}
	secure_free(&s);
}
END_TEST

/* More than the socket and a record take at once, both ways. */
START_TEST(long_messages_inside_tls)
{
	enum { PINGS = 2000, SIZE = 125 };
	static uint8_t frames[PINGS][6 + SIZE], pong[2 + SIZE];
	struct secure s;
	unsigned pongs = 0;

	secure_open_websocket(&s);
	for (unsigned i = 0; i < PINGS; i++) {
		memcpy(frames[i], "\x89\xfd\0\0\0\0", 6);
		memset(frames[i] + 6, (int)i, SIZE);
	}
	secure_write(&s, frames, sizeof frames);
	secure_write(&s, "\x88\x80\0\0\0\0", 6);
	for (;;) {
		secure_read(&s, pong, 2);
		if (pong[0] == 0x88)
			break;
		ck_assert_int_eq(memcmp(pong, "\x8a\x7d", 2), 0);
		secure_read(&s, pong + 2, SIZE);
		for (unsigned i = 1; i < SIZE; i++)
			ck_assert_uint_eq(pong[2 + i], pong[2]);
		pongs++;
	}
	ck_assert_uint_gt(pongs, 0);
	secure_free(&s);
}
END_TEST

START_TEST(old_versions_are_refused)
{
	struct secure s;

	ck_assert(secure_open(&s, TLS1_2_VERSION));
	secure_upgrade(&s);
	secure_free(&s);
	ck_assert(!secure_open(&s, TLS1_1_VERSION));
	secure_free(&s);
	ck_assert_str_eq(curl("--tlsv1.2 --tls-max 1.2"), "200");
	ck_assert_str_eq(test_shell("curl -s --ciphers DEFAULT@SECLEVEL=0 --tls-max 1.1 --tlsv1.1 -k "
				    "https://localhost:%u/api/status; echo $?",
			     service.http),
	    "35");
}
END_TEST

START_TEST(http_inside_tls)
{
	ck_assert_str_eq(curl(""), "200");
	/* Nothing is served in the clear. */
	ck_assert_str_ne(
	    test_shell("curl -s http://localhost:%u/api/status >&2; echo $?", service.http), "0");
	ck_assert_str_ne(test_shell("curl -s http://localhost:%u/ws >&2; echo $?", service.port), "0");
}
END_TEST

START_TEST(certificates_are_renewed)
{
	struct secure before, after;
	char old[128];

	secure_open_websocket(&before);
	snprintf(old, sizeof old, "%s", serial(&before));
	test_shell("tests/support/certificates %s server", service.dir);
	kill(service.pid, SIGHUP);
	/* Both tools say so. */
	test_shell_await("2", "grep -c certificate-read %s/service.log", service.dir);
	secure_open_websocket(&after);
	ck_assert_str_ne(serial(&after), old);
	expect_served(&after);
	expect_served(&before);
	ck_assert_str_eq(curl(""), "200");
	secure_free(&before);
	secure_free(&after);
	/* A key that is of another certificate changes nothing. */
	test_shell("cp %s/server.key %s/kept.key && cp %s/root.key %s/server.key", service.dir, service.dir,
	    service.dir, service.dir);
	kill(service.pid, SIGHUP);
	test_shell_await("2", "grep -c certificate-kept %s/service.log", service.dir);
	secure_open_websocket(&after);
	expect_served(&after);
	secure_free(&after);
	ck_assert_str_eq(curl(""), "200");
	test_shell("mv %s/kept.key %s/server.key", service.dir, service.dir);
}
END_TEST

START_TEST(certificates_that_cannot_work_are_named)
{
	struct test_service other = service;

	other.pid = 0;
	other.port = other.http = 0;
	other.env[2] = "LISTEN_TLS_CERT=/nowhere.pem";
	ck_assert_int_eq(test_leyden_run(&other), 78);
	ck_assert(test_log_has(&other, "/nowhere.pem: No such file or directory"));
	other.env[3] = "LISTEN_TLS_KEY=";
	ck_assert_int_eq(test_leyden_run(&other), 78);
	ck_assert(test_log_has(&other, "variable=LISTEN_TLS_KEY"));
}
END_TEST

// ---- Postgres

/* Each connection of the service to Postgres is inside TLS, by a certificate that was verified. */
START_TEST(postgres_is_verified)
{
	struct test_service other = { .env = { "AUTH_MODE=insecure", NULL } };
	char plain[512];

	snprintf(other.dir, sizeof other.dir, "%.200s/verified", service.dir);
	test_shell(
	    "mkdir -m 711 %s && tests/support/certificates %s pg && tests/support/certificates %s elsewhere "
	    "elsewhere.example && mkdir %s/wrong && tests/support/certificates %s/wrong pg",
	    other.dir, other.dir, other.dir, other.dir, other.dir);
	/* The server's user reads its key. */
	test_shell("test $(id -u) != 0 || chown postgres %s/*.key", other.dir);
	test_postgres_start(&other, NULL);
	snprintf(plain, sizeof plain, "%s", other.url);
	test_postgres_stop(&other, "fast");
	{
		char settings[1024];

		snprintf(settings, sizeof settings,
		    "fsync=off ssl=on ssl_cert_file=%s/pg.pem ssl_key_file=%s/pg.key", other.dir, other.dir);
		test_postgres_start(&other, settings);
	}
	snprintf(other.url, sizeof other.url, "%.200s?sslmode=verify-full&sslrootcert=%.200s/root.pem", plain,
	    other.dir);
	test_leyden_start(&other);
	ck_assert_str_eq(test_sql(&other, "SELECT count(*) > 2 AND bool_and(s.ssl) FROM pg_stat_activity a "
					  "JOIN pg_stat_ssl s USING (pid) WHERE a.client_addr IS NOT NULL"),
	    "t");
	ck_assert_int_eq(test_leyden_stop(&other), 0);
	/* Another authority's certificate, and one for another host, are refused: the service waits. */
	for (int i = 0; i < 2; i++) {
		if (i == 1) {
			char settings[1024];

			test_postgres_stop(&other, "fast");
			snprintf(settings, sizeof settings,
			    "fsync=off ssl=on ssl_cert_file=%s/elsewhere.pem ssl_key_file=%s/elsewhere.key",
			    other.dir, other.dir);
			test_postgres_start(&other, settings);
		}
		snprintf(other.url, sizeof other.url,
		    "%.200s?sslmode=verify-full&sslrootcert=%.200s%s/root.pem", plain, other.dir,
		    i == 0 ? "/wrong" : "");
		other.port = other.http = 0;
		test_leyden_begin(&other);
		test_log_await(&other, i == 0 ? "certificate verify failed" : "elsewhere.example");
		ck_assert_int_eq(test_leyden_stop(&other), 0);
	}
	test_service_end(&other);
}
END_TEST

/* Where the service is built with sanitizers, what they find stands in its log. */
START_TEST(sanitizers_have_found_nothing)
{
	ck_assert(!test_log_has(&service, "runtime error"));
	ck_assert(!test_log_has(&service, "Sanitizer"));
}
END_TEST

int
main(int argc, char **argv)
{
	const TTest *const tests[] = { websocket_inside_tls, long_messages_inside_tls,
		old_versions_are_refused, http_inside_tls, certificates_are_renewed,
		certificates_that_cannot_work_are_named, postgres_is_verified,
		sanitizers_have_found_nothing };

	return suite_run(
	    &(struct suite_tests){ "tls", tests, sizeof tests / sizeof *tests, set_up, tear_down }, argc,
	    argv);
}
