/*
 * What clients sent, and what is kept of each client.
 *
 * Positions rise, with gaps: the first after a start is the time, in microseconds. So a file that was
 * restored from a backup never gives a position again that Postgres has recorded as applied.
 */
#include "writes.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#define XXH_STATIC_LINKING_ONLY /* for the state on the stack */
#include <xxhash.h>

#include "log.h"
#include "pbwire.h"
#include "peer.h"
#include "satellite.h"
#include "store.h"

/* An echo position that stands for "before what the log holds". */
#define ECHO_LONG_AGO 1
/* The npm client's lsn: the number of a row of its oplog, big-endian. Others' lsns may be anything. */
#define ROWID_SIZE 4
/* What is moved in one turn, but for one longer transaction. */
#define TAKE_BYTES (8 * 1024 * 1024)

static struct state {
	uint64_t last, applied;
	uint64_t echoed; /* the log has told all up to here */
} now, durable;
static bool several;		     /* Postgres */
static uint64_t least;		     /* that the next position may be */
static uint64_t applied_before_life; /* writes up to here do not come back in this life of the log */
static char life[17];
static uint64_t accepted, duplicates; /* since the start */
static struct histogram applying;

void
writes_open(void)
{
	struct timespec clock;

	meta_get_text("writes_life", life, sizeof life);
	if (life[0] == '\0') {
		uint64_t random;

		if (getrandom(&random, sizeof random, 0) != sizeof random)
			random = (uint64_t)time(NULL);
		snprintf(life, sizeof life, "%016" PRIx64, random);
		meta_put_text("writes_life", life);
	}
	now.last = meta_get("writes_last");
	now.applied = meta_get("writes_applied");
	now.echoed = meta_get("writes_echoed");
	applied_before_life = meta_get("writes_applied_before_life");
	durable = now;
	clock_gettime(CLOCK_REALTIME, &clock);
	least = (uint64_t)clock.tv_sec * 1000000 + (uint64_t)clock.tv_nsec / 1000;
}

const char *
writes_life(void)
{
	return life;
}

uint64_t
writes_last(void)
{
	return durable.last;
}

uint64_t
writes_pending(void)
{
	MDB_stat stat;

	return mdb_stat(store_read(), store_dbi(TABLE_WRITES), &stat) == 0 ? stat.ms_entries : 0;
}

uint64_t
writes_oldest(void)
{
	MDB_cursor *cursor;
	MDB_val key, value;
	struct record_head head;
	uint64_t stored = 0;

	if (mdb_cursor_open(store_read(), store_dbi(TABLE_WRITES), &cursor) != 0)
		return 0;
	if (mdb_cursor_get(cursor, &key, &value, MDB_FIRST) == 0 && value.mv_size >= sizeof head) {
		memcpy(&head, value.mv_data, sizeof head);
		stored = record_stored(&head);
	}
	mdb_cursor_close(cursor);
	return stored;
}

uint64_t
writes_accepted(void)
{
	return accepted;
}

uint64_t
writes_duplicates(void)
{
	return duplicates;
}

const struct histogram *
writes_applying(void)
{
	return &applying;
}

void
writes_committed(bool ok)
{
	if (ok)
		durable = now;
	else
		now = durable;
}

void
writes_set_several(void)
{
	several = true;
}

static void
note_applied(const MDB_val *record)
{
	struct record_head head;

	if (record->mv_size < sizeof head)
		return;
	memcpy(&head, record->mv_data, sizeof head);
	histogram_observe(&applying, ev_now(loop()) - (double)record_stored(&head) / 1000);
}

/* Records up to this position. */
static void
drop_up_to(uint64_t position)
{
	MDB_cursor *cursor;
	MDB_val key, value;
	MDB_txn *txn = store_write();

	if (txn == NULL || mdb_cursor_open(txn, store_dbi(TABLE_WRITES), &cursor) != 0)
		return;
	while (mdb_cursor_get(cursor, &key, &value, MDB_FIRST) == 0 && be64_get(key.mv_data) <= position) {
		note_applied(&value);
		mdb_cursor_del(cursor, 0);
	}
	mdb_cursor_close(cursor);
}

/* Their Postgres applies them in their order, so that the log tells them in it, too. */
static void
set_echoed(uint64_t position)
{
	if (!several || position <= now.echoed)
		return;
	drop_up_to(position);
	now.echoed = position;
	meta_put("writes_echoed", position);
}

void
writes_new_life(void)
{
	applied_before_life = now.applied;
	meta_put("writes_applied_before_life", applied_before_life);
	set_echoed(now.applied);
}

/* Client ids and lsns may be longer than LMDB's keys: a 128-bit hash stands for them. */
static MDB_val
hash_key(XXH128_canonical_t *out, const char *client_id, const ProtobufCBinaryData *lsn)
{
	XXH3_state_t state;

	XXH3_128bits_reset(&state);
	XXH3_128bits_update(&state, client_id, strlen(client_id) + 1);
	if (lsn != NULL)
		XXH3_128bits_update(&state, lsn->data, lsn->len);
	XXH128_canonicalFromHash(out, XXH3_128bits_digest(&state));
	return (MDB_val){ sizeof *out, out };
}

static bool
put_accepted(MDB_val *key, uint64_t position, uint64_t echo)
{
	uint8_t bytes[16];
	MDB_val value = { sizeof bytes, bytes };

	be64_set(bytes, position);
	be64_set(bytes + 8, echo);
	return store_put(TABLE_ACCEPTED, key, &value, 0);
}

/*
 * Beyond what the log holds, a transaction is known by its place: a client's row numbers only rise, so one
 * that is not above the last was accepted.
 */
static bool
is_old(MDB_val *client, const ProtobufCBinaryData *lsn)
{
	MDB_val last;

	return lsn->len == ROWID_SIZE &&
	       mdb_get(store_latest(), store_dbi(TABLE_CLIENT_LSN), client, &last) == 0 &&
	       last.mv_size == ROWID_SIZE && memcmp(lsn->data, last.mv_data, ROWID_SIZE) <= 0;
}

/* Stored in this life of the log or before: *echo as in writes_append(). */
static bool
is_accepted(const char *client_id, const ProtobufCBinaryData *lsn, uint64_t *echo)
{
	XXH128_canonical_t hash, client_hash;
	MDB_val key = hash_key(&hash, client_id, lsn), client = hash_key(&client_hash, client_id, NULL),
		value;

	*echo = ECHO_LONG_AGO;
	if (mdb_get(store_latest(), store_dbi(TABLE_ACCEPTED), &key, &value) != 0 || value.mv_size != 16)
		return is_old(&client, lsn);
	if (be64_get((uint8_t *)value.mv_data + 8) != 0 || be64_get(value.mv_data) > applied_before_life)
		*echo = be64_get((uint8_t *)value.mv_data + 8);
	return true;
}

static bool
put_write(ClientTransaction *t)
{
	uint8_t bytes[8];
	MDB_val position = { sizeof bytes, bytes };

	t->position = now.last < least ? least : now.last + 1;
	be64_set(bytes, t->position);
	if (!store_put_record(TABLE_WRITES, &position, &t->base, 0, 0, MDB_APPEND))
		return false;
	now.last = t->position;
	meta_put("writes_last", now.last);
	return true;
}

static MDB_val
part_key(uint8_t bytes[8], unsigned instance, uint32_t part)
{
	be64_set(bytes, (uint64_t)instance << 32 | part);
	return (MDB_val){ 8, bytes };
}

/* Those before the last one come out of their table. */
static bool
put_parts(unsigned instance)
{
	struct arena a = { 0 };
	MDB_cursor *cursor;
	uint8_t bytes[8];
	MDB_val key = part_key(bytes, instance, 0), value, message;
	struct record_head head;
	bool ok = true;

	if (mdb_cursor_open(store_write(), store_dbi(TABLE_PARTS), &cursor) != 0)
		return false;
	while (ok && mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE) == 0 &&
	       be64_get(key.mv_data) >> 32 == instance) {
		ClientTransaction *t;

		key = (MDB_val){ sizeof bytes, bytes };
		arena_reset(&a);
		t = record_open(&value, &head, &message)
			? client_transaction__unpack(arena_pb(&a), message.mv_size, message.mv_data)
			: NULL;
		ok = t != NULL && mdb_cursor_del(cursor, 0) == 0 && put_write(t);
	}
	mdb_cursor_close(cursor);
	arena_clear(&a);
	return ok;
}

bool
writes_append_part(ClientTransaction *t, unsigned instance, uint32_t part, bool last)
{
	XXH128_canonical_t hash;
	MDB_val key = hash_key(&hash, t->client_id, &t->lsn), part_of;
	uint8_t bytes[8];

	if (store_write() == NULL)
		return false;
	if (!last) {
		part_of = part_key(bytes, instance, part);
		return store_put_record(TABLE_PARTS, &part_of, &t->base, 0, 0, 0) > 0;
	}
	return (part == 0 || put_parts(instance)) && put_write(t) && put_accepted(&key, t->position, 0);
}

void
writes_drop_parts(unsigned instance)
{
	MDB_cursor *cursor;
	uint8_t bytes[8];
	MDB_val key = part_key(bytes, instance, 0), value;
	MDB_txn *txn = store_write();

	if (txn == NULL || mdb_cursor_open(txn, store_dbi(TABLE_PARTS), &cursor) != 0)
		return;
	while (mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE) == 0 &&
	       be64_get(key.mv_data) >> 32 == instance && mdb_cursor_del(cursor, 0) == 0) {
		store_change();
		key = (MDB_val){ sizeof bytes, bytes };
	}
	mdb_cursor_close(cursor);
}

/* Calls fn for what came from the instance in the log of writes, the oldest first, until it returns false. */
static void
each_of(unsigned instance, bool (*fn)(MDB_cursor *cursor, const ClientTransaction *t, void *data), void *data)
{
	struct arena a = { 0 };
	MDB_cursor *cursor;
	MDB_val key, value, message;
	struct record_head head;
	char origin[32];
	bool more = true;

	if (mdb_cursor_open(store_latest(), store_dbi(TABLE_WRITES), &cursor) != 0)
		return;
	snprintf(origin, sizeof origin, SAT_POSTGRES_ORIGIN, instance);
	for (int rc = mdb_cursor_get(cursor, &key, &value, MDB_FIRST); rc == 0 && more;
	     rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
		const ClientTransaction *t = NULL;

		arena_reset(&a);
		if (record_open(&value, &head, &message))
			t = client_transaction__unpack(arena_pb(&a), message.mv_size, message.mv_data);
		if (t != NULL && strcmp(t->client_id, origin) == 0)
			more = fn(cursor, t, data);
	}
	mdb_cursor_close(cursor);
	arena_clear(&a);
}

struct taking {
	bool (*put)(const ClientTransaction *t, uint64_t *position);
	size_t taken; /* bytes */
	bool more;
};

static bool
take(MDB_cursor *cursor, const ClientTransaction *t, void *data)
{
	struct taking *taking = data;
	XXH128_canonical_t hash;
	MDB_val key = hash_key(&hash, t->client_id, &t->lsn);
	uint64_t position = 0;

	if (t->transaction.len == 0 || !taking->put(t, &position))
		return true;
	taking->taken += t->transaction.len;
	if (position != 0)
		put_accepted(&key, t->position, position);
	mdb_cursor_del(cursor, 0);
	taking->more = position != 0 && taking->taken > TAKE_BYTES;
	return !taking->more;
}

bool
writes_take_own(unsigned instance, bool (*put)(const ClientTransaction *t, uint64_t *position))
{
	struct taking taking = { put, 0, false };

	if (store_write() != NULL)
		each_of(instance, take, &taking);
	return taking.more;
}

static bool
is_wish(MDB_cursor *cursor, const ClientTransaction *t, void *data)
{
	bool *found = data;

	(void)cursor;
	*found |= t->introduce && t->transaction.len == 0;
	return !*found;
}

bool
writes_wishes_all(unsigned instance)
{
	bool found = false;

	each_of(instance, is_wish, &found);
	return found;
}

bool
writes_append(ClientTransaction *t, const ProtobufCBinaryData *follows, bool *duplicate, uint64_t *echo)
{
	XXH128_canonical_t hash, client_hash;
	MDB_val key = hash_key(&hash, t->client_id, &t->lsn);
	MDB_val client = hash_key(&client_hash, t->client_id, NULL);
	MDB_val lsn = { t->lsn.len, t->lsn.data };
	uint64_t ignored;

	if (store_write() == NULL || (follows->len > 0 && !is_accepted(t->client_id, follows, &ignored)))
		return false;
	*duplicate = is_accepted(t->client_id, &t->lsn, echo);
	if (*duplicate) {
		duplicates++;
		return true;
	}
	*echo = 0;
	accepted++;
	return put_write(t) && put_accepted(&key, t->position, 0) &&
	       store_put(TABLE_CLIENT_LSN, &client, &lsn, 0);
}

bool
writes_is_echoed(const char *client_id, const ProtobufCBinaryData *lsn)
{
	uint64_t echo;

	return is_accepted(client_id, lsn, &echo) && echo != 0;
}

void
writes_echoed(const char *client_id, const ProtobufCBinaryData *lsn, uint64_t position)
{
	XXH128_canonical_t hash;
	MDB_val key = hash_key(&hash, client_id, lsn), value;

	if (store_write() != NULL && mdb_get(store_latest(), store_dbi(TABLE_ACCEPTED), &key, &value) == 0 &&
	    value.mv_size == 16) {
		uint64_t write = be64_get(value.mv_data);

		put_accepted(&key, write, position);
		set_echoed(write);
	}
}

void
writes_forget(const char *client_id, const ProtobufCBinaryData *lsn)
{
	XXH128_canonical_t hash;
	MDB_val key = hash_key(&hash, client_id, lsn);

	if (store_write() != NULL)
		mdb_del(store_write(), store_dbi(TABLE_ACCEPTED), &key, NULL);
}

void
writes_set_applied(uint64_t position)
{
	if (position <= now.applied || store_write() == NULL)
		return;
	if (!several)
		drop_up_to(position);
	now.applied = position;
	meta_put("writes_applied", position);
}

void
writes_read(uint64_t after, size_t max_bytes, struct buf *body, unsigned field)
{
	MDB_cursor *cursor;
	uint8_t bytes[8];
	MDB_val key = { sizeof bytes, bytes }, value, message;
	struct record_head head;

	if (mdb_cursor_open(store_read(), store_dbi(TABLE_WRITES), &cursor) != 0)
		return;
	be64_set(bytes, after + 1);
	for (int rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE); rc == 0 && body->len < max_bytes;
	     rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
		if (!record_open(&value, &head, &message)) {
			log_error("record-damaged", "write=%" PRIu64 " note=%s", be64_get(key.mv_data),
			    log_quote("this client transaction is lost, unless its client sends it again"));
			continue;
		}
		pb_put_bytes(body, field, message.mv_data, message.mv_size);
	}
	mdb_cursor_close(cursor);
}

ClientRecord *
client_get(struct arena *a, const char *client_id)
{
	XXH128_canonical_t hash;
	MDB_val key = hash_key(&hash, client_id, NULL), value, message;
	struct record_head head;
	ClientRecord *record = NULL;

	if (mdb_get(store_latest(), store_dbi(TABLE_CLIENTS), &key, &value) == 0) {
		if (record_open(&value, &head, &message))
			record = client_record__unpack(arena_pb(a), message.mv_size, message.mv_data);
		if (record == NULL)
			log_error("record-damaged", "client_id=%s", log_quote(client_id));
	}
	if (record == NULL) {
		record = arena_alloc(a, sizeof *record);
		client_record__init(record);
		record->client_id = arena_strdup(a, client_id);
	}
	return record;
}

bool
client_put(ClientRecord *record)
{
	XXH128_canonical_t hash;
	MDB_val key = hash_key(&hash, record->client_id, NULL);

	return store_put_record(TABLE_CLIENTS, &key, &record->base, 0, 0, 0) > 0;
}

ProtobufCBinaryData
client_lsn(struct arena *a, const char *client_id)
{
	XXH128_canonical_t hash;
	MDB_val key = hash_key(&hash, client_id, NULL), value;

	if (mdb_get(store_read(), store_dbi(TABLE_CLIENT_LSN), &key, &value) != 0)
		return (ProtobufCBinaryData){ 0, NULL };
	return (ProtobufCBinaryData){ value.mv_size, arena_dup(a, value.mv_data, value.mv_size) };
}
