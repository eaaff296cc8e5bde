/*
 * Listening TCP sockets. Several sockets share a port by SO_REUSEPORT, with which another service of the same
 * user could share it unnoticed as well: a socket without that option is therefore bound first, to see that
 * it is free.
 */
#include "listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "service.h"
#include "xalloc.h"

#define BACKLOG 4096

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static void
set_port(union address *a, unsigned port)
{
	if (a->any.sa_family == AF_INET6)
		a->v6.sin6_port = htons((uint16_t)port);
	else
		a->v4.sin_port = htons((uint16_t)port);
}

static union address
address_of(const char *text, bool v6_works)
{
	union address a = { 0 };

	if (text == NULL)
		text = v6_works ? "::" : "0.0.0.0";
	a.any.sa_family = inet_pton(AF_INET, text, &a.v4.sin_addr) == 1 ? AF_INET : AF_INET6;
	if (a.any.sa_family == AF_INET6 && inet_pton(AF_INET6, text, &a.v6.sin6_addr) != 1)
		service_config_error("LISTEN_ADDRESS", "not an IP address: \"%s\"", text);
	return a;
}

/* A bound socket, or -1 with errno. */
static int
bind_one(const union address *a, bool shared)
{
	int on = 1, off = 0, saved;
	int fd = socket(a->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (shared)
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
	if (a->any.sa_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
	if (bind(fd, &a->any, a->any.sa_family == AF_INET6 ? sizeof a->v6 : sizeof a->v4) == 0)
		return fd;
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

static bool
v6_is_there(void)
{
	union address any = address_of(NULL, true);
	int fd = bind_one(&any, false);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* The address that a socket has got. */
static union address
bound_to(int fd)
{
	union address a = { 0 };
	socklen_t n = sizeof a;

	getsockname(fd, &a.any, &n);
	return a;
}

char *
listen_name(int fd)
{
	union address a = bound_to(fd);
	char text[INET6_ADDRSTRLEN] = "";

	if (a.any.sa_family == AF_INET6) {
		inet_ntop(AF_INET6, &a.v6.sin6_addr, text, sizeof text);
		return xasprintf("[%s]:%u", text, ntohs(a.v6.sin6_port));
	}
	inet_ntop(AF_INET, &a.v4.sin_addr, text, sizeof text);
	return xasprintf("%s:%u", text, ntohs(a.v4.sin_port));
}

char *
listen_open(const char *variable, const char *address, unsigned port, int *fds, unsigned n)
{
	union address a = address_of(address, v6_is_there());

	set_port(&a, port);
	if (n > 1 && port != 0) {
		int probe = bind_one(&a, false);

		if (probe < 0)
			goto fail;
		close(probe);
	}
	for (unsigned i = 0; i < n; i++) {
		fds[i] = bind_one(&a, n > 1);
		if (fds[i] < 0)
			goto fail;
		if (i == 0)
			a = bound_to(fds[0]); /* the others get the port that the first was given */
		if (listen(fds[i], BACKLOG) != 0)
			goto fail;
	}
	return listen_name(fds[0]);
fail:
	service_config_error(errno == EADDRNOTAVAIL ? "LISTEN_ADDRESS" : variable,
	    "cannot listen on port %u: %s", port, strerror(errno));
}
