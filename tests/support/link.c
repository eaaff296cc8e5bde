/* A link that a test can cut. */
#include "link.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fail.h"

#define PAIRS_MAX 128

static struct sockaddr_in
loopback(unsigned port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

/* Carries what has come from one end to the other; false: one of them is gone. */
static bool
carry(int from, int to)
{
	char bytes[65536];
	ssize_t n = read(from, bytes, sizeof bytes);

	for (ssize_t at = 0, w; at < n; at += w)
		if ((w = write(to, bytes + at, (size_t)(n - at))) <= 0)
			return false;
	return n > 0;
}

static void
accept_pair(int listening, unsigned to, struct pollfd *ends, nfds_t *n)
{
	struct sockaddr_in address = loopback(to);
	int near = accept(listening, NULL, NULL), far = socket(AF_INET, SOCK_STREAM, 0);

	if (near < 0 || far < 0 || *n + 2 > 1 + 2 * PAIRS_MAX ||
	    connect(far, (struct sockaddr *)&address, sizeof address) != 0) {
		close(near);
		close(far);
		return;
	}
	ends[(*n)++] = (struct pollfd){ near, POLLIN, 0 };
	ends[(*n)++] = (struct pollfd){ far, POLLIN, 0 };
}

/* The ends of one connection stand beside each other, after the listening socket. */
static void
serve(int listening, unsigned to)
{
	struct pollfd ends[1 + 2 * PAIRS_MAX] = { { listening, POLLIN, 0 } };
	nfds_t n = 1;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_IGN);
	while (poll(ends, n, -1) > 0) {
		for (nfds_t i = 1; i < n; i += 2) {
			bool ok = (ends[i].revents == 0 || carry(ends[i].fd, ends[i + 1].fd)) &&
				  (ends[i + 1].revents == 0 || carry(ends[i + 1].fd, ends[i].fd));

			if (ok)
				continue;
			close(ends[i].fd);
			close(ends[i + 1].fd);
			n -= 2;
			ends[i] = ends[n];
			ends[i + 1] = ends[n + 1];
			i -= 2;
		}
		if (ends[0].revents != 0)
			accept_pair(listening, to, ends, &n);
	}
	_exit(1);
}

void
test_link_mend(struct test_link *link)
{
	link->pid = fork();
	if (link->pid == 0)
		serve(link->listening, link->to);
}

void
test_link_start(struct test_link *link, unsigned to)
{
	struct sockaddr_in address = loopback(0);
	socklen_t n = sizeof address;

	link->to = to;
	link->listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(link->listening, (struct sockaddr *)&address, sizeof address) != 0 ||
	    listen(link->listening, 64) != 0 ||
	    getsockname(link->listening, (struct sockaddr *)&address, &n) != 0)
		test_fail("a link cannot listen");
	link->port = ntohs(address.sin_port);
	test_link_mend(link);
}

void
test_link_hang(struct test_link *link)
{
	kill(link->pid, SIGSTOP);
}

void
test_link_go_on(struct test_link *link)
{
	kill(link->pid, SIGCONT);
}

void
test_link_break(struct test_link *link)
{
	kill(link->pid, SIGKILL);
	waitpid(link->pid, NULL, 0);
	link->pid = 0;
}

void
test_link_end(struct test_link *link)
{
	if (link->pid > 0)
		test_link_break(link);
	close(link->listening);
}

unsigned
test_url_port(const char *url)
{
	const char *host = strstr(url, "127.0.0.1:");

	if (host == NULL)
		test_fail("no port in %s", url);
	return (unsigned)atoi(host + strlen("127.0.0.1:"));
}

const char *
test_link_url(const struct test_link *link, const char *url)
{
	static char out[600];
	const char *host = strstr(url, "127.0.0.1:"), *end = strchr(host + strlen("127.0.0.1:"), '/');

	snprintf(out, sizeof out, "%.*s127.0.0.1:%u%s", (int)(host - url), url, link->port, end);
	return out;
}
