/* The log from Postgres: transactions at gapless positions, and the schema's history. */
#include "translog.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "extent.h"
#include "log.h"
#include "pbwire.h"
#include "position.h"
#include "satellite.h"
#include "service.h"
#include "writes.h"
#include "xalloc.h"

#define KEY_SIZE 12
/* What is deleted in one turn, so that appends and readers do not notice. */
#define TRIM_RECORDS 2000
#define TRIM_BYTES   (8 * 1024 * 1024)

/* Numbers that every append needs; all of them are in meta too, written in the transaction that changed them.
 */
static struct state {
	uint64_t life, first, last; /* last: closed by its Postgres commit */
	uint64_t max_xid;
	uint64_t bytes;		/* of the records kept, whole commits' and a tail's */
	uint64_t next;		/* position of the transaction that is being appended */
	uint64_t leader, leads; /* which instance leads; how often another began to */
	uint64_t lead_began;	/* the first position of its own */
	struct source {
		uint64_t commit_lsn; /* of the last commit that is here */
		uint64_t passed_lsn; /* the WAL up to here is dealt with */
	} sources[DATABASES_MAX + 1];
} now, durable;

static uint64_t appended, appended_bytes; /* since the start */

static void
make_key(uint8_t key[KEY_SIZE], uint64_t position, uint32_t part)
{
	be64_set(key, position);
	for (int i = 3; i >= 0; i--, part >>= 8)
		key[8 + i] = (uint8_t)part;
}

/* The name of what is kept of an instance. */
static const char *
name_of(const char *what, unsigned instance)
{
	static char name[64];

	snprintf(name, sizeof name, instance > 1 ? "%s_%u" : "%s", what, instance);
	return name;
}

void
translog_open(void)
{
	now = (struct state){
		.life = meta_get("life"),
		.first = meta_get("first"),
		.last = meta_get("last"),
		.max_xid = meta_get("max_xid"),
		.bytes = meta_get("log_bytes"),
		.leader = meta_get("leader"),
		.leads = meta_get("leads"),
		.lead_began = meta_get("lead_began"),
	};
	if (now.leader == 0)
		now.leader = 1;
	for (unsigned i = 1; i <= DATABASES_MAX; i++) {
		now.sources[i].commit_lsn = meta_get(name_of("commit_lsn", i));
		now.sources[i].passed_lsn = meta_get(name_of("passed_lsn", i));
		if (i > 1 && now.sources[i].passed_lsn != 0)
			writes_set_several();
	}
	now.next = now.last + 1;
	durable = now;
}

void
translog_commit(void)
{
	const struct {
		const char *name;
		uint64_t now, durable;
	} numbers[] = {
		{ "first", now.first, durable.first },
		{ "last", now.last, durable.last },
		{ "max_xid", now.max_xid, durable.max_xid },
		{ "log_bytes", now.bytes, durable.bytes },
		{ "leader", now.leader, durable.leader },
		{ "leads", now.leads, durable.leads },
		{ "lead_began", now.lead_began, durable.lead_began },
	};

	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
		if (numbers[i].now != numbers[i].durable)
			meta_put(numbers[i].name, numbers[i].now);
	for (unsigned i = 1; i <= DATABASES_MAX; i++) {
		const struct source *s = &now.sources[i], *d = &durable.sources[i];

		if (s->commit_lsn != d->commit_lsn)
			meta_put(name_of("commit_lsn", i), s->commit_lsn);
		if (s->passed_lsn != d->passed_lsn)
			meta_put(name_of("passed_lsn", i), s->passed_lsn);
	}
}

bool
translog_continues(const OpenLog *pg, const char **why)
{
	const struct source *source = &now.sources[pg->instance];
	char database[256];
	uint64_t timeline = meta_get(name_of("timeline", pg->instance));

	meta_get_text(name_of("database", pg->instance), database, sizeof database);
	if (now.life == 0 && pg->instance == translog_leader())
		*why = "the log is new";
	else if (meta_get(name_of("system_id", pg->instance)) != pg->system_id ||
		 strcmp(database, pg->database) != 0)
		*why = "it is another Postgres";
	else if (timeline != 0 && timeline != pg->timeline)
		*why = "Postgres is on another timeline (restored, or a standby was promoted?)";
	else if (pg->slot_lsn == 0)
		*why = "the replication slot is gone";
	else if (pg->slot_lsn > source->passed_lsn)
		*why = "the log is older than what was confirmed to Postgres (restored from a backup?)";
	else if (pg->wal_lsn < source->commit_lsn)
		*why = "Postgres is older than the log (restored from a backup?)";
	else
		return true;
	return false;
}

unsigned
translog_leader(void)
{
	return (unsigned)now.leader;
}

uint32_t
translog_leads(void)
{
	return (uint32_t)now.leads;
}

uint64_t
translog_led_until(unsigned instance)
{
	return meta_get(name_of("led_until", instance));
}

/* The instance is this Postgres from now on, and from this place in its WAL. */
static void
start_source(const StartLife *start)
{
	now.sources[start->instance] = (struct source){ start->slot_lsn, start->slot_lsn };
	if (start->instance > 1)
		writes_set_several();
	meta_put(name_of("system_id", start->instance), start->system_id);
	meta_put(name_of("timeline", start->instance), start->timeline);
	meta_put(name_of("led_until", start->instance), 0);
	meta_put_text(name_of("database", start->instance), start->database);
}

void
translog_start_source(const StartLife *start)
{
	const char *name = name_of("introductions", start->instance);

	if (store_write() == NULL)
		return;
	meta_put(name, meta_get(name) + 1);
	start_source(start);
	log_info("instance-began", "instance=%u", start->instance);
}

uint32_t
translog_introductions(unsigned instance)
{
	return (uint32_t)meta_get(name_of("introductions", instance));
}

void
translog_start_life(const StartLife *start)
{
	MDB_txn *txn = store_write();
	uint64_t life = (uint64_t)time(NULL) & LIFE_MAX;
	struct state before = now;

	if (txn == NULL)
		return;
	if (life == now.life || life == 0)
		life = (now.life + 1) & LIFE_MAX ? (now.life + 1) & LIFE_MAX : 1;
	mdb_drop(txn, store_dbi(TABLE_LOG), 0);
	mdb_drop(txn, store_dbi(TABLE_SCHEMA), 0);
	now = (struct state){
		.life = life, .first = 1, .next = 1, .leader = before.leader, .leads = before.leads
	};
	memcpy(now.sources, before.sources, sizeof now.sources);
	meta_put("life", life);
	for (unsigned i = 1; i <= DATABASES_MAX; i++)
		if (translog_led_until(i) != 0)
			meta_put(name_of("led_until", i), 0);
	start_source(start);
	writes_new_life();
	for (size_t i = 0; i < start->n_migrations; i++) {
		uint8_t ordinal[8];
		MDB_val key = { sizeof ordinal, ordinal };

		be64_set(ordinal, i);
		store_put_record(TABLE_SCHEMA, &key, &start->migrations[i]->base, 0, 0, 0);
	}
	log_info("log-life-began", "life=%" PRIu64 " migrations=%zu", life, start->n_migrations);
}

/* Those of the tail. */
static void
drop_migrations(MDB_txn *txn)
{
	struct arena a = { 0 };
	MDB_cursor *cursor;
	MDB_val key, value, message;
	struct record_head head;

	if (mdb_cursor_open(txn, store_dbi(TABLE_SCHEMA), &cursor) != 0)
		return;
	while (mdb_cursor_get(cursor, &key, &value, MDB_LAST) == 0 && record_open(&value, &head, &message)) {
		const Migration *m = migration__unpack(arena_pb(&a), message.mv_size, message.mv_data);

		if (m == NULL || m->position <= now.last || mdb_cursor_del(cursor, 0) != 0)
			break;
		store_change();
	}
	mdb_cursor_close(cursor);
	arena_clear(&a);
}

static void
drop_tail(void)
{
	MDB_txn *txn = store_write();
	MDB_cursor *cursor;
	uint8_t bytes[KEY_SIZE];
	MDB_val key = { sizeof bytes, bytes }, value;

	if (txn == NULL || mdb_cursor_open(txn, store_dbi(TABLE_LOG), &cursor) != 0)
		return;
	make_key(bytes, now.last + 1, 0);
	for (int rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE); rc == 0;
	     rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
		now.bytes -= value.mv_size - sizeof(struct record_head);
		mdb_cursor_del(cursor, 0);
		store_change();
	}
	mdb_cursor_close(cursor);
	drop_migrations(txn);
	now.next = now.last + 1;
}

void
translog_lead(unsigned instance)
{
	if (store_write() == NULL)
		return;
	drop_tail();
	writes_drop_parts(instance);
	meta_put(name_of("led_until", (unsigned)now.leader), now.last);
	now.leader = instance;
	now.leads++;
	now.lead_began = now.next;
	now.max_xid = 0; /* xids of another cluster */
	store_change();
	log_warning("lead-taken", "instance=%u after=%" PRIu64, instance, now.last);
}

void
translog_drop_tail(unsigned instance)
{
	if (instance == translog_leader())
		drop_tail();
	else
		writes_drop_parts(instance);
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
		t->position = now.next;
		for (size_t i = 0; i < t->n_changes; i++)
			if (t->changes[i]->migration != NULL)
				append_migration(t->changes[i]->migration);
		size = store_put_record(TABLE_LOG, key, &t->base, t->xid, now.max_xid, MDB_APPEND);
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

	pb_put_uint(&position, 1, now.next);
	pieces[1] = (MDB_val){ position.len, buf_data(&position) };
	size = store_put_packed(TABLE_LOG, key, pieces, xid, now.max_xid, MDB_APPEND);
	buf_clear(&position);
	return size;
}

/* The client's transaction has come back. */
static void
note_echo(const struct head *h)
{
	char *client_id = xmemdup0(h->origin.bytes, h->origin.len);
	ProtobufCBinaryData lsn = { h->client_lsn.len, (uint8_t *)(uintptr_t)h->client_lsn.bytes };

	writes_echoed(client_id, &lsn, now.next);
	free(client_id);
}

static void
commit_source(unsigned instance, uint64_t lsn)
{
	struct source *s = &now.sources[instance];

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
	uint8_t bytes[KEY_SIZE];
	MDB_val key = { sizeof bytes, bytes };
	size_t size;

	if (h->xid > now.max_xid)
		now.max_xid = h->xid;
	make_key(bytes, now.next, h->part);
	size = h->is_migration ? put_migration(&key, packed) : put_transaction(&key, packed, h->xid);
	now.bytes += size;
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
	    (t->introduce && (h.instance != now.leader || h.client_lsn.len == 0 || is_echoed(&h))))
		return false;
	if (!put_leaders(&t->transaction, &h) || !h.last)
		return true;
	if (h.client_lsn.len > 0)
		note_echo(&h);
	*position = now.last = now.next++;
	return true;
}

bool
translog_take_own(void)
{
	return writes_take_own((unsigned)now.leader, take_own);
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
		now.last = now.next;
		commit_source(translog_leader(), h.commit_lsn);
	}
	now.next++;
	return true;
}

void
translog_wal_passed(unsigned instance, uint64_t lsn)
{
	if (lsn > now.sources[instance].passed_lsn && store_write() != NULL) {
		now.sources[instance].passed_lsn = lsn;
		store_change();
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
	return durable.life;
}

uint64_t
translog_first(void)
{
	return durable.first;
}

uint64_t
translog_visible(void)
{
	return durable.last;
}

uint64_t
translog_bytes(void)
{
	return durable.bytes;
}

uint64_t
translog_appended(uint64_t *transactions)
{
	*transactions = appended;
	return appended_bytes;
}

uint64_t
translog_passed_lsn(unsigned instance)
{
	return durable.sources[instance].passed_lsn;
}

/* Its transactions are gone as far as clients are concerned; trimming takes the records. */
static void
forget_up_to(uint64_t position)
{
	if (store_write() == NULL || position < now.first)
		return;
	now.first = position + 1;
	store_change();
}

bool
translog_read(uint64_t after, uint32_t part, size_t max_bytes, struct buf *body, unsigned field)
{
	MDB_cursor *cursor;
	uint8_t bytes[KEY_SIZE];
	MDB_val key = { sizeof bytes, bytes }, value, message;
	struct record_head head;
	size_t before = body->len;
	bool ok = true;

	if (mdb_cursor_open(store_read(), store_dbi(TABLE_LOG), &cursor) != 0)
		return false;
	make_key(bytes, after + 1, part);
	for (int rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE); rc == 0 && body->len < max_bytes;
	     rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
		uint64_t position = be64_get(key.mv_data);

		if (position > durable.last)
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
		if (position < durable.lead_began || head.max_xid < extent->xmin)
			break;
		if (!extent_sees(extent, head.xid))
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
	if (mdb_cursor_get(cursor, &key, &value, MDB_FIRST) == 0 && be64_get(key.mv_data) < now.last) {
		memcpy(&head, value.mv_data, sizeof head);
		due = be64_get(key.mv_data) < now.first || record_stored(&head) < too_old ||
		      (max_bytes != 0 && now.bytes > max_bytes);
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
		now.bytes -= size < now.bytes ? size : now.bytes;
		if (position >= now.first)
			now.first = position + 1;
	}
	mdb_cursor_close(cursor);
	store_change();
	return n == TRIM_RECORDS || freed >= TRIM_BYTES;
}
