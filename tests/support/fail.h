/* Ending a test with a sentence. */
#ifndef TESTS_FAIL_H
#define TESTS_FAIL_H

/* Called instead of ending the process, when set (libcheck's ck_abort). Must not return. */
extern void (*test_on_fail)(const char *sentence);

void test_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

#endif
