/*
 * The log from Postgres: transactions at gapless positions, in commit order, and the schema's history.
 *
 * Readers see a transaction when the Postgres commit that holds it has been stored whole and fsynced; what a
 * crash or a lost pg-ingest left behind that is dropped before the next append.
 */
#ifndef LOG_STORE_TRANSLOG_H
#define LOG_STORE_TRANSLOG_H

#include <stdbool.h>

#include "buf.h"
#include "pipeline.pb-c.h"
#include "store.h"

void translog_open(void);

/* What Postgres holds, compared with what the log has: can the log go on? If not, *why says so in a few
 * words. */
bool translog_continues(const OpenLog *postgres, const char **why);
/* The instance whose transactions the log tells. What others write goes the way of clients' writes: the
 * leader takes it in, and then it is told. */
unsigned translog_leader(void);
/*
 * Another instance leads from here on, one that has everything that readers may see. What the former leader
 * wrote beyond that comes from it as from one that follows.
 */
void translog_lead(unsigned instance);
/* How often another has begun to lead. */
uint32_t translog_leads(void);
/* The end of what the log told while this instance led, for the last time; 0: it never did. */
uint64_t translog_led_until(unsigned instance);
/*
 * What the leader wrote while it followed, and another had yet to take, goes into the log; so much of it as
 * one turn may take. True: there is more.
 */
bool translog_take_own(void);
/* Begins a new life: no transactions, this schema. */
void translog_start_life(const StartLife *life);
/* An instance that does not lead begins anew. */
void translog_start_source(const StartLife *life);
/* How often it has. */
uint32_t translog_introductions(unsigned instance);
/* Drops what was appended after the instance's last whole Postgres commit. */
void translog_drop_tail(unsigned instance);
/* A packed Transaction without position, of this instance. False when it could not be written, or is none. */
bool translog_append(unsigned instance, const ProtobufCBinaryData *transaction);
/* Nothing of the instance's WAL up to here is missing. */
void translog_wal_passed(unsigned instance, uint64_t lsn);

uint64_t translog_life(void);	 /* 0 before the first */
uint64_t translog_first(void);	 /* oldest position kept; one more than last when there is none */
uint64_t translog_visible(void); /* last position that readers may see */
uint64_t translog_bytes(void);	 /* of the transactions from first to visible */
uint64_t translog_appended(uint64_t *transactions); /* since the start: bytes, and how many transactions */
uint64_t translog_passed_lsn(unsigned instance);
/* The turn is over: puts what it changed in the numbers about the log. */
void translog_commit(void);
/* The turn is durable: what was appended may be seen. With !ok it is as if it had never been appended. */
void translog_committed(bool ok);

/*
 * Appends packed Transactions to `body` as field `field`, from part `part` of the position after `after`,
 * until there are no more or `body` is longer than max_bytes. False, with a log line: the first of them is
 * damaged; the log is forgotten up to it, since nobody can be brought past it.
 */
bool translog_read(uint64_t after, uint32_t part, size_t max_bytes, struct buf *body, unsigned field);
/* The same for the schema's history. */
void translog_read_schema(struct buf *body, unsigned field);

/* Where the snapshot stands: see SnapshotMet in proto/pipeline.proto. */
uint64_t translog_meet(const SnapshotExtent *extent, bool *exact);

/* Forgets the oldest transactions beyond these limits (bytes, seconds; 0: no limit), a bounded number in one
 * call; true: there are more. The last one stays. */
bool translog_trim(uint64_t max_bytes, uint64_t max_age);

#endif
