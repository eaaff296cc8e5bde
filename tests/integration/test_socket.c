/*
 * A gateway that faces the internet: RFC 6455 byte by byte on a real socket, and the limits on who connects.
 * The service's limits are low here; each test leaves no connection behind.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "buf.h"
#include "fail.h"
#include "sat_client.h"
#include "suite.h"
#include "testbed.h"

#define CONNECTIONS 20
#define PER_ADDRESS 12
#define STRANGERS   6
#define MAX_MESSAGE (256 * 1024)
#define MAX_FRAME   (128 * 1024)

#define FIN    0x80
#define BINARY 2
#define CLOSE  8
#define PING   9
#define PONG   10

static struct test_service service = { .env = { "AUTH_MODE=insecure", "WEBSOCKET_GATEWAYS=1",
					   "WS_GATEWAY_MAX_MESSAGE=256k", "WS_GATEWAY_MAX_FRAME=128k",
					   "WS_GATEWAY_MAX_CONNECTIONS=20", "WS_GATEWAY_MAX_PER_ADDRESS=12",
					   "WS_GATEWAY_MAX_UNAUTHENTICATED=6", "WS_GATEWAY_HANDSHAKE_TIME=2",
					   "WS_GATEWAY_AUTH_TIME=3", NULL } };

static void
set_up(void)
{
	test_postgres_start(&service, "fsync=off");
	test_leyden_start(&service);
}

static void
tear_down(void)
{
	ck_assert_int_eq(test_leyden_stop(&service), 0);
	/* Lines that were counted are told at the end. */
	if (test_log_has(&service, "too many connections from one address"))
		ck_assert(
		    test_log_has(&service, "too many connections from one address\" repeated=4 seconds="));
	test_service_end(&service);
}

// ---- a socket without manners

struct raw {
	int fd;
	struct buf in;
};

#define REQUEST_LINE "GET /ws HTTP/1.1\r\n"
#define HOST	     "Host: localhost\r\n"
#define UPGRADE	     "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define KEY	     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define VERSION	     "Sec-WebSocket-Version: 13\r\n"
#define GOOD	     REQUEST_LINE HOST UPGRADE KEY VERSION "\r\n"

/* Connects from 127.0.0.N. */
static struct raw
raw_connect(unsigned n)
{
	struct sockaddr_in from = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK - 1 + n) };
	struct sockaddr_in to = { .sin_family = AF_INET,
		.sin_port = htons((uint16_t)service.port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct timeval limit = { .tv_sec = (time_t)AWAIT_SECONDS };
	int little = 65536; /* the kernel shall not take what the test leaves */
	struct raw c = { .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) };

	setsockopt(c.fd, SOL_SOCKET, SO_RCVBUF, &little, sizeof little);
	setsockopt(c.fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	setsockopt(c.fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
	ck_assert_int_eq(bind(c.fd, (struct sockaddr *)&from, sizeof from), 0);
	ck_assert_int_eq(connect(c.fd, (struct sockaddr *)&to, sizeof to), 0);
	return c;
}

static void
raw_send(struct raw *c, const void *p, size_t n)
{
	ck_assert_int_eq(send(c->fd, p, n, MSG_NOSIGNAL), (ssize_t)n);
}

/* Reads more; false at the end, however it came. */
static bool
raw_more(struct raw *c)
{
	ssize_t n = recv(c->fd, buf_room(&c->in, 65536), 65536, 0);

	if (n < 0 && errno == EAGAIN)
		test_fail("nothing came, and no end");
	if (n > 0)
		buf_added(&c->in, (size_t)n);
	return n > 0;
}

static void
raw_free(struct raw *c)
{
	close(c->fd);
	buf_clear(&c->in);
}

static void
raw_await_end(struct raw *c)
{
	while (raw_more(c))
		;
	raw_free(c);
}

/* The status line of the answer to a request, as far as it is sent; static. */
static const char *
raw_status(struct raw *c)
{
	static char line[128];

	while (strstr(buf_cstr(&c->in), "\r\n\r\n") == NULL)
		if (!raw_more(c))
			return "";
	snprintf(line, sizeof line, "%s", buf_cstr(&c->in));
	line[strcspn(line, "\r")] = '\0';
	return line;
}

static struct raw
raw_open_from(unsigned n)
{
	struct raw c = raw_connect(n);
	char *end;

	raw_send(&c, GOOD, strlen(GOOD));
	ck_assert_str_eq(raw_status(&c), "HTTP/1.1 101 Switching Protocols");
	end = strstr(buf_cstr(&c.in), "\r\n\r\n") + 4;
	buf_take(&c.in, (size_t)(end - (char *)buf_data(&c.in)));
	return c;
}

static struct raw
raw_open(void)
{
	return raw_open_from(1);
}

/* A frame as a client sends it: first byte, masked payload. Appended. */
static void
put_frame(struct buf *b, uint8_t first, const void *payload, size_t n)
{
	static const uint8_t mask[4] = { 1, 2, 3, 4 };
	uint8_t head[14] = { first };
	size_t head_n = 2;

	head[1] = (uint8_t)(0x80 | (n < 126 ? n : n < 65536 ? 126 : 127));
	if (n >= 126 && n < 65536) {
		head[2] = (uint8_t)(n >> 8);
		head[3] = (uint8_t)n;
		head_n = 4;
	} else if (n >= 65536) {
		be64_set(head + 2, n);
		head_n = 10;
	}
	buf_put(b, head, head_n);
	buf_put(b, mask, 4);
	for (size_t i = 0; i < n; i++) {
		uint8_t byte = ((const uint8_t *)payload)[i] ^ mask[i % 4];

		buf_put(b, &byte, 1);
	}
}

static void
raw_frame(struct raw *c, uint8_t first, const void *payload, size_t n)
{
	struct buf b = { 0 };

	put_frame(&b, first, payload, n);
	raw_send(c, buf_data(&b), b.len);
	buf_clear(&b);
}

/* A frame from the server, good until the next; false at the end. */
struct frame {
	uint8_t first;
	size_t n;
	uint8_t payload[65536];
};

static bool
raw_read(struct raw *c, struct frame *f)
{
	for (;;) {
		const uint8_t *p = buf_data(&c->in);
		size_t head = c->in.len >= 2 && p[1] == 126 ? 4 : 2;

		if (c->in.len >= head) {
			ck_assert_uint_le(p[1], 126); /* never masked, and never that long here */
			f->n = p[1] == 126 ? (size_t)p[2] << 8 | p[3] : p[1];
			if (c->in.len >= head + f->n) {
				f->first = p[0];
				memcpy(f->payload, p + head, f->n);
				buf_take(&c->in, head + f->n);
				return true;
			}
		}
		if (!raw_more(c))
			return false;
	}
}

static void
expect_frame(struct raw *c, uint8_t first, const void *payload, size_t n)
{
	static struct frame f;

	ck_assert(raw_read(c, &f));
	ck_assert_uint_eq(f.first, first);
	ck_assert_uint_eq(f.n, n);
	ck_assert(n == 0 || memcmp(f.payload, payload, n) == 0);
}

/* A close frame with this status (0: none), and the end. */
static void
expect_close(struct raw *c, unsigned status, const char *what)
{
	static struct frame f;

	do {
		if (!raw_read(c, &f))
			test_fail("%s: the end came without a close frame", what);
	} while (f.first != (FIN | CLOSE));
	if ((f.n >= 2 ? (unsigned)f.payload[0] << 8 | f.payload[1] : 0) != status)
		test_fail("%s: closed with %u, not %u", what,
		    f.n >= 2 ? (unsigned)f.payload[0] << 8 | f.payload[1] : 0, status);
	if (raw_read(c, &f))
		test_fail("%s: something came after the close frame", what);
	raw_free(c);
}

/* The request that logs a client in, as a message. */
static void
put_login(struct buf *b, const char *id, const char *token)
{
	SatAuthReq auth = SAT_AUTH_REQ__INIT;
	SatAuthHeaderPair version = SAT_AUTH_HEADER_PAIR__INIT, *headers[] = { &version };
	uint8_t code = SAT_AUTH_REQ;

	version.key = SAT_AUTH_HEADER__PROTO_VERSION;
	version.value = (char *)(uintptr_t) "Electric.Satellite.v1_4";
	auth.id = (char *)(uintptr_t)id;
	auth.token = (char *)(uintptr_t)token;
	auth.headers = headers;
	auth.n_headers = 1;
	buf_put(b, &code, 1);
	buf_added(b, sat_auth_req__pack(&auth, buf_room(b, sat_auth_req__get_packed_size(&auth))));
}

/* Awaits the answer to it. */
static void
expect_login(struct raw *c)
{
	static struct frame f;

	ck_assert(raw_read(c, &f));
	ck_assert_uint_eq(f.first, FIN | BINARY);
	ck_assert_uint_eq(f.payload[0], SAT_AUTH_RESP);
	ck_assert(raw_read(c, &f));
	ck_assert_uint_eq(f.payload[0], SAT_START_REQ);
}

static void
raw_login(struct raw *c, const char *id)
{
	struct buf b = { 0 };

	put_login(&b, id, sat_token("ann"));
	raw_frame(c, FIN | BINARY, buf_data(&b), b.len);
	buf_clear(&b);
	expect_login(c);
}

/* It answers. */
static void
expect_served(struct raw *c)
{
	static const uint8_t ping = SAT_PING_REQ, pong[] = { SAT_PING_RESP, 0x0a, 0 };

	raw_frame(c, FIN | BINARY, &ping, 1);
	expect_frame(c, FIN | BINARY, pong, sizeof pong);
}

// ---- the upgrade

START_TEST(requests_are_judged)
{
	static const struct {
		const char *request;
		unsigned status;
	} cases[] = {
		{ GOOD, 101 },
		{ "GET /ws?client=1 HTTP/1.1\r\n" HOST UPGRADE KEY VERSION "\r\n", 101 },
		{ REQUEST_LINE
		    "hOST: x\r\nUPGRADE: WebSocket\r\nconnection: keep-alive, upgrade\r\n"
		    "sec-websocket-KEY:dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version:   13  \r\n\r\n",
		    101 },
		{ REQUEST_LINE HOST UPGRADE KEY VERSION
		    "Sec-WebSocket-Protocol: a, b\r\nSec-WebSocket-Extensions: permessage-deflate\r\n"
		    "Cookie: c=1\r\nOrigin: http://elsewhere\r\n\r\n",
		    101 },
		{ "GET / HTTP/1.1\r\n" HOST UPGRADE KEY VERSION "\r\n", 404 },
		{ "GET /wsx HTTP/1.1\r\n" HOST UPGRADE KEY VERSION "\r\n", 404 },
		{ "GET /ws/ HTTP/1.1\r\n" HOST UPGRADE KEY VERSION "\r\n", 404 },
		{ "GET /../ws HTTP/1.1\r\n" HOST UPGRADE KEY VERSION "\r\n", 404 },
		{ "POST /ws HTTP/1.1\r\n" HOST UPGRADE KEY VERSION "\r\n", 405 },
		{ "HEAD /ws HTTP/1.1\r\n" HOST UPGRADE KEY VERSION "\r\n", 405 },
		{ REQUEST_LINE HOST "\r\n", 426 },
		{ REQUEST_LINE HOST "Upgrade: websocket\r\n" KEY VERSION "\r\n", 426 },
		{ REQUEST_LINE HOST "Connection: Upgrade\r\n" KEY VERSION "\r\n", 426 },
		{ REQUEST_LINE HOST "Upgrade: websockets\r\nConnection: Upgrade\r\n" KEY VERSION "\r\n",
		    426 },
		{ REQUEST_LINE HOST "Upgrade: h2c\r\nConnection: Upgrade\r\n" KEY VERSION "\r\n", 426 },
		{ "GET /ws HTTP/1.0\r\n" HOST UPGRADE KEY VERSION "\r\n", 426 },
		{ REQUEST_LINE HOST UPGRADE KEY "\r\n", 426 },
		{ REQUEST_LINE HOST UPGRADE KEY "Sec-WebSocket-Version: 8\r\n\r\n", 426 },
		{ REQUEST_LINE HOST UPGRADE KEY "Sec-WebSocket-Version: 13, 8\r\n\r\n", 426 },
		{ REQUEST_LINE HOST UPGRADE KEY VERSION VERSION "\r\n", 426 },
		{ REQUEST_LINE UPGRADE KEY VERSION "\r\n", 400 },
		{ REQUEST_LINE HOST HOST UPGRADE KEY VERSION "\r\n", 400 },
		{ REQUEST_LINE HOST UPGRADE VERSION "\r\n", 400 },
		{ REQUEST_LINE HOST UPGRADE KEY KEY VERSION "\r\n", 400 },
		{ REQUEST_LINE HOST UPGRADE "Sec-WebSocket-Key: short\r\n" VERSION "\r\n", 400 },
		{ REQUEST_LINE HOST UPGRADE "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZ!==\r\n" VERSION "\r\n",
		    400 },
		{ "\x16\x03\x01\x02\x01\x01\x01\xfc\x03\x03\r\n\r\n", 400 }, /* TLS, to the wrong port */
		{ "nonsense\r\n\r\n", 400 },
		{ "GET /ws\r\n\r\n", 426 },
		{ REQUEST_LINE "No colon\r\n\r\n", 400 },
		{ REQUEST_LINE HOST "Bad\x01name: x\r\n" UPGRADE KEY VERSION "\r\n", 400 },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct raw c = raw_connect(1);
		char wanted[32];

		raw_send(&c, cases[i].request, strlen(cases[i].request));
		snprintf(wanted, sizeof wanted, "HTTP/1.1 %u ", cases[i].status);
		if (strncmp(raw_status(&c), wanted, strlen(wanted)) != 0)
			test_fail("answered %s to %s", raw_status(&c), cases[i].request);
		if (cases[i].status == 101) {
			ck_assert_ptr_nonnull(strstr(
			    buf_cstr(&c.in), "\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
			ck_assert_ptr_null(strstr(buf_cstr(&c.in), "Sec-WebSocket-Protocol"));
			ck_assert_ptr_null(strstr(buf_cstr(&c.in), "Sec-WebSocket-Extensions"));
			raw_free(&c);
			continue;
		}
		if (cases[i].status == 426)
			ck_assert_ptr_nonnull(strstr(buf_cstr(&c.in), "\r\nUpgrade: websocket\r\n"));
		raw_await_end(&c);
	}
}
END_TEST

START_TEST(request_may_come_in_pieces)
{
	struct raw c = raw_connect(1);
	struct buf b = { 0 };

	for (const char *p = GOOD; *p != '\0'; p++)
		raw_send(&c, p, 1);
	ck_assert_str_eq(raw_status(&c), "HTTP/1.1 101 Switching Protocols");
	raw_free(&c);
	/* The first message is in the same packet. */
	c = raw_connect(1);
	buf_puts(&b, GOOD);
	put_frame(&b, FIN | PING, "x", 1);
	raw_send(&c, buf_data(&b), b.len);
	ck_assert_str_eq(raw_status(&c), "HTTP/1.1 101 Switching Protocols");
	buf_take(&c.in, (size_t)(strstr(buf_cstr(&c.in), "\r\n\r\n") + 4 - (char *)buf_data(&c.in)));
	expect_frame(&c, FIN | PONG, "x", 1);
	raw_free(&c);
	buf_clear(&b);
}
END_TEST

START_TEST(request_has_an_end)
{
	struct raw c = raw_connect(1);
	char line[1024];

	/* Headers without end are refused at a size. */
	memset(line, 'a', sizeof line);
	memcpy(line, "X: ", 3);
	memcpy(line + sizeof line - 2, "\r\n", 2);
	raw_send(&c, REQUEST_LINE HOST, strlen(REQUEST_LINE HOST));
	for (int i = 0; i < 16; i++)
		raw_send(&c, line, sizeof line);
	ck_assert_str_eq(raw_status(&c), "HTTP/1.1 431 Request Header Fields Too Large");
	raw_free(&c);
	/* And one that does not go on, at a time. */
	c = raw_connect(1);
	raw_send(&c, REQUEST_LINE HOST, strlen(REQUEST_LINE HOST));
	raw_await_end(&c);
	c = raw_connect(1);
	raw_await_end(&c);
}
END_TEST

// ---- frames

START_TEST(frames_against_the_rules)
{
	static const struct {
		const char *what;
		size_t n;
		const char *bytes;
		unsigned status;
	} cases[] = {
		{ "unmasked", 3, "\x82\x01\x03", 1002 },
		{ "unmasked ping", 2, "\x89\x00", 1002 },
		{ "RSV1", 6, "\xc2\x80\0\0\0\0", 1002 },
		{ "RSV2", 6, "\xa2\x80\0\0\0\0", 1002 },
		{ "RSV3", 6, "\x92\x80\0\0\0\0", 1002 },
		{ "RSV1 on a ping", 6, "\xc9\x80\0\0\0\0", 1002 },
		{ "opcode 3", 6, "\x83\x80\0\0\0\0", 1002 },
		{ "opcode 4", 6, "\x84\x80\0\0\0\0", 1002 },
		{ "opcode 5", 6, "\x85\x80\0\0\0\0", 1002 },
		{ "opcode 6", 6, "\x86\x80\0\0\0\0", 1002 },
		{ "opcode 7", 6, "\x87\x80\0\0\0\0", 1002 },
		{ "opcode 11", 6, "\x8b\x80\0\0\0\0", 1002 },
		{ "opcode 12", 6, "\x8c\x80\0\0\0\0", 1002 },
		{ "opcode 13", 6, "\x8d\x80\0\0\0\0", 1002 },
		{ "opcode 14", 6, "\x8e\x80\0\0\0\0", 1002 },
		{ "opcode 15", 6, "\x8f\x80\0\0\0\0", 1002 },
		{ "continuation of nothing", 6, "\x80\x80\0\0\0\0", 1002 },
		{ "unfinished continuation of nothing", 6, "\x00\x80\0\0\0\0", 1002 },
		{ "a message inside another", 14, "\x02\x81\0\0\0\0\x03\x82\x81\0\0\0\0\x03", 1002 },
		{ "a text inside a message", 14, "\x02\x81\0\0\0\0\x03\x81\x81\0\0\0\0\x03", 1002 },
		{ "a ping in fragments", 6, "\x09\x80\0\0\0\0", 1002 },
		{ "a pong in fragments", 6, "\x0a\x80\0\0\0\0", 1002 },
		{ "a close in fragments", 6, "\x08\x80\0\0\0\0", 1002 },
		{ "a ping of 126 bytes", 8, "\x89\xfe\0\x7e\0\0\0\0", 1002 },
		{ "a close of 126 bytes", 8, "\x88\xfe\0\x7e\0\0\0\0", 1002 },
		{ "16 bits for a length of 125", 8, "\x82\xfe\0\x7d\0\0\0\0", 1002 },
		{ "64 bits for a length of 65535", 14, "\x82\xff\0\0\0\0\0\0\xff\xff\0\0\0\0", 1002 },
		{ "the highest bit of 64", 14, "\x82\xff\x80\0\0\0\0\0\0\0\0\0\0\0", 1002 },
		{ "a length beyond all limits", 15, "\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0\3",
		    1009 },
		{ "a frame over the limit", 15, "\x82\xff\0\0\0\0\0\x02\0\x01\0\0\0\0\3", 1009 },
		{ "a close of 1 byte", 7, "\x88\x81\0\0\0\0\x03", 1002 },
		{ "a close for no reason that may be sent", 8, "\x88\x82\0\0\0\0\x03\xed", 1002 }, /* 1005 */
		{ "close 0", 8, "\x88\x82\0\0\0\0\0\0", 1002 },
		{ "close 999", 8, "\x88\x82\0\0\0\0\x03\xe7", 1002 },
		{ "close 1004", 8, "\x88\x82\0\0\0\0\x03\xec", 1002 },
		{ "close 1006", 8, "\x88\x82\0\0\0\0\x03\xee", 1002 },
		{ "close 1015", 8, "\x88\x82\0\0\0\0\x03\xf7", 1002 },
		{ "close 2999", 8, "\x88\x82\0\0\0\0\x0b\xb7", 1002 },
		{ "close 5000", 8, "\x88\x82\0\0\0\0\x13\x88", 1002 },
		{ "a close with a reason that is no UTF-8", 9, "\x88\x83\0\0\0\0\x03\xe8\xff", 1007 },
		{ "close 1000", 8, "\x88\x82\0\0\0\0\x03\xe8", 1000 },
		{ "close 1001", 8, "\x88\x82\0\0\0\0\x03\xe9", 1001 },
		{ "close 3000", 8, "\x88\x82\0\0\0\0\x0b\xb8", 3000 },
		{ "close 4999", 8, "\x88\x82\0\0\0\0\x13\x87", 4999 },
		{ "close with a reason", 11,
		    "\x88\x85\0\0\0\0\x03\xe8"
		    "bye",
		    1000 },
		{ "close without a status", 6, "\x88\x80\0\0\0\0", 0 },
		{ "close, and more", 15, "\x88\x82\0\0\0\0\x03\xe8\x89\x81\0\0\0\0\x03", 1000 },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct raw whole = raw_open(), pieces = raw_open();

		raw_send(&whole, cases[i].bytes, cases[i].n);
		expect_close(&whole, cases[i].status, cases[i].what);
		for (size_t k = 0; k < cases[i].n; k++)
			if (send(pieces.fd, cases[i].bytes + k, 1, MSG_NOSIGNAL) != 1)
				break; /* it has been refused on the way */
		expect_close(&pieces, cases[i].status, cases[i].what);
	}
}
END_TEST

START_TEST(texts_are_refused)
{
	static const struct {
		const char *bytes;
		size_t n;
	} cases[] = { { "\x81\x85\0\0\0\0hello", 11 }, { "\x01\x81\0\0\0\0h", 7 }, { "\x81\x80\0\0\0\0", 6 },
		{ "\x81\x82\0\0\0\0\xff\xff", 8 } };
	static const uint8_t internal = SAT_ERROR_RESP;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct raw c = raw_open();

		raw_send(&c, cases[i].bytes, cases[i].n);
		expect_frame(&c, FIN | BINARY, &internal, 1);
		expect_close(&c, 0, "a text");
	}
}
END_TEST

START_TEST(pings_are_answered)
{
	struct raw c = raw_open();
	char payload[125];

	memset(payload, 'p', sizeof payload);
	for (size_t n = 0; n <= sizeof payload; n += 25) {
		raw_frame(&c, FIN | PING, payload, n);
		expect_frame(&c, FIN | PONG, payload, n);
	}
	raw_frame(&c, FIN | PONG, "unasked", 7);
	raw_login(&c, "pinged");
	raw_frame(&c, FIN | PING, "x", 1);
	expect_frame(&c, FIN | PONG, "x", 1);
	raw_free(&c);
}
END_TEST

/* A message in any fragments, control frames between them, every byte on its own. */
START_TEST(fragments_make_a_message)
{
	struct buf message = { 0 }, b = { 0 };

	put_login(&message, "fragments", sat_token("ann"));
	for (size_t size = 1; size <= message.len; size = size * 3 + 1) {
		struct raw c = raw_open();

		for (size_t at = 0; at < message.len; at += size) {
			size_t n = message.len - at < size ? message.len - at : size;

			put_frame(&b, (uint8_t)((at + n == message.len ? FIN : 0) | (at == 0 ? BINARY : 0)),
			    buf_data(&message) + at, n);
			if (at == 0) {
				put_frame(&b, FIN | PING, "between", 7);
				put_frame(&b, FIN | PONG, "", 0);
				put_frame(&b, 0, "", 0); /* a fragment of nothing */
			}
		}
		if (size == 4)
			for (size_t i = 0; i < b.len; i++)
				raw_send(&c, buf_data(&b) + i, 1);
		else
			raw_send(&c, buf_data(&b), b.len);
		if (size < message.len)
			expect_frame(&c, FIN | PONG, "between", 7);
		expect_login(&c);
		buf_take(&b, b.len);
		raw_frame(&c, FIN | CLOSE, "\x03\xe8", 2);
		expect_close(&c, 1000, "after the fragments");
	}
	buf_clear(&message);
	buf_clear(&b);
}
END_TEST

START_TEST(messages_have_a_limit)
{
	static uint8_t much[MAX_FRAME];
	struct raw c = raw_open();
	struct buf b = { 0 };
	char *token = malloc(100 * 1024);

	/* Fragments within the limit of frames, a message that is over its own; strangers have less. */
	raw_frame(&c, BINARY, much, sizeof much);
	raw_frame(&c, 0, much, 1);
	expect_close(&c, 1009, "a stranger's long message");
	c = raw_open();
	raw_login(&c, "long");
	raw_frame(&c, BINARY, much, sizeof much);
	raw_frame(&c, 0, much, sizeof much);
	raw_frame(&c, FIN, much, 1);
	expect_close(&c, 1009, "a long message");
	c = raw_open();
	raw_login(&c, "long");
	raw_send(&c, "\x02\xff\0\0\0\0\0\x02\0\x01\0\0\0\0\3", 15); /* MAX_FRAME + 1 bytes */
	expect_close(&c, 1009, "a long frame");
	/* One that is as long as it may be is a message, if none of the protocol's. */
	c = raw_open();
	raw_login(&c, "long");
	much[0] = 99;
	raw_frame(&c, BINARY, much, sizeof much);
	raw_frame(&c, FIN, much, sizeof much);
	expect_frame(&c, FIN | BINARY, "\0", 1);
	expect_close(&c, 0, "a message of an unknown kind");
	/* A token that is too long is no token. */
	memset(token, 'A', 100 * 1024 - 1);
	token[100 * 1024 - 1] = '\0';
	put_login(&b, "long", token);
	c = raw_open();
	raw_frame(&c, FIN | BINARY, buf_data(&b), b.len);
	expect_frame(&c, FIN | BINARY, "\0\x08\x01", 3);
	expect_close(&c, 0, "a long token");
	free(token);
	buf_clear(&b);
}
END_TEST

/* Pings whose pongs nobody takes: they are not kept for ever. */
START_TEST(pongs_do_not_pile_up)
{
	enum { PINGS = 160000 };
	struct raw c = raw_open();
	static struct frame f;
	struct buf b = { 0 };
	char payload[125] = { 0 };
	size_t pongs = 0;

	for (int i = 0; i < PINGS; i++)
		put_frame(&b, FIN | PING, payload, sizeof payload);
	put_frame(&b, FIN | CLOSE, "\x03\xe8", 2);
	raw_send(&c, buf_data(&b), b.len);
	while (raw_read(&c, &f) && f.first == (FIN | PONG))
		pongs++;
	ck_assert_uint_eq(f.first, FIN | CLOSE);
	ck_assert_uint_gt(pongs, 0);
	ck_assert_uint_lt(pongs, PINGS / 2);
	raw_free(&c);
	buf_clear(&b);
}
END_TEST

// ---- who connects

START_TEST(strangers_have_their_time)
{
	struct raw c = raw_open();
	struct buf b = { 0 };

	/* The upgrade, then nothing, or the beginning of a message. */
	expect_frame(&c, FIN | BINARY, "\0\x08\x01", 3);
	expect_close(&c, 0, "a silent stranger");
	c = raw_open();
	put_login(&b, "slow", sat_token("ann"));
	raw_frame(&c, BINARY, buf_data(&b), b.len);
	raw_frame(&c, FIN | PING, "", 0);
	expect_frame(&c, FIN | PONG, "", 0);
	expect_frame(&c, FIN | BINARY, "\0\x08\x01", 3);
	expect_close(&c, 0, "a slow stranger");
	buf_clear(&b);
}
END_TEST

START_TEST(strangers_make_way)
{
	struct raw strangers[STRANGERS], next;

	for (int i = 0; i < STRANGERS; i++)
		strangers[i] = raw_open();
	next = raw_open();
	raw_login(&next, "patient");
	raw_await_end(&strangers[0]); /* the one that was there longest */
	for (int i = 1; i < STRANGERS; i++) {
		raw_frame(&strangers[i], FIN | PING, "", 0);
		expect_frame(&strangers[i], FIN | PONG, "", 0);
		raw_free(&strangers[i]);
	}
	raw_free(&next);
	ck_assert(test_log_has(&service, "connection-dismissed"));
}
END_TEST

START_TEST(connections_have_a_limit)
{
	struct raw in[CONNECTIONS], more;

	for (unsigned i = 0; i < CONNECTIONS; i++) {
		char id[16];

		snprintf(id, sizeof id, "many-%u", i);
		in[i] = raw_open_from(i < PER_ADDRESS ? 1 : 2);
		raw_login(&in[i], id);
		if (i + 1 == PER_ADDRESS) {
			for (int k = 0; k < 5; k++) {
				more = raw_connect(1);
				raw_await_end(&more);
			}
			ck_assert_str_eq(
			    test_shell("grep -c 'address=127.0.0.1 why=\"too many connections from"
				       " one address\"' %s/service.log",
				service.dir),
			    "1");
		}
	}
	more = raw_connect(3);
	raw_await_end(&more);
	test_log_await(&service, "\"too many connections\"");
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		expect_served(&in[i]);
		raw_free(&in[i]);
	}
}
END_TEST

static rlim_t
count_files(pid_t pid)
{
	char path[64];
	DIR *dir;
	rlim_t n = 0;

	snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
	dir = opendir(path);
	while (readdir(dir) != NULL)
		n++;
	closedir(dir);
	return n - 2;
}

/* Connections that there is no file for wait, and who is there is served. */
START_TEST(files_run_out)
{
	pid_t pid = test_tool_pid(&service, "ws-gateway", 0);
	struct raw in = raw_open(), waiting;
	struct rlimit was, few;

	raw_login(&in, "there");
	ck_assert_int_eq(prlimit(pid, RLIMIT_NOFILE, NULL, &was), 0);
	few = was;
	few.rlim_cur = count_files(pid);
	ck_assert_int_eq(prlimit(pid, RLIMIT_NOFILE, &few, NULL), 0);
	waiting = raw_connect(1);
	raw_send(&waiting, GOOD, strlen(GOOD));
	test_log_await(&service, "accept-delayed");
	expect_served(&in);
	raw_free(&in); /* one goes, one comes */
	ck_assert_str_eq(raw_status(&waiting), "HTTP/1.1 101 Switching Protocols");
	ck_assert_int_eq(prlimit(pid, RLIMIT_NOFILE, &was, NULL), 0);
	raw_free(&waiting);
}
END_TEST

/* Where the service is built with sanitizers, what they find stands in its log. */
START_TEST(sanitizers_have_found_nothing)
{
	ck_assert(!test_log_has(&service, "runtime error"));
	ck_assert(!test_log_has(&service, "Sanitizer"));
	ck_assert(!test_log_has(&service, "tool-ended"));
}
END_TEST

int
main(int argc, char **argv)
{
	const TTest *const tests[] = { requests_are_judged, request_may_come_in_pieces, request_has_an_end,
		frames_against_the_rules, texts_are_refused, pings_are_answered, fragments_make_a_message,
		messages_have_a_limit, pongs_do_not_pile_up, strangers_have_their_time, strangers_make_way,
		connections_have_a_limit, files_run_out, sanitizers_have_found_nothing };

	return suite_run(
	    &(struct suite_tests){ "socket", tests, sizeof tests / sizeof *tests, set_up, tear_down }, argc,
	    argv);
}
