/*
 * The file: one LMDB environment, its tables, and group commit.
 *
 * All changes of one turn of the loop go into one LMDB transaction; at the end of the turn it is committed,
 * which fsyncs, and only then are the callbacks run that were left with store_after_commit(): that is when an
 * acknowledgement may go out.
 */
#ifndef LOG_STORE_STORE_H
#define LOG_STORE_STORE_H

#include <stdbool.h>
#include <stdint.h>
#include <lmdb.h>

#include "arena.h"
#include "metrics.h"

enum store_table {
	TABLE_META,	  /* name → be64 or text */
	TABLE_LOG,	  /* be64 position, be32 part → record of a Transaction */
	TABLE_SCHEMA,	  /* be64 ordinal → Migration */
	TABLE_WRITES,	  /* be64 position → record of a ClientTransaction */
	TABLE_ACCEPTED,	  /* hash of client id and its lsn → be64 write position, be64 echo position */
	TABLE_CLIENTS,	  /* hash of client id → ClientRecord */
	TABLE_CLIENT_LSN, /* hash of client id → the last lsn of its own that was accepted */
	TABLE_PARTS, /* be32 instance, be32 part → record of a ClientTransaction that is not whole yet */
	TABLES
};

/*
 * A record is this head and a packed message. The checksum covers everything after itself; numbers are in the
 * machine's byte order (a file does not move between architectures).
 */
struct record_head {
	uint64_t checksum;
	uint64_t xid;	  /* of the transaction, with epoch; a write: 0 */
	uint64_t max_xid; /* the greatest xid of this record and all before it */
	uint64_t stored;  /* record_stored() reads it */
};
uint64_t record_stored(const struct record_head *head); /* ms since the Unix epoch */

/* Opens or makes the file, and brings it up to date. 0, or the exit code with a log line: EX_CONFIG for a
 * file that a newer log-store has written. */
int store_open(const char *path, uint64_t max_bytes, bool read_only);
void store_close(void);

/* The transaction of this turn; begins it if need be. NULL: the file cannot be written just now (a line said
 * why). */
MDB_txn *store_write(void);
/* For reading what is durable: a read transaction that ends with the turn. */
MDB_txn *store_read(void);
/* For reading what this turn has changed as well. */
MDB_txn *store_latest(void);
MDB_dbi store_dbi(enum store_table table);

/* Run before every commit, to put what changes with each append but once a turn, and after it, before those
 * who wait. */
void store_on_commit(void (*before)(void), void (*after)(bool ok));
/* Runs fn(data) when what was written in this turn is durable (ok), or when it could not be made so (!ok). */
void store_after_commit(void (*fn)(void *data, bool ok), void *data);

/* Something will be put before the commit of this turn. */
void store_change(void);
/* Puts a value; on failure the turn's transaction is lost and everybody who waits for it is told. */
bool store_put(enum store_table table, MDB_val *key, MDB_val *value, unsigned flags);
/* The same of a record; its size without the head, 0 on failure. */
size_t store_put_record(enum store_table table, MDB_val *key, const ProtobufCMessage *message, uint64_t xid,
    uint64_t max_xid, unsigned flags);
/* The same of a message that is packed already, in two pieces. */
size_t store_put_packed(enum store_table table, MDB_val *key, const MDB_val pieces[2], uint64_t xid,
    uint64_t max_xid, unsigned flags);
/* The packed message in a record, and its head; false when its checksum does not fit. */
bool record_open(const MDB_val *record, struct record_head *head, MDB_val *message);

uint64_t meta_get(const char *name); /* 0 when absent */
void meta_put(const char *name, uint64_t value);
/* A text of meta in out, "" when absent. */
void meta_get_text(const char *name, char *out, size_t size);
void meta_put_text(const char *name, const char *text);

/* Bytes of the file in use, and whether the last attempt to write failed. */
uint64_t store_bytes(void);
bool store_failing(void);
/* How long commits of what had changed took. */
const struct histogram *store_commits(void);
/* After a failure: stores something of a batch's size and deletes it; fn(ok) when it is known whether that
 * worked. */
void store_probe(void (*fn)(bool ok));

#endif
