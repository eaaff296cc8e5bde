/* The skeleton of every tool. */
#include "service.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "exits.h"
#include "log.h"
#include "repeats.h"
#include "notify.h"
#include "rundir.h"
#include "status.h"
#include "xalloc.h"

static const struct service *self;
static char *name; /* self->name, with the instance or number where there are several */
static int exit_code;
static bool stopping, ready;
static unsigned sandbox; /* beyond self->sandbox */
static time_t started;
static struct histogram turns; /* of the loop */
static const char *told_level; /* by put_events() */

static char *log_level_word, *run_dir;
static bool verbose, status_wanted, status_json, check_wanted;
static unsigned instance, number, notify_fd = NOTIFY_NO_FD;

static const struct option_def common_options[] = {
	{ "log-level", "LOG_LEVEL", OPT_STRING, &log_level_word, "info", "debug, info, warning or error", 0,
	    0 },
	{ "verbose", NULL, OPT_BOOL, &verbose, NULL, "log everything (-v in short)", 0, 0 },
	{ "run-dir", "LEYDEN_RUN_DIR", OPT_STRING, &run_dir, NULL, "where the sockets are", 0, 0 },
	{ "instance", NULL, OPT_UINT, &instance, "1", "which Postgres, where there are several", 0, 0 },
	{ "number", NULL, OPT_UINT, &number, "1", "which of several equal processes", 0, 0 },
	{ "notify-fd", NULL, OPT_UINT, &notify_fd, NULL, "write a newline to this fd when ready", 0, 0 },
	{ "status", NULL, OPT_BOOL, &status_wanted, NULL, "ask the running tool, print, exit", 0, 0 },
	{ "json", NULL, OPT_BOOL, &status_json, NULL, "with --status and what else prints: as JSON", 0, 0 },
	{ "check-config", NULL, OPT_BOOL, &check_wanted, NULL, "check the configuration, print it, exit", 0,
	    0 },
	{ 0 },
};

const char *
service_name(void)
{
	return self != NULL ? self->name : "leyden";
}

const char *
service_run_dir(void)
{
	return run_dir;
}

const char *
service_log_level(void)
{
	return verbose ? "debug" : log_level_word;
}

bool
service_as_json(void)
{
	return status_json;
}

unsigned
service_instance(void)
{
	return instance;
}

static int
fd_from_environment(const char *variable)
{
	const char *s = getenv(variable);

	return s != NULL && s[0] != '\0' ? atoi(s) : -1;
}

void
service_allow(unsigned more)
{
	sandbox |= more;
}

int
service_inherited_port(void)
{
	int fd = fd_from_environment(SERVICE_PORT_FD);

	/* Others than leyden hand over sockets that wait. */
	if (fd >= 0 && fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) != 0)
		service_config_error(SERVICE_PORT_FD, "%d: %s", fd, strerror(errno));
	return fd;
}

void
service_config_error(const char *variable, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	log_error("configuration", "variable=%s error=%s", variable, log_quote(text));
	exit(EX_CONFIG);
}

char *
service_status(void)
{
	char *own = self->status != NULL ? self->status() : NULL;
	char *json = xasprintf("{\"tool\":\"%s\",\"pid\":%ld,\"uptime_seconds\":%ld,\"ready\":%s%s%s}", name,
	    (long)getpid(), (long)(time(NULL) - started), ready ? "true" : "false", own != NULL ? "," : "",
	    own != NULL ? own : "");

	free(own);
	return json;
}

static void
put_events(void *data, const char *event, uint64_t n)
{
	metrics_sample(data, (double)n, "tool=\"%s\",level=\"%s\",event=\"%s\"", name, told_level, event);
}

void
service_metrics(struct metrics *m)
{
	char *labels;

	*m = (struct metrics){ .told = METRICS_TOLD__INIT };
	metrics_family(m, "counter", "leyden_log_events_total", "Warnings and errors in the log, by event.");
	told_level = "warning";
	repeats_totals(LOG_LEVEL_WARNING, put_events, m);
	told_level = "error";
	repeats_totals(LOG_LEVEL_ERROR, put_events, m);
	labels = xasprintf("tool=\"%s\"", name);
	metrics_histogram(m, "leyden_turn_seconds",
	    "Time between two waits for news: how long a tool is busy at a time.", labels, &turns);
	free(labels);
	if (self->metrics != NULL)
		self->metrics(m);
}

void
service_ready(const char *details)
{
	int fd = fd_from_environment(SERVICE_READY_FD);

	if (ready)
		return;
	ready = true;
	log_info(self->ready_event != NULL ? self->ready_event : "ready", "%s", details);
	if (fd >= 0) {
		dprintf(fd, "%s\n", details);
		close(fd);
		unsetenv(SERVICE_READY_FD);
	}
	notify_ready(notify_fd, details);
}

void
service_exit(int code)
{
	exit_code = code;
	ev_break(loop(), EVBREAK_ALL);
}

static void
on_stop_signal(struct ev_loop *l, ev_signal *w, int events)
{
	(void)l;
	(void)w;
	(void)events;
	if (!stopping)
		notify_stopping();
	if (stopping || self->stop == NULL) {
		service_exit(EX_OK);
		return;
	}
	stopping = true;
	self->stop();
}

static void
on_hangup(struct ev_loop *l, ev_signal *w, int events)
{
	(void)l;
	(void)w;
	(void)events;
	if (self->reload != NULL)
		self->reload();
	log_info("hangup-ignored", "note=%s", log_quote("variables and flags are read at start only"));
}

// ---- how busy the loop is: the time between its waits

static ev_check woken;
static ev_prepare waits;
static struct timespec woke;

static void
on_woken(struct ev_loop *l, ev_check *w, int events)
{
	(void)l;
	(void)w;
	(void)events;
	clock_gettime(CLOCK_MONOTONIC, &woke);
}

static void
on_waits(struct ev_loop *l, ev_prepare *w, int events)
{
	struct timespec now;

	(void)l;
	(void)w;
	(void)events;
	clock_gettime(CLOCK_MONOTONIC, &now);
	histogram_observe(
	    &turns, (double)(now.tv_sec - woke.tv_sec) + (double)(now.tv_nsec - woke.tv_nsec) / 1e9);
}

static void
watch_turns(void)
{
	clock_gettime(CLOCK_MONOTONIC, &woke);
	ev_check_init(&woken, on_woken);
	ev_set_priority(&woken, EV_MAXPRI);
	ev_check_start(loop(), &woken);
	ev_prepare_init(&waits, on_waits);
	ev_set_priority(&waits, EV_MINPRI);
	ev_prepare_start(loop(), &waits);
}

// ---- lines that repeat

static ev_timer tell_repeats;

static void
on_tell_repeats(struct ev_loop *l, ev_timer *w, int events)
{
	(void)l;
	(void)w;
	(void)events;
	log_tell_repeats(false);
}

static void
tell_repeats_later(double seconds)
{
	if (ev_is_active(&tell_repeats))
		return;
	ev_timer_set(&tell_repeats, seconds, 0.);
	ev_timer_start(loop(), &tell_repeats);
}

static void
watch_signals(void)
{
	static ev_signal term, intr, hup;

	signal(SIGPIPE, SIG_IGN);
	ev_signal_init(&term, on_stop_signal, SIGTERM);
	ev_signal_init(&intr, on_stop_signal, SIGINT);
	ev_signal_init(&hup, on_hangup, SIGHUP);
	ev_signal_start(loop(), &term);
	ev_signal_start(loop(), &intr);
	ev_signal_start(loop(), &hup);
}

static void
on_accept(struct ev_loop *l, ev_io *w, int events)
{
	int fd;

	(void)l;
	(void)events;
	while ((fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0)
		peer_accept(fd, &self->peers);
}

/* The control socket: leyden's if it handed one over, else our own in the run directory. 0, or the exit code.
 */
static int
listen_control(void)
{
	static ev_io io;
	int fd = fd_from_environment(SERVICE_SOCKET_FD);

	if (fd < 0) {
		if (rundir_make(run_dir) != 0)
			return EX_CONFIG;
		fd = rundir_listen(name);
	}
	if (fd < 0)
		return EX_OSERR;
	ev_io_init(&io, on_accept, fd, EV_READ);
	ev_io_start(loop(), &io);
	return 0;
}

static int
check_configuration(const struct option_set *set)
{
	options_require(set);
	if (self->check != NULL)
		self->check(true);
	options_print(set);
	return EX_OK;
}

int
service_run(const struct service *service, int argc, char **argv)
{
	const struct option_def *tables[] = { service->options, common_options, NULL };
	struct option_set set = { service->name, "[options]", service->summary, tables };
	int level, code, rest;

	self = service;
	started = time(NULL);
	log_init(service->name, LOG_LEVEL_INFO);
	for (int i = 1; i < argc; i++) /* the one short flag of our own */
		if (strcmp(argv[i], "-v") == 0)
			argv[i] = (char *)(uintptr_t) "--verbose";
	rest = options_parse(&set, argc, argv, false);
	if (rest < argc && service->command == NULL) {
		fprintf(stderr, "%s: unexpected argument: %s\n", service->name, argv[rest]);
		return EX_USAGE;
	}
	level = log_level_parse(log_level_word);
	if (level < 0) {
		fprintf(stderr, "%s: LOG_LEVEL: not debug, info, warning or error: \"%s\"\n", service->name,
		    log_level_word);
		return EX_CONFIG;
	}
	run_dir = rundir_resolve(run_dir);
	peer_set_run_dir(run_dir);
	name = rundir_socket_name(service->name, instance, number);
	log_init(name, verbose ? LOG_LEVEL_DEBUG : (enum log_level)level);
	if (status_wanted)
		return self->print_status != NULL ? self->print_status(status_json)
						  : status_print(name, status_json);
	if (check_wanted)
		return check_configuration(&set);
	if (service->command != NULL && (code = service->command(argc - rest, argv + rest)) >= 0)
		return code;
	options_require(&set);
	if (self->check != NULL)
		self->check(false);

	watch_signals();
	watch_turns();
	ev_init(&tell_repeats, on_tell_repeats);
	log_on_repeats(tell_repeats_later);
	notify_watchdog();
	if ((code = listen_control()) != 0 || (code = service->open()) != 0)
		return code;
	json_object_seed(0); /* while /dev/urandom can be read: its tables withstand chosen keys */
	sandbox_enter(self->sandbox | sandbox);
	ev_run(loop(), 0);
	log_tell_repeats(true);
	log_info("stopped", "%s", "");
	return exit_code;
}
