/* The log from Postgres: what is put into it. */
#include "translog_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arena.h"
#include "pbwire.h"
#include "satellite.h"
#include "writes.h"
#include "xalloc.h"

static uint64_t appended, appended_bytes; /* since the start */

static void
append_migration(Migration *migration)
{
	uint8_t ordinal[8];
	MDB_val key = { sizeof ordinal, ordinal };
	MDB_stat stat;

	if (store_write() == NULL || mdb_stat(store_write(), store_dbi(TABLE_SCHEMA), &stat) != 0)
		return;
	migration->position = translog_now.next;
	be64_set(ordinal, stat.ms_entries);
	store_put_record(TABLE_SCHEMA, &key, &migration->base, 0, 0, 0);
}

/* What log-store needs to know of a Transaction. */
struct head {
	uint32_t part, instance;
	bool last, is_migration, closes;
	uint64_t xid, commit_lsn, timestamp;
	struct pb_field origin, client_lsn, only_client;
};

/* By the numbers of the fields in proto/pipeline.proto. */
static bool
read_head(const ProtobufCBinaryData *packed, struct head *h)
{
	const uint8_t *p = packed->data, *end = p + packed->len;
	struct pb_field f;

	memset(h, 0, sizeof *h);
	while (pb_next(&p, end, &f)) {
		switch (f.number) {
		case 2:
			h->part = (uint32_t)f.value;
			break;
		case 3:
			h->last = f.value != 0;
			break;
		case 4:
			h->instance = (uint32_t)f.value;
			break;
		case 5:
			h->xid = f.value;
			break;
		case 6:
			h->commit_lsn = f.value;
			break;
		case 7:
			h->timestamp = f.value;
			break;
		case 8:
			h->origin = f;
			break;
		case 9:
			h->client_lsn = f;
			break;
		case 10:
			h->is_migration = f.value != 0;
			break;
		case 12:
			h->closes = f.value != 0;
			break;
		case 13:
			h->only_client = f;
			break;
		default:
			break;
		}
	}
	return p != NULL;
}

/* The few that carry a migration say at which position, in the log as in the schema's history. */
static size_t
put_migration(MDB_val *key, const ProtobufCBinaryData *packed)
{
	struct arena a = { 0 };
	Transaction *t = transaction__unpack(arena_pb(&a), packed->len, packed->data);
	size_t size = 0;

	if (t != NULL) {
		t->position = translog_now.next;
		for (size_t i = 0; i < t->n_changes; i++)
			if (t->changes[i]->migration != NULL)
				append_migration(t->changes[i]->migration);
		size = store_put_record(TABLE_LOG, key, &t->base, t->xid, translog_now.max_xid, MDB_APPEND);
	}
	arena_clear(&a);
	return size;
}

static size_t
put_transaction(MDB_val *key, const ProtobufCBinaryData *packed, uint64_t xid)
{
	struct buf position = { 0 };
	MDB_val pieces[] = { { packed->len, packed->data }, { 0, NULL } };
	size_t size;

	pb_put_uint(&position, 1, translog_now.next);
	pieces[1] = (MDB_val){ position.len, buf_data(&position) };
	size = store_put_packed(TABLE_LOG, key, pieces, xid, translog_now.max_xid, MDB_APPEND);
	buf_clear(&position);
	return size;
}

/* The client's transaction has come back. */
static void
note_echo(const struct head *h)
{
	char *client_id = xmemdup0(h->origin.bytes, h->origin.len);
	ProtobufCBinaryData lsn = { h->client_lsn.len, (uint8_t *)(uintptr_t)h->client_lsn.bytes };

	writes_echoed(client_id, &lsn, translog_now.next);
	free(client_id);
}

static void
commit_source(unsigned instance, uint64_t lsn)
{
	struct source *s = &translog_now.sources[instance];

	s->commit_lsn = lsn;
	if (lsn > s->passed_lsn)
		s->passed_lsn = lsn;
}

/*
 * What it wrote itself goes the way of what clients write. All else came from the leader; or, if it has led,
 * from clients, and nobody has read what it made of that: the leader takes it from the log of writes, too,
 * and may decide otherwise, so it is asked for those rows.
 */
static bool
append_follower(unsigned instance, const ProtobufCBinaryData *packed, const struct head *h)
{
	if (h->only_client.len == 0) {
		char origin[32];
		struct buf lsn = { 0 };
		ClientTransaction t = CLIENT_TRANSACTION__INIT;
		bool ok;

		snprintf(origin, sizeof origin, SAT_POSTGRES_ORIGIN, instance);
		be64_set(buf_room(&lsn, 8), h->commit_lsn);
		buf_added(&lsn, 8);
		buf_put(&lsn, h->client_lsn.bytes, h->client_lsn.len);
		t.client_id = origin;
		t.lsn = (ProtobufCBinaryData){ lsn.len, buf_data(&lsn) };
		t.timestamp = h->timestamp;
		t.transaction = *packed;
		t.introduce = h->client_lsn.len > 0;
		ok = writes_append_part(&t, instance, h->part, h->last);
		buf_clear(&lsn);
		if (!ok)
			return false;
	}
	if (h->last && h->closes) {
		commit_source(instance, h->commit_lsn);
		store_change();
	}
	return store_write() != NULL;
}

static bool
put_leaders(const ProtobufCBinaryData *packed, const struct head *h)
{
	uint8_t bytes[TRANSLOG_KEY];
	MDB_val key = { sizeof bytes, bytes };
	size_t size;

	if (h->xid > translog_now.max_xid)
		translog_now.max_xid = h->xid;
	translog_key(bytes, translog_now.next, h->part);
	size = h->is_migration ? put_migration(&key, packed) : put_transaction(&key, packed, h->xid);
	translog_now.bytes += size;
	appended_bytes += size;
	return size > 0;
}

static bool
is_echoed(const struct head *h)
{
	char *client_id = xmemdup0(h->origin.bytes, h->origin.len);
	ProtobufCBinaryData lsn = { h->client_lsn.len, (uint8_t *)(uintptr_t)h->client_lsn.bytes };
	bool echoed = writes_is_echoed(client_id, &lsn);

	free(client_id);
	return echoed;
}

/*
 * A part of what came from the leader while it followed: what it wrote itself, or what it asked about. That
 * may be clients' transactions that it had taken when it led before, and then nobody else has.
 */
static bool
take_own(const ClientTransaction *t, uint64_t *position)
{
	struct head h;

	if (!read_head(&t->transaction, &h) ||
	    (t->introduce && (h.instance != translog_now.leader || h.client_lsn.len == 0 || is_echoed(&h))))
		return false;
	if (!put_leaders(&t->transaction, &h) || !h.last)
		return true;
	if (h.client_lsn.len > 0)
		note_echo(&h);
	*position = translog_now.last = translog_now.next++;
	return true;
}

bool
translog_take_own(void)
{
	return writes_take_own((unsigned)translog_now.leader, take_own);
}

bool
translog_append(unsigned instance, const ProtobufCBinaryData *packed)
{
	struct head h;

	if (!read_head(packed, &h))
		return false;
	if (instance != translog_leader())
		return append_follower(instance, packed, &h);
	if (!put_leaders(packed, &h))
		return false;
	if (!h.last)
		return true;
	appended++;
	if (h.client_lsn.len > 0 && h.origin.len > 0)
		note_echo(&h);
	if (h.closes) {
		translog_now.last = translog_now.next;
		commit_source(translog_leader(), h.commit_lsn);
	}
	translog_now.next++;
	return true;
}

uint64_t
translog_appended(uint64_t *transactions)
{
	*transactions = appended;
	return appended_bytes;
}
