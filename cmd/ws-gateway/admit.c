/* Who may connect. */
#include "admit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <search.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conn.h"
#include "figures.h"
#include "log.h"
#include "peer.h"
#include "xalloc.h"

#define ACCEPT_RUN     64  /* connections accepted in one turn */
#define LISTEN_AGAIN   0.5 /* seconds until it is tried again, unless there is room before */
#define STRANGERS_TURN 1.0 /* seconds that a stranger has before it gives way to another */

/* The connections from one address. */
struct place {
	struct in6_addr network;
	unsigned n;
};

struct admit_limits admit_limits;
static void *places; /* tree, by network */
static ev_io listener;
static ev_timer listen_again;
static bool waiting; /* the listener is stopped until there is room */
static bool said_delayed;

// ---- addresses

/* IPv4 as it is mapped into IPv6; of IPv6 the network, as one host has all of its addresses. */
static struct in6_addr
network_of(const struct sockaddr_storage *addr)
{
	struct in6_addr a = { .s6_addr = { [10] = 0xff, [11] = 0xff } };

	if (addr->ss_family == AF_INET) {
		memcpy(&a.s6_addr[12], &((const struct sockaddr_in *)addr)->sin_addr, 4);
		return a;
	}
	a = ((const struct sockaddr_in6 *)addr)->sin6_addr;
	if (!IN6_IS_ADDR_V4MAPPED(&a))
		memset(&a.s6_addr[8], 0, 8);
	return a;
}

static int
by_network(const void *a, const void *b)
{
	return memcmp(&((const struct place *)a)->network, &((const struct place *)b)->network,
	    sizeof(struct in6_addr));
}

/* Counts one more; false when that is too many. */
static bool
place_take(const struct sockaddr_storage *addr)
{
	struct place wanted = { .network = network_of(addr) }, *place, **at;

	at = tfind(&wanted, &places, by_network);
	if (at == NULL) {
		place = xcalloc(1, sizeof *place);
		place->network = wanted.network;
		at = tsearch(place, &places, by_network);
	}
	place = *at;
	if (admit_limits.per_address != 0 && place->n >= admit_limits.per_address)
		return false;
	place->n++;
	return true;
}

void
admit_gone(const struct sockaddr_storage *addr)
{
	struct place wanted = { .network = network_of(addr) };
	struct place *place = *(struct place **)tfind(&wanted, &places, by_network);

	if (--place->n == 0) {
		tdelete(place, &places, by_network);
		free(place);
	}
	admit_room();
}

// ---- accepting

static void
wait_for_room(double seconds)
{
	waiting = true;
	ev_io_stop(loop(), &listener);
	ev_timer_stop(loop(), &listen_again);
	ev_timer_set(&listen_again, seconds, 0.);
	ev_timer_start(loop(), &listen_again);
}

void
admit_room(void)
{
	if (!waiting)
		return;
	waiting = false;
	ev_timer_stop(loop(), &listen_again);
	ev_io_start(loop(), &listener);
}

static void
on_listen_again(struct ev_loop *l, ev_timer *w, int events)
{
	(void)l;
	(void)w;
	(void)events;
	admit_room();
}

/* Said without the port: who knocks again and again is counted. */
static void
refuse(int fd, const struct sockaddr_storage *addr, const char *why)
{
	struct in6_addr network = network_of(addr);
	char text[INET6_ADDRSTRLEN] = "";

	figures.refused_connections++;
	inet_ntop(AF_INET6, &network, text, sizeof text);
	log_warning("connection-refused", "address=%s why=%s",
	    IN6_IS_ADDR_V4MAPPED(&network) ? strrchr(text, ':') + 1 : text, log_quote(why));
	close(fd);
}

/* No connection came, or none can be taken. */
static void
not_accepted(void)
{
	if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM)
		return;
	/* It stays in the backlog; asking again at once would spin. */
	if (!said_delayed)
		log_warning("accept-delayed", "error=%s", log_quote(strerror(errno)));
	said_delayed = true;
	wait_for_room(LISTEN_AGAIN);
}

static void
take(int fd, const struct sockaddr_storage *addr)
{
	if (conn_strangers() >= admit_limits.strangers)
		conn_dismiss_stranger();
	conn_new(fd, addr);
}

static void
on_accept(struct ev_loop *l, ev_io *w, int events)
{
	(void)l;
	(void)events;
	for (int i = 0; i < ACCEPT_RUN; i++) {
		struct sockaddr_storage addr = { 0 };
		socklen_t len = sizeof addr;
		int fd;

		if (conn_strangers() >= admit_limits.strangers && conn_stranger_age() < STRANGERS_TURN) {
			wait_for_room(STRANGERS_TURN / 4);
			return;
		}
		fd = accept4(w->fd, (struct sockaddr *)&addr, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0) {
			not_accepted();
			return;
		}
		said_delayed = false;
		if (conn_count() >= admit_limits.connections)
			refuse(fd, &addr, "too many connections");
		else if (!place_take(&addr))
			refuse(fd, &addr, "too many connections from one address");
		else
			take(fd, &addr);
	}
}

void
admit_listen(int fd)
{
	ev_init(&listen_again, on_listen_again);
	ev_io_init(&listener, on_accept, fd, EV_READ);
	ev_io_start(loop(), &listener);
}

void
admit_stop(void)
{
	waiting = false;
	ev_io_stop(loop(), &listener);
	ev_timer_stop(loop(), &listen_again);
}
