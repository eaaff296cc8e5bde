/*
 * Two throwaway Postgres for one service: the first one's testbed is to have the service, the second one's is
 * its Postgres only.
 */
#ifndef TESTS_PAIR_H
#define TESTS_PAIR_H

#include "testbed.h"

/* Starts both Postgres with these settings. The first two of first->env are set, so that a service there has
 * both. */
void test_pair_start(struct test_service *first, struct test_service *second, const char *options);
/* Awaits that both hold so many rows of the table, which has a column id, and the same. */
void test_pair_await_equal(
    const struct test_service *first, const struct test_service *second, const char *table, const char *rows);
/* Stops the service, which must end well and have met no undefined behaviour, and removes everything. */
void test_pair_end(struct test_service *first, struct test_service *second);

#endif
