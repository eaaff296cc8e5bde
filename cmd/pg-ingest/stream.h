/*
 * The replication stream: from START_REPLICATION on, what Postgres sends goes through the decoder and the
 * fold to the sink, and what is safe there is told to Postgres.
 */
#ifndef LEYDEN_STREAM_H
#define LEYDEN_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "metrics.h"
#include "pg.h"

/*
 * Postgres has answered START_REPLICATION. `after`: the position that is safe already. `next_xid`: any xid of
 * about now, with its epoch.
 */
void stream_start(struct pg *pg, unsigned instance, uint64_t after, uint64_t next_xid);
/* The connection is gone. */
void stream_stop(void);
/* A transaction whose changes take more than `bytes` ends the stream, and so do `seconds` (0: never) in which
 * nothing comes. */
void stream_set_limits(uint64_t bytes, uint64_t seconds);
/* One did, so that only a log that begins anew gets past it. Until the next stream_start(). */
bool stream_overflowed(void);
/* COPY data may have come, or there is room in the sink again. */
void stream_pump(struct pg *pg);
void stream_room(void);
/* The sink has made this safe. */
void stream_stored(uint64_t lsn);

/* Members for the status; allocated. */
char *stream_status(void);
void stream_metrics(struct metrics *m);

#endif
