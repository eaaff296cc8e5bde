/* The log from Postgres: transactions at gapless positions, and the schema's history. */
#include "translog.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "log.h"
#include "pbwire.h"
#include "position.h"
#include "writes.h"

#define KEY_SIZE  12
#define TRIM_STEP 2000 /* records deleted in one turn */

/* Numbers that every append needs; all of them are in meta too, written in the transaction that changed them.
 */
static struct state {
	uint64_t life, first, last; /* last: closed by its Postgres commit */
	uint64_t commit_lsn;	    /* of last's commit */
	uint64_t passed_lsn;	    /* the WAL up to here is dealt with */
	uint64_t max_xid;
	uint64_t bytes; /* of the records kept */
	uint64_t next;	/* position of the transaction that is being appended */
} now, durable;

static void
make_key(uint8_t key[KEY_SIZE], uint64_t position, uint32_t part)
{
	be64_set(key, position);
	for (int i = 3; i >= 0; i--, part >>= 8)
		key[8 + i] = (uint8_t)part;
}

void
translog_open(void)
{
	now = (struct state){
		.life = meta_get("life"),
		.first = meta_get("first"),
		.last = meta_get("last"),
		.commit_lsn = meta_get("commit_lsn"),
		.passed_lsn = meta_get("passed_lsn"),
		.max_xid = meta_get("max_xid"),
		.bytes = meta_get("log_bytes"),
	};
	now.next = now.last + 1;
	durable = now;
}

static void
put_state(void)
{
	meta_put("last", now.last);
	meta_put("commit_lsn", now.commit_lsn);
	meta_put("passed_lsn", now.passed_lsn);
	meta_put("max_xid", now.max_xid);
	meta_put("log_bytes", now.bytes);
}

bool
translog_continues(const OpenLog *pg, const char **why)
{
	char database[256];

	meta_get_text("database", database, sizeof database);
	if (now.life == 0)
		*why = "the log is new";
	else if (meta_get("system_id") != pg->system_id || strcmp(database, pg->database) != 0)
		*why = "it is another Postgres";
	else if (pg->slot_lsn == 0)
		*why = "the replication slot is gone";
	else if (pg->slot_lsn > now.passed_lsn)
		*why = "the log is older than what was confirmed to Postgres (restored from a backup?)";
	else if (pg->wal_lsn < now.commit_lsn)
		*why = "Postgres is older than the log (restored from a backup?)";
	else
		return true;
	return false;
}

void
translog_start_life(const StartLife *start)
{
	MDB_txn *txn = store_write();
	uint64_t life = (uint64_t)time(NULL) & LIFE_MAX;

	if (txn == NULL)
		return;
	if (life == now.life || life == 0)
		life = (now.life + 1) & LIFE_MAX ? (now.life + 1) & LIFE_MAX : 1;
	mdb_drop(txn, store_dbi(TABLE_LOG), 0);
	mdb_drop(txn, store_dbi(TABLE_SCHEMA), 0);
	now = (struct state){ .life = life,
		.first = 1,
		.commit_lsn = start->slot_lsn,
		.passed_lsn = start->slot_lsn,
		.next = 1 };
	meta_put("life", life);
	meta_put("first", now.first);
	meta_put("system_id", start->system_id);
	meta_put_text("database", start->database);
	put_state();
	writes_new_life();
	for (size_t i = 0; i < start->n_migrations; i++) {
		uint8_t ordinal[8];
		MDB_val key = { sizeof ordinal, ordinal };

		be64_set(ordinal, i);
		store_put_record(TABLE_SCHEMA, &key, &start->migrations[i]->base, 0, 0);
	}
	log_info("log-life-began", "life=%" PRIu64 " migrations=%zu", life, start->n_migrations);
}

void
translog_drop_tail(void)
{
	MDB_txn *txn = store_write();
	MDB_cursor *cursor;
	uint8_t bytes[KEY_SIZE];
	MDB_val key = { sizeof bytes, bytes }, value;

	if (txn == NULL || mdb_cursor_open(txn, store_dbi(TABLE_LOG), &cursor) != 0)
		return;
	make_key(bytes, now.last + 1, 0);
	for (int rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE); rc == 0;
	     rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT))
		mdb_cursor_del(cursor, 0);
	mdb_cursor_close(cursor);
	now.next = now.last + 1;
	now.bytes = meta_get("log_bytes");
}

static void
append_migration(Migration *migration)
{
	uint8_t ordinal[8];
	MDB_val key = { sizeof ordinal, ordinal };
	MDB_stat stat;

	if (store_write() == NULL || mdb_stat(store_write(), store_dbi(TABLE_SCHEMA), &stat) != 0)
		return;
	migration->position = now.next;
	be64_set(ordinal, stat.ms_entries);
	store_put_record(TABLE_SCHEMA, &key, &migration->base, 0, 0);
}

bool
translog_append(Transaction *t)
{
	uint8_t bytes[KEY_SIZE];
	MDB_val key = { sizeof bytes, bytes };

	t->position = now.next;
	if (t->xid > now.max_xid)
		now.max_xid = t->xid;
	for (size_t i = 0; i < t->n_changes; i++)
		if (t->changes[i]->migration != NULL)
			append_migration(t->changes[i]->migration);
	make_key(bytes, t->position, t->part);
	if (!store_put_record(TABLE_LOG, &key, &t->base, t->xid, now.max_xid))
		return false;
	now.bytes += transaction__get_packed_size(t);
	if (!t->last)
		return true;
	if (t->client_lsn.len > 0)
		writes_echoed(t->origin, &t->client_lsn, t->position);
	now.next++;
	if (t->closes) {
		now.last = t->position;
		now.commit_lsn = t->commit_lsn;
		if (t->commit_lsn > now.passed_lsn)
			now.passed_lsn = t->commit_lsn;
		put_state();
	}
	return true;
}

void
translog_wal_passed(uint64_t lsn)
{
	if (lsn > now.passed_lsn) {
		now.passed_lsn = lsn;
		meta_put("passed_lsn", lsn);
	}
}

void
translog_committed(bool ok)
{
	if (ok)
		durable = now;
	else
		now = durable;
}

uint64_t
translog_life(void)
{
	return now.life;
}

uint64_t
translog_first(void)
{
	return now.first;
}

uint64_t
translog_visible(void)
{
	return durable.last;
}

uint64_t
translog_commit_lsn(void)
{
	return durable.commit_lsn;
}

uint64_t
translog_passed_lsn(void)
{
	return durable.passed_lsn;
}

void
translog_read(uint64_t after, uint32_t part, size_t max_bytes, struct buf *body, unsigned field)
{
	MDB_cursor *cursor;
	uint8_t bytes[KEY_SIZE];
	MDB_val key = { sizeof bytes, bytes }, value, message;
	struct record_head head;

	if (mdb_cursor_open(store_read(), store_dbi(TABLE_LOG), &cursor) != 0)
		return;
	make_key(bytes, after + 1, part);
	for (int rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE); rc == 0 && body->len < max_bytes;
	     rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
		uint64_t position = be64_get(key.mv_data);

		if (position > durable.last)
			break;
		if (!record_open(&value, &head, &message)) {
			log_error("record-damaged", "position=%" PRIu64 " part=%" PRIu32, position,
			    be32_get((uint8_t *)key.mv_data + 8));
			break;
		}
		pb_put_bytes(body, field, message.mv_data, message.mv_size);
	}
	mdb_cursor_close(cursor);
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

static bool
is_visible(const SnapshotExtent *extent, uint64_t xid)
{
	if (xid < extent->xmin)
		return true;
	if (xid >= extent->xmax)
		return false;
	for (size_t i = 0; i < extent->n_xip; i++)
		if (extent->xip[i] == xid)
			return false;
	return true;
}

uint64_t
translog_meet(const SnapshotExtent *extent, bool *exact)
{
	MDB_cursor *cursor;
	uint8_t bytes[KEY_SIZE];
	MDB_val key = { sizeof bytes, bytes }, value;
	uint64_t lowest_hidden = 0, highest_seen = 0;
	int rc;

	*exact = true;
	if (mdb_cursor_open(store_read(), store_dbi(TABLE_LOG), &cursor) != 0)
		return durable.last;
	make_key(bytes, durable.last + 1, 0);
	rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
	rc = mdb_cursor_get(cursor, &key, &value, rc == 0 ? MDB_PREV : MDB_LAST);
	for (; rc == 0; rc = mdb_cursor_get(cursor, &key, &value, MDB_PREV)) {
		uint64_t position = be64_get(key.mv_data);
		struct record_head head;

		memcpy(&head, value.mv_data, sizeof head);
		if (head.max_xid < extent->xmin)
			break;
		if (!is_visible(extent, head.xid))
			lowest_hidden = position;
		else if (highest_seen == 0)
			highest_seen = position;
	}
	mdb_cursor_close(cursor);
	if (lowest_hidden == 0)
		return durable.last;
	*exact = highest_seen < lowest_hidden;
	return lowest_hidden - 1;
}

void
translog_trim(uint64_t max_bytes, uint64_t max_age)
{
	uint64_t oldest = (uint64_t)time(NULL) - max_age, first = now.first;
	MDB_cursor *cursor;
	MDB_val key, value;
	MDB_txn *txn;

	if ((max_bytes == 0 || now.bytes <= max_bytes) && max_age == 0)
		return;
	if ((txn = store_write()) == NULL || mdb_cursor_open(txn, store_dbi(TABLE_LOG), &cursor) != 0)
		return;
	for (int n = 0; n < TRIM_STEP && mdb_cursor_get(cursor, &key, &value, MDB_FIRST) == 0; n++) {
		uint64_t position = be64_get(key.mv_data), size = value.mv_size - sizeof(struct record_head);
		struct record_head head;

		memcpy(&head, value.mv_data, sizeof head);
		if (position >= now.last ||
		    ((max_bytes == 0 || now.bytes <= max_bytes) && (max_age == 0 || head.stored >= oldest)))
			break;
		mdb_cursor_del(cursor, 0);
		now.bytes -= size < now.bytes ? size : now.bytes;
		now.first = position + 1;
	}
	mdb_cursor_close(cursor);
	if (now.first != first) {
		meta_put("first", now.first);
		meta_put("log_bytes", now.bytes);
	}
}
