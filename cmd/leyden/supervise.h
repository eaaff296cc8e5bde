/* Starting the tools, keeping them running, stopping them in order. */
#ifndef LEYDEN_SUPERVISE_H
#define LEYDEN_SUPERVISE_H

#include <stdbool.h>

#include "metrics.h"

enum per { PER_SERVICE, PER_DATABASE, PER_GATEWAY };
enum listens { NOWHERE, ON_HTTP, ON_WEBSOCKET };

/* Tools of one stage are stopped together, the stages one after the other. */
enum stage { STAGE_CLIENTS, STAGE_WORKERS, STAGE_INGEST, STAGE_LOG, STAGES };

/* A row of the process table. */
struct program {
	const char *tool;
	enum per per;
	enum listens listens;
	enum stage stage;
	const char
	    *variables; /* what it gets of the environment, by blanks; a trailing * stands for any ending */
};

/* Runs every tool with --check-config. 0, or the exit code; the tool has said what is wrong. */
int supervise_check(const struct program *table);
/* Opens all sockets and starts every process of the table (ended by a NULL tool). 0, or the exit code. */
int supervise_start(const struct program *table);
/* Passes SIGHUP on to every tool that runs. */
void supervise_hangup(void);
/* Stops every tool, then leaves the loop with this exit code. */
void supervise_stop(int code);
/* Members for leyden's status. */
char *supervise_status(void);
void supervise_metrics(struct metrics *m);

#endif
