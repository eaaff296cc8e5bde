/* Two throwaway Postgres for one service. */
#include "pair.h"

#include <stdio.h>
#include <string.h>

#include "fail.h"

void
test_pair_start(struct test_service *first, struct test_service *second, const char *options)
{
	static char url[600];

	test_postgres_start(first, options);
	test_postgres_start(second, options);
	snprintf(url, sizeof url, "DATABASE_URL_2=%s", second->url);
	first->env[0] = "AUTH_MODE=insecure";
	first->env[1] = url;
}

void
test_pair_await_equal(
    const struct test_service *first, const struct test_service *second, const char *table, const char *rows)
{
	char sum[300], hash[64];

	test_sql_await(first, rows, "SELECT count(*) FROM %s", table);
	test_sql_await(second, rows, "SELECT count(*) FROM %s", table);
	snprintf(sum, sizeof sum,
	    "SELECT coalesce(md5(string_agg(t::text, ';' ORDER BY t.id)), '') FROM %s AS t", table);
	for (int i = 0; i < 200; i++) {
		snprintf(hash, sizeof hash, "%s", test_sql(first, "%s", sum));
		if (strcmp(hash, test_sql(second, "%s", sum)) == 0)
			return;
		test_sql(first, "SELECT pg_sleep(0.05)");
	}
	test_fail("%s is not the same in both", table);
}

void
test_pair_end(struct test_service *first, struct test_service *second)
{
	int code = test_leyden_stop(first);

	if (code != 0)
		test_fail("leyden ended with %d", code);
	if (test_log_has(first, "runtime error") || test_log_has(first, "Sanitizer"))
		test_fail("a tool has met undefined behaviour");
	test_service_end(first);
	test_service_end(second);
}
