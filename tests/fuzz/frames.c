/*
 * Websocket frames, through the gateway's own connection over a socket pair. The input's first byte says into
 * what pieces the rest is cut.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../cmd/ws-gateway/admit.h"
#include "../../cmd/ws-gateway/client.h"
#include "../../cmd/ws-gateway/conn.h"
#include "../../cmd/ws-gateway/figures.h"
#include "peer.h"

#define MESSAGE_MAX 4096
#define PIECES	    16 /* at most, or nothing would come of it but system calls */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const char upgrade[] =
    "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
struct figures figures;
static unsigned clients;
static uint8_t sum; /* of all messages: each byte of them is looked at */

// ---- the client that the connection is for

struct client *
client_new(struct conn *conn)
{
	struct client *c = calloc(1, sizeof *c);

	c->conn = conn;
	clients++;
	return c;
}

void
client_closed(struct client *c)
{
	clients--;
	free(c);
}

void
client_message(struct client *c, const uint8_t *data, size_t len)
{
	if (len > MESSAGE_MAX)
		abort();
	for (size_t i = 0; i < len; i++)
		sum = (uint8_t)(sum + data[i]);
	if (len > 0 && data[0] == 'k')
		conn_known(c->conn);
	if (len > 0 && data[0] == 'c')
		conn_close(c->conn, 1000, "as asked");
}

void
client_text(struct client *c)
{
	conn_close(c->conn, 0, "");
}

void
client_late(struct client *c)
{
	conn_close(c->conn, 0, "");
}

void
client_writable(struct client *c)
{
	(void)c;
}

void
admit_gone(const struct sockaddr_storage *addr)
{
	(void)addr;
}

void
admit_room(void)
{
}

// ----

static void
feed(int fd, const void *p, size_t n)
{
	ssize_t sent = send(fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);

	(void)sent; /* it may have closed */
	ev_run(loop(), EVRUN_NOWAIT);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct sockaddr_storage addr = { .ss_family = AF_INET };
	size_t piece = n > 0 && data[0] > n / PIECES ? data[0] : n / PIECES + 1;
	int fds[2];

	conn_limits = (struct conn_limits){ MESSAGE_MAX, MESSAGE_MAX / 2, 3600, 3600, 3600 };
	setenv("LIBEV_FLAGS", "2", 1); /* poll(): no descriptors are kept between two inputs */
	if (n < 2 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0)
		return 0;
	conn_new(fds[0], &addr);
	feed(fds[1], upgrade, sizeof upgrade - 1);
	for (size_t at = 1; at < n; at += piece)
		feed(fds[1], data + at, n - at < piece ? n - at : piece);
	close(fds[1]);
	for (int i = 0; i < 4 && conn_count() > 0; i++)
		ev_run(loop(), EVRUN_NOWAIT);
	if (conn_count() != 0 || conn_strangers() != 0 || clients != 0)
		abort();
	return 0;
}
