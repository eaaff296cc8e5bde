/*
 * The skeleton of every tool: options, signals, log, control socket, readiness, drain.
 *
 * A tool fills in a struct service and calls service_run() from main. The control socket answers AskStatus
 * for every tool, and whatever the tool's handlers list. SIGTERM and SIGINT call `stop`, a second one exits.
 * SIGHUP calls `reload`; variables and flags are read at start only, and the log says so.
 */
#ifndef LEYDEN_SERVICE_H
#define LEYDEN_SERVICE_H

#include <stdbool.h>

#include "metrics.h"
#include "options.h"
#include "peer.h"
#include "sandbox.h"

struct service {
	const char *name;
	const char *summary;
	const struct option_def *options;
	struct peer_hooks peers; /* for those who connect to the control socket; handlers may be empty */
	/*
	 * What flags or arguments (argc of them) ask for instead of serving: its exit code, or -1 to serve.
	 * NULL: there are no arguments.
	 */
	int (*command)(int argc, char **argv);
	/*
	 * Checks the options together, before anything is opened; what is wrong ends in
	 * service_config_error(). To print: for --check-config, so mask what is secret in part. May be NULL.
	 */
	void (*check)(bool to_print);
	/* Begins the work; calls service_ready() now or later. Non-zero: the exit code. */
	int (*open)(void);
	/* Asked to stop: calls service_exit() now or later. NULL: exit at once. */
	void (*stop)(void);
	/* SIGHUP: reads again what files hold. NULL: there are none. */
	void (*reload)(void);
	unsigned sandbox; /* what it can do once it is open: sandbox.h */
	/* Members to add to the status, as the inside of a JSON object without braces; allocated. May be
	 * NULL. */
	char *(*status)(void);
	/* What it counts and measures, beside what all tools do. May be NULL. */
	void (*metrics)(struct metrics *m);
	/* Answers --status in its own way: the exit code. NULL: asks the running tool and prints that. */
	int (*print_status)(bool as_json);
	/* The event that service_ready() logs; NULL: "ready". */
	const char *ready_event;
};

int service_run(const struct service *service, int argc, char **argv);

/* The tool can do its work. `details` are key=value pairs for the log and for leyden's ready line, or "". */
void service_ready(const char *details);
/* Called before the loop begins: what its configuration has the tool do beyond what `sandbox` says. */
void service_allow(unsigned sandbox);
/* Leaves the loop; service_run() returns the code. */
void service_exit(int code);
/* This tool's configuration cannot work: logs one line that names the variable, and exits with EX_CONFIG. */
void service_config_error(const char *variable, const char *fmt, ...)
    __attribute__((format(printf, 2, 3), noreturn));

const char *service_name(void);
/* The options that all tools have, as they were resolved. */
const char *service_run_dir(void);
const char *service_log_level(void);
bool service_as_json(void); /* --json */
/* So many Postgres at most. */
#define DATABASES_MAX 16
/* So many ws-gateway processes at most. */
#define GATEWAYS_MAX 256
/* Which Postgres this tool serves, from 1 (--instance). */
unsigned service_instance(void);
/* The answer to AskStatus: one JSON object, allocated. */
char *service_status(void);
/* The answer to AskMetrics, in m, which is empty. */
void service_metrics(struct metrics *m);
/* The listening TCP socket that leyden, or another supervisor, opened for this tool; -1: there is none. */
int service_inherited_port(void);

/* The fds that leyden hands to a tool, and the variables that say so. */
#define SERVICE_SOCKET_FD "LEYDEN_SOCKET_FD" /* control socket, listening */
#define SERVICE_PORT_FD	  "LEYDEN_PORT_FD"   /* TCP socket, listening */
#define SERVICE_READY_FD  "LEYDEN_READY_FD"  /* pipe: one line, the details of service_ready() */

#endif
