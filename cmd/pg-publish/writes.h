/* The log of clients' transactions, read from log-store a page at a time. */
#ifndef PG_PUBLISH_WRITES_H
#define PG_PUBLISH_WRITES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pipeline.pb-c.h"

struct writes_hooks {
	/* log-store is there; `new_life`: the log is another one than before, and positions in it mean
	 * something else. */
	void (*opened)(bool new_life);
	/* The page that was asked for last; it is good until the next one is asked for. */
	void (*page)(ClientTransaction **transactions, size_t n);
};

/* Begins, and goes on for ever, whatever becomes of log-store. */
void writes_open(const struct writes_hooks *hooks);
/* The log's life; "" before log-store was there. */
const char *writes_life(void);
/* Asks for the transactions after this position. Answered when there are any; a later call overtakes an
 * earlier one. */
void writes_read(uint64_t after);
/* Tells log-store that Postgres has committed all up to here. */
void writes_applied(uint64_t position);

#endif
