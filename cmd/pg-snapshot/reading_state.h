/* A reading's connection, as reading.c and reading_rows.c share it. */
#ifndef PG_SNAPSHOT_READING_STATE_H
#define PG_SNAPSHOT_READING_STATE_H

#include <ev.h>

#include "pg.h"
#include "reading.h"

/* A connection. */
struct worker {
	struct pg pg;
	struct reading *reading; /* NULL: free, unless it is ending */
	bool ending;		 /* its last transaction is */
	unsigned tries;
	ev_timer idle;
};

extern const struct reading_hooks *reading_hooks;
extern uint64_t reading_max_row; /* bytes */

/* COPY data has come. */
void reading_copied(struct pg *pg);
/* The reading needs its connection no more. `end`: what ends its transaction; NULL: only closing does. */
void reading_release(struct reading *r, const char *end_transaction);
/* Tells its owner why there will be no more rows, and frees it. */
void reading_fail(struct reading *r, const char *why);
void reading_give_up(struct reading *r, const char *why, uint32_t too_long);

#endif
