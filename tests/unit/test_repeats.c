/* Which lines of the log are written, and what becomes of those that are not. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "repeats.h"

static char told[8][700]; /* lines that stand for others */
static unsigned n_told;

static void
keep(int level, const char *event, const char *text)
{
	snprintf(told[n_told++ % 8], sizeof told[0], "%d %s %s", level, event, text);
}

static bool
admit(const char *event, const char *text)
{
	return repeats_admit(LOG_LEVEL_WARNING, event, text, keep);
}

static void
forget(void)
{
	repeats_tell(true, keep);
	n_told = 0;
}

START_TEST(equal_lines_are_counted)
{
	forget();
	ck_assert(admit("door-closed", "why=full"));
	for (int i = 0; i < 3; i++)
		ck_assert(!admit("door-closed", "why=full"));
	/* Others are others. */
	ck_assert(admit("door-closed", "why=late"));
	ck_assert(admit("door-open", "why=full"));
	ck_assert(repeats_admit(LOG_LEVEL_ERROR, "door-closed", "why=full", keep));
	ck_assert_uint_eq(n_told, 0);
	ck_assert(repeats_tell(false, keep)); /* the time is not over */
	ck_assert_uint_eq(n_told, 0);
	ck_assert(!repeats_tell(true, keep));
	ck_assert_uint_eq(n_told, 1);
	ck_assert_ptr_nonnull(strstr(told[0], "2 door-closed why=full repeated=3 seconds="));
	/* And it may be written again. */
	ck_assert(admit("door-closed", "why=full"));
}
END_TEST

START_TEST(a_flood_of_one_event_is_cut_off)
{
	char text[32];
	unsigned written = 0;

	forget();
	for (int i = 0; i < REPEATS_MAX + 7; i++) {
		snprintf(text, sizeof text, "port=%d", i);
		written += admit("knock", text);
	}
	ck_assert_uint_eq(written, REPEATS_MAX);
	ck_assert(admit("something-else", "n=1"));
	repeats_tell(true, keep);
	ck_assert_uint_eq(n_told, 1);
	ck_assert_ptr_nonnull(strstr(told[0], "2 knock withheld=7 seconds="));
	ck_assert(admit("knock", "port=1"));
}
END_TEST

/* Other lines take the place of one that was counted: it is told before. */
START_TEST(no_count_is_lost)
{
	char text[32];

	forget();
	ck_assert(admit("first", "n=1"));
	ck_assert(!admit("first", "n=1"));
	for (int i = 0; i < 100; i++) {
		snprintf(text, sizeof text, "n=%d", i);
		admit("others", text);
	}
	ck_assert_uint_eq(n_told, 1);
	ck_assert_ptr_nonnull(strstr(told[0], "2 first n=1 repeated=1 seconds="));
}
END_TEST

/* Lines that differ beyond what is remembered of them are taken for equal; nothing is written past the end.
 */
START_TEST(long_lines)
{
	char text[3000];

	forget();
	memset(text, 'x', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	ck_assert(admit("long", text));
	ck_assert(!admit("long", text));
	text[0] = 'y';
	ck_assert(admit("long", text));
}
END_TEST

static void
add(void *data, const char *event, uint64_t n)
{
	if (strcmp(event, "knock") == 0)
		*(uint64_t *)data += n;
}

START_TEST(all_are_in_the_totals)
{
	uint64_t before = 0, after = 0;

	repeats_totals(LOG_LEVEL_WARNING, add, &before);
	for (int i = 0; i < 10; i++)
		admit("knock", "again");
	repeats_totals(LOG_LEVEL_WARNING, add, &after);
	ck_assert_uint_eq(after - before, 10);
	repeats_totals(LOG_LEVEL_ERROR, add, &after);
	ck_assert_uint_eq(after - before, 10);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("repeats");
	TCase *all = tcase_create("repeats");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_test(all, equal_lines_are_counted);
	tcase_add_test(all, a_flood_of_one_event_is_cut_off);
	tcase_add_test(all, no_count_is_lost);
	tcase_add_test(all, long_lines);
	tcase_add_test(all, all_are_in_the_totals);
	suite_add_tcase(suite, all);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
