/* Rows that another Postgres tells, collected until many go in one statement (electric.merge_all_<oid>). */
#ifndef PG_PUBLISH_MERGE_RUN_H
#define PG_PUBLISH_MERGE_RUN_H

#include <libpq-fe.h>
#include <stdbool.h>

#include "pipeline.pb-c.h"
#include "tables.h"

#define MERGE_FUNCTION "merge_all_" /* and the oid */

/* A row as it is here. */
struct merge_row {
	const struct table *table;
	const Table *described; /* the same table as the other has it; NULL: it was not told */
	const uint32_t *nums;	/* here, of its columns; 0: there is none */
	ClientOp op;		/* kind, and values by their numbers here */
};

/* What a row is taken for. Those of one kind that follow each other go together. */
enum merge_guess {
	GUESS_NONE,
	GUESS_NEW,  /* it is not here */
	GUESS_HERE, /* it is here as it is told */
};

/* Adds the row; queues what there are too many of. `state` and what the row names must live until they are
 * queued. False: the connection is unusable. */
bool merge_run_add(
    PGconn *conn, const struct merge_row *row, const RowState *state, enum merge_guess guess, bool follows);
/* Queues all that were added. */
bool merge_run_flush(PGconn *conn, bool follows);
/* Forgets them. */
void merge_run_forget(void);

#endif
