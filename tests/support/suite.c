/* A test program of libcheck. */
#include "suite.h"

#include <stdbool.h>
#include <string.h>

#include "fail.h"

static void
fail_check(const char *sentence)
{
	ck_abort_msg("%s", sentence);
}

static bool
is_wanted(const char *name, int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], name) == 0)
			return true;
	return argc < 2;
}

int
suite_run(const struct suite_tests *s, int argc, char **argv)
{
	Suite *suite = suite_create(s->name);
	TCase *all = tcase_create(s->name);
	SRunner *runner = srunner_create(suite);
	int failed;

	test_on_fail = fail_check;
	tcase_set_timeout(all, 0);
	tcase_add_unchecked_fixture(all, s->set_up, s->tear_down);
	for (size_t i = 0; i < s->n; i++)
		if (is_wanted(s->tests[i]->name, argc, argv))
			tcase_add_test(all, s->tests[i]);
	suite_add_tcase(suite, all);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
