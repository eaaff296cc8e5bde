/*
 * Postgres' text forms.
 *
 * Links with the library only.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "pgtext.h"

static struct arena arena;

static void
teardown(void)
{
	arena_clear(&arena);
}

/* The elements joined by "|", NULL as "-"; NULL: it does not parse. */
static char *
join(bool parsed, const struct sat_value *v, size_t n)
{
	char *out = arena_strdup(&arena, "");

	if (!parsed)
		return NULL;
	for (size_t i = 0; i < n; i++)
		out = arena_printf(&arena, "%s%s%s", out, i > 0 ? "|" : "",
		    v[i].text != NULL ? (const char *)v[i].text : "-");
	return out;
}

static char *
array(const char *text)
{
	struct sat_value *v;
	size_t n;
	bool parsed = pgtext_array(&arena, text, strlen(text), &v, &n);

	return join(parsed, v, n);
}

static char *
composite(const char *text)
{
	struct sat_value *v;
	size_t n;
	bool parsed = pgtext_composite(&arena, text, strlen(text), &v, &n);

	return join(parsed, v, n);
}

START_TEST(arrays)
{
	static const char *const bad[] = { "", "{", "}", "{a", "a}", "{a,}", "{,a}", "{\"a}", "{a}b}",
		"{{a}}", "{\\}", "{a},{b}", "{{}}" };

	ck_assert_str_eq(array("{}"), "");
	ck_assert_str_eq(array("{a}"), "a");
	ck_assert_str_eq(array("{a,NULL,\"NULL\",\"\"}"), "a|-|NULL|");
	ck_assert_str_eq(array("{\"a,}\\\"\\\\\",b c}"), "a,}\"\\|b c");
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		ck_assert_msg(array(bad[i]) == NULL, "parsed: %s", bad[i]);
}
END_TEST

START_TEST(composites)
{
	static const char *const bad[] = { "", "(", ")", "(a", "a)", "(\"a)", "(a)b)", "(a\\)" };

	ck_assert_str_eq(composite("()"), "-");
	ck_assert_str_eq(composite("(1,)"), "1|-");
	ck_assert_str_eq(composite("(1,\"\")"), "1|");
	ck_assert_str_eq(composite("(\"a\"\"b\",\"c\\\\,)\")"), "a\"b|c\\,)");
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		ck_assert_msg(composite(bad[i]) == NULL, "parsed: %s", bad[i]);
}
END_TEST

static char *
tags(const char *text, unsigned instance)
{
	struct pgtext_tag *t;
	size_t n;
	char *out = arena_strdup(&arena, "");

	if (!pgtext_tags(&arena, text, strlen(text), &t, &n))
		return NULL;
	for (size_t i = 0; i < n; i++)
		out = arena_printf(
		    &arena, "%s%s%s", out, i > 0 ? " " : "", pgtext_tag_wire(&arena, &t[i], instance));
	return out;
}

START_TEST(tags_of_rows)
{
	static const char *const bad[] = { "{(1,)}", "{\"(1)\"}", "{\"(,A)\"}", "{\"(x,A)\"}", "{\"(1x,A)\"}",
		"{\"(1,A,B)\"}", "{\"(99999999999999999999,A)\"}" };

	ck_assert_str_eq(tags("{}", 1), "");
	ck_assert_str_eq(tags("{\"(1686009600000,)\",\"(1686009600000,A)\"}", 1),
	    "postgres_1@1686009600000 A@1686009600000");
	ck_assert_str_eq(tags("{\"(0,)\"}", 12), "postgres_12@0");
	/* A source that needs quotes in the composite, and so twice in the array. */
	ck_assert_str_eq(tags("{\"(5,\\\"a,\\\"\\\"b\\\\\\\\c\\\")\"}", 1), "a,\"b\\c@5");
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		ck_assert_msg(tags(bad[i], 1) == NULL, "parsed: %s", bad[i]);
}
END_TEST

static int64_t
timestamp(const char *text)
{
	int64_t ms = -1;

	return pgtext_timestamp_ms(text, strlen(text), &ms) ? ms : -1;
}

START_TEST(timestamps)
{
	ck_assert_int_eq(timestamp("1970-01-01 00:00:00+00"), 0);
	ck_assert_int_eq(timestamp("2023-06-06 00:00:00+00"), INT64_C(1686009600000));
	ck_assert_int_eq(timestamp("2024-02-29 12:34:56.789123+00"), INT64_C(1709210096789));
	ck_assert_int_eq(timestamp("2000-03-01 00:00:00.5+00"), INT64_C(951868800500));
	ck_assert_int_eq(timestamp("2023-06-06 00:00:00.1+02"), -1);
	ck_assert_int_eq(timestamp("2023-13-06 00:00:00+00"), -1);
	ck_assert_int_eq(timestamp("infinity"), -1);
	ck_assert_int_eq(timestamp("-044-01-15 00:00:00+00"), -1);
	ck_assert_int_eq(timestamp("2023-06-06 00:00: 0+00"), -1);
	ck_assert_int_eq(timestamp(""), -1);
}
END_TEST

START_TEST(copy_lines)
{
	char line[] = "a\\tb\t\\N\t\t\\\\N\tx\\n\\r\\b\\f\\v\\.\\101\n", short_line[] = "a\tb\n",
	     empty[] = "";
	struct sat_value f[5];

	ck_assert(pgtext_copy_line(line, sizeof line - 1, f, 5));
	ck_assert_uint_eq(f[0].len, 3);
	ck_assert_mem_eq(f[0].text, "a\tb", 3);
	ck_assert_ptr_null(f[1].text);
	ck_assert_ptr_nonnull(f[2].text);
	ck_assert_uint_eq(f[2].len, 0);
	ck_assert_mem_eq(f[3].text, "\\N", 2);
	ck_assert_uint_eq(f[4].len, 8);
	ck_assert_mem_eq(f[4].text, "x\n\r\b\f\v.A", 8);
	ck_assert(!pgtext_copy_line(short_line, sizeof short_line - 1, f, 3));
	ck_assert(!pgtext_copy_line(short_line, sizeof short_line - 1, f, 1));
	ck_assert(pgtext_copy_line(empty, 0, f, 1));
	ck_assert_uint_eq(f[0].len, 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("pgtext");
	TCase *c = tcase_create("pgtext");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(c, NULL, teardown);
	tcase_add_test(c, arrays);
	tcase_add_test(c, composites);
	tcase_add_test(c, tags_of_rows);
	tcase_add_test(c, timestamps);
	tcase_add_test(c, copy_lines);
	suite_add_tcase(s, c);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
