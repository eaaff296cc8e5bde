/*
 * A child process. It gets fds 0 to 2, and at 3 to 5 what service.h says; every other fd is closed. Of the
 * environment it gets what every tool needs and what its row of the process table lists.
 */
#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "config.h"
#include "exits.h"
#include "log.h"
#include "service.h"
#include "xalloc.h"

extern char **environ;

#define CONTROL_FD 3
#define PORT_FD	   4
#define READY_FD   5

static const char everyones[] = "PATH LOG_LEVEL LEYDEN_RUN_DIR TZ LC_ALL";

/* Is the variable (a NAME=value) one of these names? */
static bool
listed(const char *variable, const char *names)
{
	size_t n = strcspn(variable, "=");

	while (*names != '\0') {
		size_t m = strcspn(names, " ");

		if (m == n && strncmp(variable, names, n) == 0)
			return true;
		if (m > 0 && names[m - 1] == '*' && n >= m - 1 && strncmp(variable, names, m - 1) == 0)
			return true;
		names += m + (names[m] != '\0');
	}
	return false;
}

static char **
environment(const struct spawn *s)
{
	size_t n = 0, kept = 0;
	char **env;

	if (s->program->per == PER_DATABASE)
		setenv("DATABASE_URL", config.databases[s->index], 1);
	while (environ[n] != NULL)
		n++;
	env = xcalloc(n + 4, sizeof *env);
	for (size_t i = 0; i < n; i++) {
		const char *value = strchr(environ[i], '=');

		if (value == NULL || value[1] == '\0')
			continue;
		if (listed(environ[i], everyones) || listed(environ[i], s->program->variables))
			env[kept++] = environ[i];
	}
	if (s->control >= 0)
		env[kept++] = xasprintf("%s=%d", SERVICE_SOCKET_FD, CONTROL_FD);
	if (s->port >= 0)
		env[kept++] = xasprintf("%s=%d", SERVICE_PORT_FD, PORT_FD);
	if (s->ready >= 0)
		env[kept++] = xasprintf("%s=%d", SERVICE_READY_FD, READY_FD);
	return env;
}

/* All the child's fds in their places. */
static void
arrange_fds(const struct spawn *s)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int from[] = { s->control, s->port, s->ready };

	for (int i = 0; i < 3; i++) /* out of the way of each other's places */
		if (from[i] >= 0)
			from[i] = fcntl(from[i], F_DUPFD_CLOEXEC, READY_FD + 1);
	dup2(null, STDIN_FILENO);
	if (s->check)
		dup2(null, STDOUT_FILENO);
	for (int i = 0; i < 3; i++) {
		if (from[i] >= 0)
			dup2(from[i], CONTROL_FD + i);
		else
			close(CONTROL_FD + i);
	}
	close_range(READY_FD + 1, ~0U, 0);
}

/* Of the tool's own user, or of the one that all share, there is no way back to root. The group is one for
 * all: it is how they reach each other's sockets. */
static void
drop_privileges(const char *tool)
{
	char *own = xasprintf("%s-%s", config.user, tool);
	const struct passwd *user = getpwnam(own);

	if (user == NULL || user->pw_uid == 0)
		user = getpwnam(config.user);
	if (user == NULL || user->pw_uid == 0 || setgroups(0, NULL) != 0 ||
	    setresgid(config.group, config.group, config.group) != 0 ||
	    setresuid(user->pw_uid, user->pw_uid, user->pw_uid) != 0) {
		log_error("configuration", "variable=LEYDEN_USER user=%s error=%s", log_quote(own),
		    log_quote(strerror(errno)));
		_exit(EX_CONFIG);
	}
	setenv("HOME", user->pw_dir, 1); /* where libpq looks for files */
	free(own);
}

static void __attribute__((noreturn)) become(const struct spawn *s, pid_t parent)
{
	const struct program *program = s->program;
	char *path = xasprintf("%s/%s", config.libexec, program->tool);
	char *index = xasprintf("%u", s->index);
	char *argv[5] = { (char *)(uintptr_t)program->tool };
	char **env;
	sigset_t none;
	int n = 1;

	if (config.user != NULL)
		drop_privileges(program->tool);
	env = environment(s);
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* after becoming another user, which undoes it */
	if (getppid() != parent)
		_exit(EX_UNAVAILABLE);
	if (program->per != PER_SERVICE) {
		argv[n++] = (char *)(uintptr_t)(program->per == PER_DATABASE ? "--instance" : "--number");
		argv[n++] = index;
	}
	if (s->check)
		argv[n++] = (char *)(uintptr_t) "--check-config";
	arrange_fds(s);
	signal(SIGPIPE, SIG_DFL);
	signal(SIGHUP, SIG_IGN); /* until the tool listens to it: one that is passed on must not end it */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execve(path, argv, env);
	log_error(
	    "configuration", "variable=LEYDEN_LIBEXEC path=%s error=%s", path, log_quote(strerror(errno)));
	_exit(EX_CONFIG);
}

pid_t
spawn(const struct spawn *s)
{
	pid_t parent = getpid(), pid = fork();

	if (pid == 0)
		become(s, parent);
	return pid;
}
