/* The log from Postgres: what readers are given of it, and how it is forgotten. */
#include "translog_state.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "arena.h"
#include "extent.h"
#include "log.h"
#include "pbwire.h"
#include "writes.h"

/* What is deleted in one turn, so that appends and readers do not notice. */
#define TRIM_RECORDS 2000
#define TRIM_BYTES   (8 * 1024 * 1024)

/* Its transactions are gone as far as clients are concerned; trimming takes the records. */
static void
forget_up_to(uint64_t position)
{
	if (store_write() == NULL || position < translog_now.first)
		return;
	translog_now.first = position + 1;
	store_change();
}

bool
translog_read(uint64_t after, uint32_t part, size_t max_bytes, struct buf *body, unsigned field)
{
	MDB_cursor *cursor;
	uint8_t bytes[TRANSLOG_KEY];
	MDB_val key = { sizeof bytes, bytes }, value, message;
	struct record_head head;
	size_t before = body->len;
	bool ok = true;

	if (mdb_cursor_open(store_read(), store_dbi(TABLE_LOG), &cursor) != 0)
		return false;
	translog_key(bytes, after + 1, part);
	for (int rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE); rc == 0 && body->len < max_bytes;
	     rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
		uint64_t position = be64_get(key.mv_data);

		if (position > translog_durable.last)
			break;
		if (!record_open(&value, &head, &message)) {
			if (body->len > before)
				break; /* what comes before it can be sent */
			log_error("record-damaged", "position=%" PRIu64 " part=%" PRIu32 " note=%s", position,
			    be32_get((uint8_t *)key.mv_data + 8),
			    log_quote("clients that have not passed it begin anew"));
			forget_up_to(position);
			ok = false;
			break;
		}
		pb_put_bytes(body, field, message.mv_data, message.mv_size);
	}
	mdb_cursor_close(cursor);
	return ok;
}

void
translog_read_schema(struct buf *body, unsigned field)
{
	MDB_cursor *cursor;
	MDB_val key, value, message;
	struct record_head head;

	if (mdb_cursor_open(store_read(), store_dbi(TABLE_SCHEMA), &cursor) != 0)
		return;
	while (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0) {
		if (record_open(&value, &head, &message))
			pb_put_bytes(body, field, message.mv_data, message.mv_size);
		else
			log_error("record-damaged", "schema=%" PRIu64, be64_get(key.mv_data));
	}
	mdb_cursor_close(cursor);
}

uint64_t
translog_meet(const SnapshotExtent *extent, bool *exact)
{
	MDB_cursor *cursor;
	uint8_t bytes[TRANSLOG_KEY];
	MDB_val key = { sizeof bytes, bytes }, value;
	uint64_t lowest_hidden = 0, highest_seen = 0;
	int rc;

	*exact = true;
	if (mdb_cursor_open(store_read(), store_dbi(TABLE_LOG), &cursor) != 0)
		return translog_durable.last;
	translog_key(bytes, translog_durable.last + 1, 0);
	rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
	rc = mdb_cursor_get(cursor, &key, &value, rc == 0 ? MDB_PREV : MDB_LAST);
	for (; rc == 0; rc = mdb_cursor_get(cursor, &key, &value, MDB_PREV)) {
		uint64_t position = be64_get(key.mv_data);
		struct record_head head;

		memcpy(&head, value.mv_data, sizeof head);
		if (position < translog_durable.lead_began || head.max_xid < extent->xmin)
			break;
		if (!extent_sees(extent, head.xid))
			lowest_hidden = position;
		else if (highest_seen == 0)
			highest_seen = position;
	}
	mdb_cursor_close(cursor);
	if (lowest_hidden == 0)
		return translog_durable.last;
	*exact = highest_seen < lowest_hidden;
	return lowest_hidden - 1;
}

/* A client's transaction that is no longer in the log cannot be asked for by its lsn either. */
static void
forget_echo(const MDB_val *record)
{
	struct arena a = { 0 };
	struct record_head head;
	MDB_val message;
	Transaction *t = NULL;

	if (record_open(record, &head, &message))
		t = transaction__unpack(arena_pb(&a), message.mv_size, message.mv_data);
	if (t != NULL && t->client_lsn.len > 0)
		writes_forget(t->origin, &t->client_lsn);
	arena_clear(&a);
}

/* The oldest record is one that is to go. */
static bool
is_due(MDB_txn *txn, uint64_t max_bytes, uint64_t too_old /* ms */)
{
	MDB_cursor *cursor;
	MDB_val key, value;
	struct record_head head;
	bool due = false;

	if (mdb_cursor_open(txn, store_dbi(TABLE_LOG), &cursor) != 0)
		return false;
	if (mdb_cursor_get(cursor, &key, &value, MDB_FIRST) == 0 &&
	    be64_get(key.mv_data) < translog_now.last) {
		memcpy(&head, value.mv_data, sizeof head);
		due = be64_get(key.mv_data) < translog_now.first || record_stored(&head) < too_old ||
		      (max_bytes != 0 && translog_now.bytes > max_bytes);
	}
	mdb_cursor_close(cursor);
	return due;
}

bool
translog_trim(uint64_t max_bytes, uint64_t max_age)
{
	uint64_t now_s = (uint64_t)time(NULL), freed = 0;
	uint64_t too_old = max_age != 0 && max_age < now_s ? (now_s - max_age) * 1000 : 0;
	MDB_cursor *cursor;
	MDB_val key, value;
	MDB_txn *txn;
	int n = 0;

	if (!is_due(store_latest(), max_bytes, too_old) || (txn = store_write()) == NULL ||
	    mdb_cursor_open(txn, store_dbi(TABLE_LOG), &cursor) != 0)
		return false;
	for (; n < TRIM_RECORDS && freed < TRIM_BYTES && is_due(txn, max_bytes, too_old); n++) {
		uint64_t position, size;

		if (mdb_cursor_get(cursor, &key, &value, MDB_FIRST) != 0)
			break;
		position = be64_get(key.mv_data);
		size = value.mv_size - sizeof(struct record_head);
		forget_echo(&value);
		/* What the line above changed may have moved the record. */
		if (mdb_cursor_get(cursor, &key, &value, MDB_FIRST) != 0 || mdb_cursor_del(cursor, 0) != 0)
			break;
		freed += size;
		translog_now.bytes -= size < translog_now.bytes ? size : translog_now.bytes;
		if (position >= translog_now.first)
			translog_now.first = position + 1;
	}
	mdb_cursor_close(cursor);
	store_change();
	return n == TRIM_RECORDS || freed >= TRIM_BYTES;
}
