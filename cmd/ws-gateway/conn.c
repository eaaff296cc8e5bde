/* One websocket connection. */
#include "conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ev.h>
#include <netinet/tcp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>
#include <wslay/wslay.h>

#include "buf.h"
#include "client.h"
#include "handshake.h"
#include "log.h"
#include "peer.h"
#include "xalloc.h"

#define READ_SIZE    16384
#define CLOSE_TIME   2.0 /* seconds for the other side to take a close frame */
#define ACCEPT_RUN   64	 /* connections accepted in one turn */
#define LISTEN_AGAIN 0.5 /* seconds until connections are accepted again after there were too many files */

enum conn_state {
	CONN_HANDSHAKE, /* the HTTP request is being read */
	CONN_OPEN,	/* messages both ways */
	CONN_CLOSING	/* what is queued goes out, then the socket is closed; nothing is read */
};

struct conn {
	struct conn *prev, *next;
	enum conn_state state;
	int fd;
	ev_io io;
	ev_timer deadline;
	wslay_event_context_ptr ws;
	struct buf in;	    /* bytes not yet parsed */
	struct chunk **out; /* ring of chunks to be sent */
	size_t out_cap, out_head, out_count, out_offset, out_bytes;
	bool paused, parsing;
	struct client *client;
	char address[INET6_ADDRSTRLEN + 8];
};

struct conn_limits conn_limits;
static struct conn *all;
static size_t count;
static ev_io listener;
static ev_timer listen_again;

// ---- end of a connection

static void
destroy(struct conn *c)
{
	if (c->client != NULL)
		client_closed(c->client);
	ev_io_stop(loop(), &c->io);
	ev_timer_stop(loop(), &c->deadline);
	close(c->fd);
	if (c->ws != NULL)
		wslay_event_context_free(c->ws);
	for (; c->out_count > 0; c->out_count--, c->out_head = (c->out_head + 1) % c->out_cap)
		chunk_unref(c->out[c->out_head]);
	free(c->out);
	buf_clear(&c->in);
	*(c->prev != NULL ? &c->prev->next : &all) = c->next;
	if (c->next != NULL)
		c->next->prev = c->prev;
	free(c);
	count--;
}

static void
watch(struct conn *c)
{
	int events =
	    (c->paused || c->state == CONN_CLOSING ? 0 : EV_READ) | (c->out_count > 0 ? EV_WRITE : 0);

	/* A closing connection is read from to see the other side go. */
	if (c->state == CONN_CLOSING && c->out_count == 0)
		events = EV_READ;
	if (ev_is_active(&c->io) && (c->io.events & (EV_READ | EV_WRITE)) == events)
		return;
	ev_io_stop(loop(), &c->io);
	if (events != 0) {
		ev_io_set(&c->io, c->fd, events);
		ev_io_start(loop(), &c->io);
	}
}

// ---- out

static void
push(struct conn *c, struct chunk *chunk)
{
	if (c->out_count == c->out_cap) {
		size_t cap = c->out_cap != 0 ? c->out_cap * 2 : 8;
		struct chunk **ring = xmalloc(cap * sizeof *ring);

		for (size_t i = 0; i < c->out_count; i++)
			ring[i] = c->out[(c->out_head + i) % c->out_cap];
		free(c->out);
		c->out = ring;
		c->out_cap = cap;
		c->out_head = 0;
	}
	c->out[(c->out_head + c->out_count++) % c->out_cap] = chunk;
	c->out_bytes += chunk->len;
	watch(c);
}

void
conn_send(struct conn *c, struct chunk *chunk)
{
	if (c->state == CONN_CLOSING)
		chunk_unref(chunk);
	else
		push(c, chunk);
}

size_t
conn_pending(const struct conn *c)
{
	return c->out_bytes;
}

static void
sent(struct conn *c, size_t n)
{
	c->out_bytes -= n;
	while (n > 0) {
		struct chunk *first = c->out[c->out_head];
		size_t left = first->len - c->out_offset;

		if (n < left) {
			c->out_offset += n;
			return;
		}
		n -= left;
		c->out_offset = 0;
		c->out_head = (c->out_head + 1) % c->out_cap;
		c->out_count--;
		chunk_unref(first);
	}
}

/* Writes what the kernel takes. False: the connection is gone. */
static bool
flush(struct conn *c)
{
	while (c->out_count > 0) {
		struct iovec iov[64];
		int n_iov = 0;
		ssize_t n;

		for (size_t i = 0; i < c->out_count && n_iov < 64; i++) {
			struct chunk *chunk = c->out[(c->out_head + i) % c->out_cap];
			size_t offset = i == 0 ? c->out_offset : 0;

			iov[n_iov++] = (struct iovec){ chunk->data + offset, chunk->len - offset };
		}
		n = writev(c->fd, iov, n_iov);
		if (n >= 0) {
			sent(c, (size_t)n);
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno == EAGAIN || errno == EWOULDBLOCK)
			break;
		destroy(c);
		return false;
	}
	return true;
}

static void
begin_closing(struct conn *c)
{
	c->state = CONN_CLOSING;
	ev_timer_stop(loop(), &c->deadline);
	ev_timer_set(&c->deadline, CLOSE_TIME, 0.);
	ev_timer_start(loop(), &c->deadline);
	watch(c);
}

void
conn_close(struct conn *c, uint16_t status, const char *reason)
{
	uint8_t frame[127] = { 0x88 };
	size_t n = strlen(reason) < 120 ? strlen(reason) : 120;

	if (c->state == CONN_CLOSING)
		return;
	if (c->state == CONN_OPEN) {
		if (status != 0) {
			frame[1] = (uint8_t)(n + 2);
			frame[2] = (uint8_t)(status >> 8);
			frame[3] = (uint8_t)status;
			memcpy(frame + 4, reason, n);
		}
		push(c, chunk_raw(frame, 2 + (size_t)frame[1]));
	}
	begin_closing(c);
}

void
conn_close_all(uint16_t status, const char *reason)
{
	for (struct conn *c = all; c != NULL; c = c->next)
		conn_close(c, status, reason);
}

// ---- in

static ssize_t
on_ws_recv(wslay_event_context_ptr ws, uint8_t *p, size_t n, int flags, void *data)
{
	struct conn *c = data;

	(void)flags;
	if (c->in.len == 0 || c->paused || c->state != CONN_OPEN) {
		wslay_event_set_error(ws, WSLAY_ERR_WOULDBLOCK);
		return -1;
	}
	if (n > c->in.len)
		n = c->in.len;
	memcpy(p, buf_data(&c->in), n);
	buf_take(&c->in, n);
	return (ssize_t)n;
}

/* Control frames (pong, close) that wslay makes: they join the queue, whole frames among whole frames. */
static ssize_t
on_ws_send(wslay_event_context_ptr ws, const uint8_t *p, size_t n, int flags, void *data)
{
	struct conn *c = data;

	(void)ws;
	(void)flags;
	push(c, chunk_raw(p, n));
	return (ssize_t)n;
}

static void
on_ws_message(wslay_event_context_ptr ws, const struct wslay_event_on_msg_recv_arg *arg, void *data)
{
	struct conn *c = data;

	(void)ws;
	if (c->state != CONN_OPEN || wslay_is_ctrl_frame(arg->opcode))
		return;
	if (arg->opcode == WSLAY_TEXT_FRAME)
		client_text(c->client);
	else
		client_message(c->client, arg->msg, arg->msg_length);
}

static bool
open_websocket(struct conn *c)
{
	static const struct wslay_event_callbacks callbacks = { .recv_callback = on_ws_recv,
		.send_callback = on_ws_send,
		.on_msg_recv_callback = on_ws_message };

	if (wslay_event_context_server_init(&c->ws, &callbacks, c) != 0)
		return false;
	wslay_event_config_set_max_recv_msg_length(c->ws, conn_limits.max_message);
	ev_timer_stop(loop(), &c->deadline);
	c->state = CONN_OPEN;
	c->client = client_new(c);
	return true;
}

static void
take_handshake(struct conn *c)
{
	struct buf out = { 0 };
	enum handshake_result r = handshake(&c->in, &out);

	if (out.len > 0)
		push(c, chunk_raw(buf_data(&out), out.len));
	buf_clear(&out);
	if (r == HANDSHAKE_REFUSED || (r == HANDSHAKE_UPGRADED && !open_websocket(c)))
		conn_close(c, 0, "");
}

/* Handles the bytes that have come. */
static void
parse(struct conn *c)
{
	if (c->state == CONN_HANDSHAKE)
		take_handshake(c);
	if (c->state != CONN_OPEN || c->parsing)
		return;
	c->parsing = true;
	if (wslay_event_recv(c->ws) != 0 && c->state == CONN_OPEN) {
		log_debug("websocket-error", "address=%s", c->address);
		conn_close(c, WSLAY_CODE_PROTOCOL_ERROR, "");
	}
	if (wslay_event_want_write(c->ws) && c->state == CONN_OPEN)
		wslay_event_send(c->ws);
	/* The other side's close was answered, or wslay has refused what came: the answer is queued. */
	if (c->state == CONN_OPEN &&
	    (wslay_event_get_close_received(c->ws) || wslay_event_get_close_sent(c->ws))) {
		begin_closing(c);
		client_closed(c->client);
		c->client = NULL;
	}
	c->parsing = false;
}

static void
on_io(struct ev_loop *l, ev_io *w, int events)
{
	struct conn *c = w->data;

	(void)l;
	if (events & EV_READ) {
		ssize_t n = recv(c->fd, buf_room(&c->in, READ_SIZE), READ_SIZE, 0);

		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
			destroy(c);
			return;
		}
		if (n > 0 && c->state != CONN_CLOSING) {
			buf_added(&c->in, (size_t)n);
			parse(c);
		}
	}
	if (!flush(c))
		return;
	if (c->state == CONN_CLOSING && c->out_count == 0)
		shutdown(c->fd, SHUT_WR);
	watch(c);
	if (c->client != NULL && c->state == CONN_OPEN)
		client_writable(c->client);
}

void
conn_pause(struct conn *c)
{
	c->paused = true;
	watch(c);
}

void
conn_resume(struct conn *c)
{
	if (!c->paused)
		return;
	c->paused = false;
	watch(c);
	parse(c);
}

static void
on_deadline(struct ev_loop *l, ev_timer *w, int events)
{
	(void)l;
	(void)events;
	destroy(w->data);
}

const char *
conn_address(const struct conn *c)
{
	return c->address;
}

size_t
conn_count(void)
{
	return count;
}

// ---- accept

static void
format_address(struct conn *c, const struct sockaddr_storage *addr)
{
	char host[INET6_ADDRSTRLEN] = "?";
	unsigned port = 0;

	if (addr->ss_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)addr;

		inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
		port = ntohs(in->sin_port);
	} else if (addr->ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)addr;

		inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof host);
		port = ntohs(in6->sin6_port);
	}
	snprintf(c->address, sizeof c->address, "%s:%u", host, port);
}

static void
conn_new(int fd, const struct sockaddr_storage *addr)
{
	struct conn *c = xcalloc(1, sizeof *c);
	int one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	c->fd = fd;
	format_address(c, addr);
	c->next = all;
	if (all != NULL)
		all->prev = c;
	all = c;
	count++;
	ev_io_init(&c->io, on_io, fd, EV_READ);
	c->io.data = c;
	ev_io_start(loop(), &c->io);
	ev_timer_init(&c->deadline, on_deadline, (double)conn_limits.handshake_time, 0.);
	c->deadline.data = c;
	ev_timer_start(loop(), &c->deadline);
}

static void
on_listen_again(struct ev_loop *l, ev_timer *w, int events)
{
	(void)w;
	(void)events;
	ev_io_start(l, &listener);
}

static void
on_accept(struct ev_loop *l, ev_io *w, int events)
{
	(void)events;
	for (int i = 0; i < ACCEPT_RUN; i++) {
		struct sockaddr_storage addr;
		socklen_t len = sizeof addr;
		int fd = accept4(w->fd, (struct sockaddr *)&addr, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0 && count < conn_limits.max_connections) {
			conn_new(fd, &addr);
			continue;
		}
		if (fd >= 0) {
			log_warning("connection-refused", "why=%s", log_quote("too many connections"));
			close(fd);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			/* The connection stays in the backlog; asking again at once would spin. */
			log_warning("accept-delayed", "error=%s", log_quote(strerror(errno)));
			ev_io_stop(l, w);
			ev_timer_set(&listen_again, LISTEN_AGAIN, 0.);
			ev_timer_start(l, &listen_again);
		}
		return;
	}
}

void
conn_listen(int fd)
{
	ev_init(&listen_again, on_listen_again);
	ev_io_init(&listener, on_accept, fd, EV_READ);
	ev_io_start(loop(), &listener);
}

void
conn_stop_listening(void)
{
	ev_io_stop(loop(), &listener);
	ev_timer_stop(loop(), &listen_again);
}
