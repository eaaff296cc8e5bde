/* The log of clients' transactions, read from log-store a page at a time. */
#ifndef PG_PUBLISH_WRITES_H
#define PG_PUBLISH_WRITES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pipeline.pb-c.h"

/* What is to be applied: a client's transaction, or one of another Postgres, which may come in parts. */
struct write {
	uint64_t position;
	ClientTransaction *client; /* its ops; of another Postgres: its name and number there, and wishes */
	const Transaction *told;   /* by another Postgres; NULL: it is a client's */
	bool last;		   /* of its parts */
};

struct writes_hooks {
	/* log-store is there; `another`: the log is another one than before, and positions in it mean
	 * something else. */
	void (*opened)(bool another);
	/* The page that was asked for last; it is good until the next one comes. */
	void (*page)(const struct write *writes, size_t n);
	/* What was asked for is no longer in the log; may be NULL where nothing is followed. */
	void (*gone)(void);
};

/* Begins, and goes on for ever, whatever becomes of log-store. */
void writes_open(const struct writes_hooks *hooks);
/* The name of Postgres' progress in the log; "" before it is known. */
const char *writes_life(void);
/* Another Postgres leads: what is read is what it tells, not what clients write. */
bool writes_follows(void);
/* The leader's log up to here holds nothing that was not there when log-store was reached. */
uint64_t writes_log_last(void);
/* Up to here this Postgres told it itself, when it led; 0: it did not. */
uint64_t writes_log_since(void);
/* Asks for what comes after this position, from this part of the next. Answered when there is any; a later
 * call overtakes an earlier one. */
void writes_read(uint64_t after, uint32_t part);
/* Asks for what comes after this position before it is read, which may then be answered within the call. */
void writes_read_ahead(uint64_t after);
/* Tells log-store that Postgres has committed all up to here, and that what it wrote before it began with
 * that is in its WAL up to wal_end. */
void writes_applied(uint64_t position, uint64_t wal_end);
/* Asks the leader to tell this Postgres of all its tables and rows; done() when that is sure to happen. */
void writes_ask_introduction(void (*done)(void));

/* Asks it to tell this Postgres, which could not take them, of these rows again, once it has taken what this
 * one has written before; done() as above. `told` need not live until then. */
void writes_ask_rows(const Transaction *told, void (*done)(void));

#endif
