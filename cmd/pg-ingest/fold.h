/*
 * One transaction of Postgres on its way into the log.
 *
 * Its changes are collected until the commit; only then the tags of its rows are final, since a shadow row
 * may be written after the row, and several times. Then it leaves as Transactions: one for what Postgres
 * itself wrote, one for each client's transaction that was applied in it, each in parts of a bounded size.
 * What is long goes to the spool, so that memory is bounded.
 */
#ifndef LEYDEN_FOLD_H
#define LEYDEN_FOLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "catalog.h"
#include "pgoutput.h"

/* Forgets the transaction that is being collected or taken out. */
void fold_reset(void);
/* Once: there are several Postgres. */
void fold_for_several(void);
void fold_begin(unsigned instance, uint64_t xid, int64_t time_us);
/* False: rows of this relation, where the transaction has come to, are dropped, and need not be read. */
bool fold_wants_rows(uint32_t relation);
/* False, with a log line: the message is not as it must be, the stream cannot go on. */
bool fold_row(enum pgo_kind kind, const struct pgo_row *row);
bool fold_mark(const struct pgo_message *message);
/* A row as electric.repair() tells it, for the author of the transaction that was marked before, and after
 * it. */
bool fold_repair(const struct pgo_message *message);
/* A row as electric.tell_rows() tells it. */
bool fold_told(const struct pgo_message *message);
/* What follows in this transaction was told by another Postgres. */
void fold_was_told(void);
/* Tables as electric.introduce() tells them. */
bool fold_tables(const struct pgo_message *message);
void fold_truncate(const struct pgo_truncate *truncate);
/* The commit has come: what was collected can be taken out. */
void fold_commit(uint64_t end_lsn);

/* There is something to take out. */
bool fold_pending(void);
/* Appends the next Transaction, packed, to b, which is empty; false: there is none left. */
bool fold_take(struct buf *b);
/* The changes of rows that have been collected since fold_begin(), and the bytes that they take. */
uint64_t fold_changes(void);
uint64_t fold_bytes(void);

#endif
