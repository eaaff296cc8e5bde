/* A test program of libcheck: what all of them do around their tests. */
#ifndef TESTS_SUITE_H
#define TESTS_SUITE_H

#include <check.h>
#include <stddef.h>

struct suite_tests {
	const char *name;
	const TTest *const *tests; /* in the order in which they run */
	size_t n;
	void (*set_up)(void), (*tear_down)(void); /* once, around all of them; NULL: nothing */
};

/* Runs all tests, or those that argv names, in this process; the exit code. What test_fail() says fails the
 * test. */
int suite_run(const struct suite_tests *suite, int argc, char **argv);

#endif
