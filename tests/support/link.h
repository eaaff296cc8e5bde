/*
 * A link between the service and a Postgres that a test can cut: a process that carries bytes between a port
 * of its own and another one on 127.0.0.1.
 */
#ifndef TESTS_LINK_H
#define TESTS_LINK_H

#include <sys/types.h>

struct test_link {
	pid_t pid;
	int listening; /* the socket of its port, which stays open while the link is down */
	unsigned port; /* its own */
	unsigned to;
};

/* Opens a link to the port. */
void test_link_start(struct test_link *link, unsigned to);
/* Nothing comes through, and nobody is told. */
void test_link_hang(struct test_link *link);
void test_link_go_on(struct test_link *link);
/* All that is connected is lost; until test_link_mend(), who connects anew gets no answer. */
void test_link_break(struct test_link *link);
void test_link_mend(struct test_link *link);
void test_link_end(struct test_link *link);

/* The URL with the port of the link in the place of its own: static. */
const char *test_link_url(const struct test_link *link, const char *url);
/* The port in a URL of a throwaway Postgres. */
unsigned test_url_port(const char *url);

#endif
