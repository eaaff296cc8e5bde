/*
 * What Postgres holds back for us: a look at the replication slot and at the list of refused writes, every
 * OBSERVE_SECONDS, over a connection of its own, so that it is told also while the stream stands still.
 */
#ifndef PG_INGEST_OBSERVE_H
#define PG_INGEST_OBSERVE_H

#include "metrics.h"

#define OBSERVE_SECONDS 2.0

/* Begins, for ever. Neither text is copied. */
void observe_open(const char *url, const char *slot);
/* Members for the status; allocated. */
char *observe_status(void);
void observe_metrics(struct metrics *m);

#endif
