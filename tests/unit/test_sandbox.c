/* What a process can still do in the sandbox: each case in a process of its own, as there is no way back. */
#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"
#include "sandbox.h"

/* Each is something to try: errno, or 0 when it was allowed. */

static int
open_to_read(void)
{
	int fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);

	return fd >= 0 ? close(fd), 0 : errno;
}

static int
open_to_write(void)
{
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

	return fd >= 0 ? close(fd), 0 : errno;
}

static int
make_file(void)
{
	char name[] = "/tmp/leyden-test-sandbox-XXXXXX";
	int fd = mkstemp(name);

	if (fd >= 0)
		close(fd);
	return fd >= 0 ? unlink(name), 0 : errno;
}

static int
dial(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return fd >= 0 ? close(fd), 0 : errno;
}

static int
ask_neighbour(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return fd >= 0 ? close(fd), 0 : errno;
}

static int
start_program(void)
{
	execl("/bin/true", "true", (char *)NULL);
	return errno;
}

static int
start_process(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	return pid > 0 ? waitpid(pid, NULL, 0), 0 : errno;
}

static int
look_into_another(void)
{
	return ptrace(PTRACE_ATTACH, getppid(), NULL, NULL) == 0 ? 0 : errno;
}

static int
become_another(void)
{
	return setuid(12345) == 0 ? 0 : errno;
}

static int
raise_limits(void)
{
	struct rlimit files = { 8, 8 };

	return setrlimit(RLIMIT_NOFILE, &files) == 0 ? 0 : errno;
}

static int
read_status(void)
{
	struct stat st;

	return fstat(STDERR_FILENO, &st) == 0 ? 0 : errno;
}

static int
use_memory(void)
{
	size_t n = 64 * 1024 * 1024;
	char *p = malloc(n);

	memset(p, 1, n);
	p = realloc(p, 2 * n);
	free(p);
	return 0;
}

static const struct {
	const char *what;
	int (*try)(void);
	unsigned needs; /* any of these; 0: always allowed; ~0: never */
} attempts[] = {
	{ "open to read", open_to_read, SANDBOX_READ | SANDBOX_FILES | SANDBOX_DIAL },
	{ "open to write", open_to_write, SANDBOX_FILES },
	{ "make a file", make_file, SANDBOX_FILES },
	{ "dial", dial, SANDBOX_DIAL },
	{ "ask a neighbour", ask_neighbour, 0 },
	{ "start a program", start_program, ~0u },
	{ "start a process", start_process, ~0u },
	{ "look into another", look_into_another, ~0u },
	{ "become another", become_another, ~0u },
	{ "raise limits", raise_limits, ~0u },
	{ "read a file's status", read_status, 0 },
	{ "use memory", use_memory, 0 },
};

START_TEST(only_what_is_listed)
{
	static const unsigned kinds[] = { 0, SANDBOX_READ, SANDBOX_FILES, SANDBOX_DIAL,
		SANDBOX_DIAL | SANDBOX_FILES };
	unsigned kind = kinds[_i];

	for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++) {
		bool allowed =
		    attempts[i].needs == 0 || (attempts[i].needs != ~0u && (attempts[i].needs & kind) != 0);
		pid_t pid = fork();
		int status;

		if (pid == 0) {
			sandbox_enter(kind);
			_exit(attempts[i].try());
		}
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == (allowed ? 0 : EPERM),
		    "%s in sandbox %u: status %x", attempts[i].what, kind, status);
	}
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("sandbox");
	TCase *cases = tcase_create("sandbox");
	SRunner *runner;
	int failed;

#if !defined(__SANITIZE_ADDRESS__) /* there, calls are not filtered */
	tcase_add_loop_test(cases, only_what_is_listed, 0, 5);
#else
	(void)only_what_is_listed;
#endif
	suite_add_tcase(suite, cases);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
