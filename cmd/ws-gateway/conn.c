/* One websocket connection: its beginning and end, what goes out, and when it is read from. */
#include "conn_state.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "admit.h"
#include "client.h"
#include "figures.h"
#include "log.h"
#include "peer.h"
#include "xalloc.h"

#define READ_SIZE	 65536
#define CLOSE_TIME	 2.0  /* seconds for the other side to take a close frame */
#define UNTAKEN_MAX	 4096 /* chunks that wait to be taken before nothing more is read: answers, mostly */
#define UNTAKEN_STRANGER 64
#define UNSENT		 65536 /* bytes that the kernel takes before the network does: else, megabytes */

struct conn_limits conn_limits;
static struct conn *all;
static struct conn *oldest_stranger, *youngest_stranger;
static size_t count, strangers;
static const struct conn *filling; /* the one whose client may add to what was written */

// ---- strangers: who has connected and not authenticated

static void
stranger_add(struct conn *c)
{
	c->is_stranger = true;
	c->older = youngest_stranger;
	*(youngest_stranger != NULL ? &youngest_stranger->younger : &oldest_stranger) = c;
	youngest_stranger = c;
	strangers++;
}

static void
stranger_remove(struct conn *c)
{
	if (!c->is_stranger)
		return;
	*(c->older != NULL ? &c->older->younger : &oldest_stranger) = c->younger;
	*(c->younger != NULL ? &c->younger->older : &youngest_stranger) = c->older;
	c->is_stranger = false;
	strangers--;
}

void
conn_known(struct conn *c)
{
	stranger_remove(c);
	ev_timer_stop(loop(), &c->deadline);
	admit_room();
}

// ---- end of a connection

static void
destroy(struct conn *c)
{
	if (c->client != NULL)
		client_closed(c->client);
	ev_io_stop(loop(), &c->io);
	ev_timer_stop(loop(), &c->deadline);
	wire_close(&c->wire);
	if (c->ws != NULL)
		wslay_event_context_free(c->ws);
	queue_clear(&c->out);
	queue_clear(&c->after);
	buf_clear(&c->in);
	buf_clear(&c->message);
	stranger_remove(c);
	*(c->prev != NULL ? &c->prev->next : &all) = c->next;
	if (c->next != NULL)
		c->next->prev = c->prev;
	count--;
	admit_gone(&c->peer);
	free(c);
}

double
conn_stranger_age(void)
{
	return oldest_stranger != NULL ? ev_now(loop()) - oldest_stranger->since : 0;
}

void
conn_dismiss_stranger(void)
{
	log_info("connection-dismissed", "address=%s why=%s", oldest_stranger->address,
	    log_quote("others wait who have not authenticated either"));
	destroy(oldest_stranger);
}

/* Who asks and does not take the answers is not read from. */
static bool
is_glutted(const struct conn *c)
{
	return c->out.count + c->after.count > (c->is_stranger ? UNTAKEN_STRANGER : UNTAKEN_MAX);
}

static void
watch(struct conn *c)
{
	int events = (c->paused || is_glutted(c) || c->state == CONN_CLOSING ? 0 : EV_READ) |
		     (c->out.count > 0 || c->wire.wants_write ? EV_WRITE : 0);

	/* A closing connection is read from to see the other side go. */
	if (c->state == CONN_CLOSING && c->out.count == 0)
		events = EV_READ;
	if ((events & EV_READ) && wire_pending(&c->wire))
		ev_feed_event(loop(), &c->io, EV_READ);
	if (ev_is_active(&c->io) && (c->io.events & (EV_READ | EV_WRITE)) == events)
		return;
	ev_io_stop(loop(), &c->io);
	if (events != 0) {
		ev_io_set(&c->io, c->wire.fd, events);
		ev_io_start(loop(), &c->io);
	}
}

// ---- out

/*
 * It is written at the end of this turn, with what else has come by then, unless the kernel is awaited
 * already. What a client adds after a write waits for the next turn, so that a fast one leaves the others
 * theirs.
 */
void
conn_push(struct conn *c, struct chunk *chunk)
{
	if (c->out.count == 0)
		c->untaken_since = ev_now(loop());
	queue_put(&c->out, chunk);
	c->out_bytes += chunk->len;
	if (c == filling)
		watch(c);
	else if (!ev_is_active(&c->io) || !(c->io.events & EV_WRITE))
		ev_feed_event(loop(), &c->io, EV_WRITE);
}

void
conn_send(struct conn *c, struct chunk *chunk)
{
	if (c->state == CONN_CLOSING) {
		chunk_unref(chunk);
		return;
	}
	if (c->in_message && !chunk_continues(chunk)) {
		queue_put(&c->after, chunk);
		return;
	}
	conn_push(c, chunk);
	c->in_message = chunk_goes_on(chunk);
	while (!c->in_message && c->after.count > 0)
		conn_push(c, queue_take(&c->after));
}

bool
conn_in_message(const struct conn *c)
{
	return c->in_message;
}

size_t
conn_pending(const struct conn *c)
{
	return c->out_bytes;
}

double
conn_untaken_for(const struct conn *c)
{
	return c->out.count > 0 ? ev_now(loop()) - c->untaken_since : 0.;
}

static void
sent(struct conn *c, size_t n)
{
	c->out_bytes -= n;
	while (n > 0) {
		const struct chunk *first = queue_at(&c->out, 0);
		size_t left = first->len - c->out_offset;

		if (n < left) {
			c->out_offset += n;
			return;
		}
		n -= left;
		c->out_offset = 0;
		chunk_unref(queue_take(&c->out));
	}
}

/* Writes what the kernel takes. False: the connection is gone. */
static bool
flush(struct conn *c)
{
	while (c->out.count > 0) {
		struct iovec iov[64];
		int n_iov = 0;
		ssize_t n;

		for (size_t i = 0; i < c->out.count && n_iov < 64; i++) {
			struct chunk *chunk = queue_at(&c->out, i);
			size_t offset = i == 0 ? c->out_offset : 0;

			iov[n_iov++] = (struct iovec){ chunk->data + offset, chunk->len - offset };
		}
		n = wire_write(&c->wire, iov, n_iov);
		if (n >= 0) {
			sent(c, (size_t)n);
			figures.sent_bytes += (uint64_t)n;
			c->untaken_since = ev_now(loop());
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

void
conn_begin_closing(struct conn *c)
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
		conn_push(c, chunk_raw(frame, 2 + (size_t)frame[1]));
	}
	conn_begin_closing(c);
}

void
conn_close_all(uint16_t status, const char *reason)
{
	for (struct conn *c = all; c != NULL; c = c->next)
		conn_close(c, status, reason);
}

static void
on_io(struct ev_loop *l, ev_io *w, int events)
{
	struct conn *c = w->data;

	(void)l;
	if ((events & EV_READ) || c->wire.wants_write) {
		static uint8_t bytes[READ_SIZE];
		ssize_t n = wire_read(&c->wire, bytes, sizeof bytes);

		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
			destroy(c);
			return;
		}
		if (n > 0)
			figures.received_bytes += (uint64_t)n;
		if (n > 0 && c->state != CONN_CLOSING) {
			buf_put(&c->in, bytes, (size_t)n);
			conn_parse(c);
		}
	}
	if (!flush(c))
		return;
	if (c->state == CONN_CLOSING && c->out.count == 0)
		wire_shutdown(&c->wire);
	watch(c);
	if (c->client == NULL || c->state != CONN_OPEN)
		return;
	filling = c;
	client_writable(c->client);
	filling = NULL;
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
	conn_parse(c);
}

static void
on_deadline(struct ev_loop *l, ev_timer *w, int events)
{
	struct conn *c = w->data;

	(void)l;
	(void)events;
	if (c->state == CONN_OPEN)
		client_late(c->client);
	else
		destroy(c);
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

size_t
conn_strangers(void)
{
	return strangers;
}

// ---- the beginning

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

void
conn_new(int fd, const struct sockaddr_storage *addr)
{
	struct conn *c = xcalloc(1, sizeof *c);
	int one = 1, unsent = UNSENT;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof unsent);
	wire_open(&c->wire, fd);
	c->since = ev_now(loop());
	c->peer = *addr;
	format_address(c, addr);
	stranger_add(c);
	c->next = all;
	if (all != NULL)
		all->prev = c;
	all = c;
	count++;
	figures.connections++;
	ev_io_init(&c->io, on_io, fd, EV_READ);
	c->io.data = c;
	ev_io_start(loop(), &c->io);
	ev_timer_init(&c->deadline, on_deadline, (double)conn_limits.handshake_time, 0.);
	c->deadline.data = c;
	ev_timer_start(loop(), &c->deadline);
}
