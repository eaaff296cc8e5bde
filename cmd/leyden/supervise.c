/*
 * The supervisor: every process of the table is started at once (those that need another wait for its socket,
 * which is there from the start), started again with a growing delay when it ends, and stopped stage by
 * stage.
 *
 * Sockets, control and TCP, are leyden's and outlive the processes: who connects while a tool restarts waits
 * in the backlog. A tool that ends with EX_CONFIG or EX_USAGE would do so again: it ends the service.
 */
#include "supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "buf.h"
#include "config.h"
#include "ends.h"
#include "exits.h"
#include "listen.h"
#include "log.h"
#include "procfs.h"
#include "rundir.h"
#include "service.h"
#include "spawn.h"
#include "xalloc.h"

#define FIRST_DELAY   0.05 /* seconds before a tool is started again; doubles each time */
#define LONGEST_DELAY 5.0
#define LONG_ALIVE    10.0 /* who lived that long begins with the first delay again */

/* Seconds that each stage has to end by itself; together below the five that stopping may take. */
static const double stage_limits[STAGES] = { 2.0, 1.0, 0.8, 0.8 };

enum state { STARTING, READY, WAITING, STOPPING, STOPPED };

static const char *const state_names[] = { "starting", "ready", "waiting", "stopping", "stopped" };

struct process {
	const struct program *program;
	char *name; /* of its socket */
	unsigned index;
	int control, port; /* listening sockets */
	enum state state;
	pid_t pid; /* 0: not running */
	unsigned restarts;
	struct ends ends;
	double delay;
	ev_tstamp began;
	ev_child exited;
	ev_io said_ready;
	ev_timer again;
};

static struct process *processes;
static unsigned n_processes;
static char *websocket_name, *http_name;
static bool announced, stopping;
static int stop_code;
static enum stage stop_stage;
static ev_timer stage_over;

#define EACH_PROCESS(p) for (struct process *p = processes; p < processes + n_processes; p++)

static void stop_next(void);

static void
announce_when_all_ready(void)
{
	char *details;

	if (announced)
		return;
	EACH_PROCESS(p)
	if (p->state != READY)
		return;
	announced = true;
	details = xasprintf("websocket=%s http=%s", websocket_name, http_name);
	service_ready(details);
	free(details);
}

/* The readiness pipe: one line, or its end when the tool is gone. */
static void
on_said_ready(struct ev_loop *l, ev_io *w, int events)
{
	struct process *p = w->data;
	char line[512];
	ssize_t n = read(w->fd, line, sizeof line);

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0 && p->state == STARTING) {
		p->state = READY;
		log_debug("tool-ready", "name=%s pid=%ld seconds=%.3f", p->name, (long)p->pid,
		    ev_now(l) - p->began);
		announce_when_all_ready();
	}
	ev_io_stop(l, w);
	close(w->fd);
}

static void
start_again_later(struct process *p)
{
	if (ev_now(loop()) - p->began > LONG_ALIVE)
		p->delay = FIRST_DELAY;
	p->state = WAITING;
	ev_timer_set(&p->again, p->delay, 0.);
	ev_timer_start(loop(), &p->again);
	p->delay = p->delay * 2 > LONGEST_DELAY ? LONGEST_DELAY : p->delay * 2;
}

static void
start(struct process *p)
{
	int ready[2] = { -1, -1 };
	struct spawn s = { p->program, p->index, p->control, p->port, -1, false };

	p->began = ev_now(loop());
	p->pid = -1;
	if (pipe2(ready, O_CLOEXEC | O_NONBLOCK) == 0) {
		s.ready = ready[1];
		p->pid = spawn(&s);
		close(ready[1]);
	}
	if (p->pid < 0) {
		log_error("tool-start", "name=%s error=%s", p->name, log_quote(strerror(errno)));
		if (ready[0] >= 0)
			close(ready[0]);
		p->pid = 0;
		start_again_later(p);
		return;
	}
	p->state = STARTING;
	log_debug("tool-started", "name=%s pid=%ld", p->name, (long)p->pid);
	ev_io_set(&p->said_ready, ready[0], EV_READ);
	ev_io_start(loop(), &p->said_ready);
	ev_child_set(&p->exited, p->pid, 0);
	ev_child_start(loop(), &p->exited);
}

static void
on_again(struct ev_loop *l, ev_timer *w, int events)
{
	struct process *p = w->data;

	(void)l;
	(void)events;
	p->restarts++;
	start(p);
}

static void
log_exit(const struct process *p, int status)
{
	const char *why = log_quote(ends_reason(status));

	if (stopping)
		log_debug("tool-stopped", "name=%s pid=%ld why=%s", p->name, (long)p->pid, why);
	else
		log_warning("tool-ended", "name=%s pid=%ld why=%s seconds=%.3f restarts=%u", p->name,
		    (long)p->pid, why, ev_now(loop()) - p->began, p->restarts);
}

static void
on_exited(struct ev_loop *l, ev_child *w, int events)
{
	struct process *p = w->data;
	int status = w->rstatus;

	(void)events;
	ev_child_stop(l, w);
	if (ev_is_active(&p->said_ready)) {
		ev_io_stop(l, &p->said_ready);
		close(p->said_ready.fd);
	}
	log_exit(p, status);
	ends_add(&p->ends, status, ev_now(l) - p->began);
	p->pid = 0;
	p->state = STOPPED;
	if (stopping)
		stop_next();
	else if (WIFEXITED(status) && (WEXITSTATUS(status) == EX_CONFIG || WEXITSTATUS(status) == EX_USAGE))
		supervise_stop(EX_CONFIG);
	else
		start_again_later(p);
}

/* Signals what still runs of a stage; false when nothing does. */
static bool
signal_stage(enum stage stage, int number)
{
	bool any = false;

	EACH_PROCESS(p)
	{
		if (p->pid == 0 || p->program->stage != stage)
			continue;
		any = true;
		if (number == SIGKILL)
			log_warning("tool-killed", "name=%s pid=%ld why=%s", p->name, (long)p->pid,
			    log_quote("it did not stop in time"));
		if (number == SIGKILL || p->state != STOPPING)
			kill(p->pid, number);
		p->state = STOPPING;
	}
	return any;
}

void
supervise_hangup(void)
{
	EACH_PROCESS(p)
	if (p->pid != 0)
		kill(p->pid, SIGHUP);
}

static void
on_stage_over(struct ev_loop *l, ev_timer *w, int events)
{
	(void)l;
	(void)w;
	(void)events;
	signal_stage(stop_stage, SIGKILL);
}

static void
remove_sockets(void)
{
	char *own = peer_path(service_name());

	EACH_PROCESS(p)
	{
		char *path = peer_path(p->name);

		unlink(path);
		free(path);
	}
	unlink(own);
	free(own);
}

/* Goes on to the first stage of which something still runs. */
static void
stop_next(void)
{
	for (; stop_stage < STAGES; stop_stage++) {
		if (signal_stage(stop_stage, SIGTERM)) {
			if (!ev_is_active(&stage_over)) {
				ev_timer_init(&stage_over, on_stage_over, stage_limits[stop_stage], 0.);
				ev_timer_start(loop(), &stage_over);
			}
			return;
		}
		ev_timer_stop(loop(), &stage_over);
	}
	remove_sockets();
	service_exit(stop_code);
}

void
supervise_stop(int code)
{
	if (stopping)
		return;
	stopping = true;
	stop_code = code;
	log_info("stopping", "%s", "");
	EACH_PROCESS(p)
	{
		ev_timer_stop(loop(), &p->again);
		if (p->port >= 0)
			close(p->port); /* no more clients once the tool has closed its own */
		p->port = -1;
	}
	stop_next();
}

static void
add_process(const struct program *program, unsigned index)
{
	struct process *p = &processes[n_processes++];

	p->program = program;
	p->index = index;
	p->name = rundir_socket_name(program->tool, index, index);
	p->port = -1;
	p->delay = FIRST_DELAY;
	ev_init(&p->exited, on_exited);
	ev_init(&p->said_ready, on_said_ready);
	ev_init(&p->again, on_again);
	p->exited.data = p->said_ready.data = p->again.data = p;
}

static unsigned
count_of(const struct program *program)
{
	return program->per == PER_DATABASE  ? config.n_databases
	       : program->per == PER_GATEWAY ? config.gateways
					     : 1;
}

/* The TCP sockets of one row's processes, which are the last `n` that were added. */
static void
open_ports(const struct program *program, unsigned n)
{
	int fds[GATEWAYS_MAX];

	if (program->listens == ON_HTTP)
		http_name = listen_open("HTTP_API_PORT", config.listen_address, config.http_port, fds, n);
	else if (program->listens == ON_WEBSOCKET)
		websocket_name =
		    listen_open("WEBSOCKET_PORT", config.listen_address, config.websocket_port, fds, n);
	else
		return;
	for (unsigned i = 0; i < n; i++)
		processes[n_processes - n + i].port = fds[i];
}

int
supervise_start(const struct program *table)
{
	unsigned total = 0;

	for (const struct program *program = table; program->tool != NULL; program++)
		total += count_of(program);
	processes = xcalloc(total, sizeof *processes);
	for (const struct program *program = table; program->tool != NULL; program++) {
		unsigned n = count_of(program);

		for (unsigned i = 1; i <= n; i++)
			add_process(program, i);
		open_ports(program, n);
	}
	EACH_PROCESS(p)
	{
		p->control = rundir_listen(p->name);
		if (p->control < 0 || (config.user != NULL && rundir_share(p->name, config.group) != 0))
			return EX_OSERR;
	}
	if (config.user != NULL &&
	    rundir_share(service_name(), config.group) != 0) /* http-api asks it, too */
		return EX_OSERR;
	EACH_PROCESS(p)
	start(p);
	return 0;
}

int
supervise_check(const struct program *table)
{
	int code = 0;
	unsigned running = 0;

	for (const struct program *program = table; program->tool != NULL; program++) {
		struct spawn s = { program, 1, -1, -1, -1, true };

		if (spawn(&s) < 0) {
			log_error(
			    "tool-start", "name=%s error=%s", program->tool, log_quote(strerror(errno)));
			return EX_OSERR;
		}
		running++;
	}
	while (running > 0) {
		int status;
		pid_t pid = wait(&status);

		if (pid < 0)
			continue;
		running--;
		if (WIFSIGNALED(status))
			log_error("tool-check", "pid=%ld signal=%d", (long)pid, WTERMSIG(status));
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
			code = EX_CONFIG;
	}
	return code;
}

static void
put_process(struct buf *json, const struct process *p)
{
	struct process_figures figures = procfs_read(p->pid);

	buf_printf(json,
	    "%s{\"name\":\"%s\",\"pid\":%ld,\"state\":\"%s\",\"restarts\":%u,\"process\":\"%s\","
	    "\"cpu_seconds\":%.2f,\"resident_bytes\":%" PRIu64 ",\"ends\":",
	    p == processes ? "" : ",", p->name, (long)p->pid, state_names[p->state], p->restarts,
	    figures.state, figures.cpu_seconds, figures.resident_bytes);
	ends_put(json, &p->ends);
	buf_puts(json, "}");
}

char *
supervise_status(void)
{
	struct buf b = { 0 };
	char *members;

	buf_printf(&b, "\"websocket\":\"%s\",\"http\":\"%s\",\"tools\":[", websocket_name, http_name);
	EACH_PROCESS(p)
	put_process(&b, p);
	buf_puts(&b, "]");
	members = xstrdup(buf_cstr(&b));
	buf_clear(&b);
	return members;
}

/* One family: a sample for each process. */
static void
put_family(struct metrics *m, const char *type, const char *name, const char *help,
    double (*value)(const struct process *p))
{
	metrics_family(m, type, name, help);
	EACH_PROCESS(p)
	metrics_sample(m, value(p), "tool=\"%s\"", p->name);
}

static double
readiness_of(const struct process *p)
{
	return p->state == READY;
}

static double
restarts_of(const struct process *p)
{
	return p->restarts;
}

static double
memory_of(const struct process *p)
{
	return (double)procfs_read(p->pid).resident_bytes;
}

static double
cpu_of(const struct process *p)
{
	return procfs_read(p->pid).cpu_seconds;
}

void
supervise_metrics(struct metrics *m)
{
	put_family(m, "gauge", "leyden_tool_ready", "Whether the tool runs and is ready.", readiness_of);
	put_family(
	    m, "counter", "leyden_tool_restarts_total", "How often the tool was started again.", restarts_of);
	put_family(m, "gauge", "leyden_tool_resident_memory_bytes", "Memory of the tool.", memory_of);
	put_family(m, "counter", "leyden_tool_cpu_seconds_total",
	    "Processor time that the tool's process has used.", cpu_of);
}
