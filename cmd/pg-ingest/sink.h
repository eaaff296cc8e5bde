/*
 * Where transactions go: log-store, or text on stdout. What was sent and is not yet fsynced there is counted,
 * so that no more is read from Postgres than fits.
 */
#ifndef LEYDEN_SINK_H
#define LEYDEN_SINK_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "metrics.h"
#include "pipeline.pb-c.h"

struct sink_hooks {
	void (*up)(void);   /* log-store is there: it wants OpenLog first */
	void (*down)(void); /* it is gone, with what was in flight */
	void (*opened)(const LogOpened *opened);
	void (*stored)(uint64_t lsn); /* everything up to here is safe */
	void (*room)(void);	      /* may be filled again, or is settled */
};

void sink_open(const struct sink_hooks *hooks, bool to_stdout);
bool sink_is_up(void);
/* OpenLog, CloseLog and StartLife. */
void sink_ask(Frame__BodyCase body_case, const void *message);

/* A packed Transaction, or a part of one. */
void sink_put(const struct buf *transaction);
/* All Transactions of this commit, which was made at this Unix time, have been put. */
void sink_committed(uint64_t end_lsn, double time);
/*
 * Postgres' WAL up to here holds nothing more than what was put. Told at once if somebody waits for it, else
 * within a second.
 */
void sink_passed(uint64_t lsn, bool urgent);
/* Sends what was put in this turn. */
void sink_flush(void);
/* Forgets what was put since the last commit. */
void sink_abandon(void);

/* Too much is not yet safe: no further transaction should be begun. */
bool sink_full(void);
/* Too much waits to be written: nothing should be put. */
bool sink_clogged(void);
/* Nothing is in flight. */
bool sink_settled(void);
uint64_t sink_in_flight(void);
/* How long it took from commits until they were safe. */
const struct histogram *sink_latency(void);

#endif
