/* The log from Postgres: the numbers about it, whose WAL it goes on from, and who leads. */
#include "translog_state.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "log.h"
#include "position.h"
#include "writes.h"

struct translog_state translog_now, translog_durable;

void
translog_key(uint8_t key[TRANSLOG_KEY], uint64_t position, uint32_t part)
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
	translog_now = (struct translog_state){
		.life = meta_get("life"),
		.first = meta_get("first"),
		.last = meta_get("last"),
		.max_xid = meta_get("max_xid"),
		.bytes = meta_get("log_bytes"),
		.leader = meta_get("leader"),
		.leads = meta_get("leads"),
		.lead_began = meta_get("lead_began"),
	};
	if (translog_now.leader == 0)
		translog_now.leader = 1;
	for (unsigned i = 1; i <= DATABASES_MAX; i++) {
		translog_now.sources[i].commit_lsn = meta_get(name_of("commit_lsn", i));
		translog_now.sources[i].passed_lsn = meta_get(name_of("passed_lsn", i));
		if (i > 1 && translog_now.sources[i].passed_lsn != 0)
			writes_set_several();
	}
	translog_now.next = translog_now.last + 1;
	translog_durable = translog_now;
}

void
translog_commit(void)
{
	const struct {
		const char *name;
		uint64_t now, durable;
	} numbers[] = {
		{ "first", translog_now.first, translog_durable.first },
		{ "last", translog_now.last, translog_durable.last },
		{ "max_xid", translog_now.max_xid, translog_durable.max_xid },
		{ "log_bytes", translog_now.bytes, translog_durable.bytes },
		{ "leader", translog_now.leader, translog_durable.leader },
		{ "leads", translog_now.leads, translog_durable.leads },
		{ "lead_began", translog_now.lead_began, translog_durable.lead_began },
	};

	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
		if (numbers[i].now != numbers[i].durable)
			meta_put(numbers[i].name, numbers[i].now);
	for (unsigned i = 1; i <= DATABASES_MAX; i++) {
		const struct source *s = &translog_now.sources[i], *d = &translog_durable.sources[i];

		if (s->commit_lsn != d->commit_lsn)
			meta_put(name_of("commit_lsn", i), s->commit_lsn);
		if (s->passed_lsn != d->passed_lsn)
			meta_put(name_of("passed_lsn", i), s->passed_lsn);
	}
}

bool
translog_continues(const OpenLog *pg, const char **why)
{
	const struct source *source = &translog_now.sources[pg->instance];
	char database[256];
	uint64_t timeline = meta_get(name_of("timeline", pg->instance));

	meta_get_text(name_of("database", pg->instance), database, sizeof database);
	if (translog_now.life == 0 && pg->instance == translog_leader())
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
	return (unsigned)translog_now.leader;
}

uint32_t
translog_leads(void)
{
	return (uint32_t)translog_now.leads;
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
	translog_now.sources[start->instance] = (struct source){ start->slot_lsn, start->slot_lsn };
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
	struct translog_state before = translog_now;

	if (txn == NULL)
		return;
	if (life == translog_now.life || life == 0)
		life = (translog_now.life + 1) & LIFE_MAX ? (translog_now.life + 1) & LIFE_MAX : 1;
	mdb_drop(txn, store_dbi(TABLE_LOG), 0);
	mdb_drop(txn, store_dbi(TABLE_SCHEMA), 0);
	translog_now = (struct translog_state){
		.life = life, .first = 1, .next = 1, .leader = before.leader, .leads = before.leads
	};
	memcpy(translog_now.sources, before.sources, sizeof translog_now.sources);
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

		if (m == NULL || m->position <= translog_now.last || mdb_cursor_del(cursor, 0) != 0)
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
	uint8_t bytes[TRANSLOG_KEY];
	MDB_val key = { sizeof bytes, bytes }, value;

	if (txn == NULL || mdb_cursor_open(txn, store_dbi(TABLE_LOG), &cursor) != 0)
		return;
	translog_key(bytes, translog_now.last + 1, 0);
	for (int rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE); rc == 0;
	     rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
		translog_now.bytes -= value.mv_size - sizeof(struct record_head);
		mdb_cursor_del(cursor, 0);
		store_change();
	}
	mdb_cursor_close(cursor);
	drop_migrations(txn);
	translog_now.next = translog_now.last + 1;
}

void
translog_lead(unsigned instance)
{
	if (store_write() == NULL)
		return;
	drop_tail();
	writes_drop_parts(instance);
	meta_put(name_of("led_until", (unsigned)translog_now.leader), translog_now.last);
	translog_now.leader = instance;
	translog_now.leads++;
	translog_now.lead_began = translog_now.next;
	translog_now.max_xid = 0; /* xids of another cluster */
	store_change();
	log_warning("lead-taken", "instance=%u after=%" PRIu64, instance, translog_now.last);
}

void
translog_drop_tail(unsigned instance)
{
	if (instance == translog_leader())
		drop_tail();
	else
		writes_drop_parts(instance);
}

void
translog_wal_passed(unsigned instance, uint64_t lsn)
{
	if (lsn > translog_now.sources[instance].passed_lsn && store_write() != NULL) {
		translog_now.sources[instance].passed_lsn = lsn;
		store_change();
	}
}

void
translog_committed(bool ok)
{
	if (ok)
		translog_durable = translog_now;
	else
		translog_now = translog_durable;
}

uint64_t
translog_life(void)
{
	return translog_durable.life;
}

uint64_t
translog_first(void)
{
	return translog_durable.first;
}

uint64_t
translog_visible(void)
{
	return translog_durable.last;
}

uint64_t
translog_bytes(void)
{
	return translog_durable.bytes;
}

uint64_t
translog_passed_lsn(unsigned instance)
{
	return translog_durable.sources[instance].passed_lsn;
}
