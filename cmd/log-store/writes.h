/*
 * What clients sent: the log of writes on its way to Postgres, which of their transactions are accepted
 * already, and what is kept of each client.
 */
#ifndef LOG_STORE_WRITES_H
#define LOG_STORE_WRITES_H

#include <stdbool.h>

#include "arena.h"
#include "buf.h"
#include "metrics.h"
#include "pipeline.pb-c.h"

void writes_open(void);

/* The name of the log of writes in Postgres' record of progress. */
const char *writes_life(void);
uint64_t writes_last(void);    /* durable */
uint64_t writes_pending(void); /* how many are still to be done */
uint64_t writes_oldest(
    void); /* when the oldest of them was stored, ms since the Unix epoch; 0: there is none */
/* Since the start: stored; sent again by their clients; and how long it took from there until Postgres had
 * them. */
uint64_t writes_accepted(void);
uint64_t writes_duplicates(void);
const struct histogram *writes_applying(void);

/*
 * Stores a client's transaction unless it is stored already: then *duplicate, and *echo is where in the log
 * it came back, 0 when it has not yet. False when it could not be written, or when the one that it `follows`
 * (empty: none) could not: order is kept whatever fails.
 */
bool writes_append(
    ClientTransaction *transaction, const ProtobufCBinaryData *follows, bool *duplicate, uint64_t *echo);
/* Stores a part of what an instance wrote; with the last one, all of it is in the log of writes. */
bool writes_append_part(ClientTransaction *transaction, unsigned instance, uint32_t part, bool last);
/* The parts of an unfinished one. */
void writes_drop_parts(unsigned instance);
/*
 * Takes what came from the instance, and no leader has taken, out of the log of writes, the oldest first:
 * put() puts each part into the log from Postgres, with the position once it is whole; or leaves it, and
 * returns false. As much as one turn may take; true: there is more.
 */
bool writes_take_own(unsigned instance, bool (*put)(const ClientTransaction *t, uint64_t *position));
/* The instance has asked to be told of all tables and rows, and the log has not told them yet. */
bool writes_wishes_all(unsigned instance);
/* There are several Postgres: what one has applied stays until the log has told it, in case that another has
 * to. */
void writes_set_several(void);
/* Has it come back? */
bool writes_is_echoed(const char *client_id, const ProtobufCBinaryData *lsn);
/* The transaction came back from Postgres at this position of the log. */
void writes_echoed(const char *client_id, const ProtobufCBinaryData *lsn, uint64_t position);
/* The transaction is no longer in the log. */
void writes_forget(const char *client_id, const ProtobufCBinaryData *lsn);
/* Postgres has committed everything up to here: the records may go, unless there are several. */
void writes_set_applied(uint64_t position);
/* The log from Postgres begins anew: what is applied by now will not come back in it. */
void writes_new_life(void);
/* The turn is durable, or lost. */
void writes_committed(bool ok);
/* Appends packed ClientTransactions, as translog_read() does; a damaged one is passed over with a log line.
 */
void writes_read(uint64_t after, size_t max_bytes, struct buf *body, unsigned field);

/* The record of a client in the arena, a fresh one when it is unknown. */
ClientRecord *client_get(struct arena *a, const char *client_id);
bool client_put(ClientRecord *record);
/* The last lsn of its own that was accepted from a client; empty when there is none. In the arena. */
ProtobufCBinaryData client_lsn(struct arena *a, const char *client_id);

#endif
