/* log-store --check: is the file whole? */
#include "verify.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "exits.h"
#include "pipeline.pb-c.h"
#include "peer.h"
#include "store.h"

static unsigned long wrong;

static void __attribute__((format(printf, 1, 2))) say(const char *fmt, ...)
{
	va_list ap;

	wrong++;
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

/* The record's message in the arena; NULL, with a line said, when it is damaged. */
static ProtobufCMessage *
read_record(struct arena *a, const MDB_val *value, const ProtobufCMessageDescriptor *type, const char *name,
    uint64_t number)
{
	struct record_head head;
	MDB_val message;
	ProtobufCMessage *m = NULL;

	if (record_open(value, &head, &message))
		m = protobuf_c_message_unpack(type, arena_pb(a), message.mv_size, message.mv_data);
	if (m == NULL)
		say("%s %" PRIu64 ": damaged", name, number);
	return m;
}

/* The log from Postgres: whole transactions from `first` to `last`, and nothing else but a tail to be
 * dropped. */
static uint64_t
check_transactions(void)
{
	uint64_t first = meta_get("first"), last = meta_get("last"), position = first, records = 0;
	uint32_t part = 0;
	struct arena a = { 0 };
	MDB_cursor *cursor;
	MDB_val key, value;

	if (mdb_cursor_open(store_read(), store_dbi(TABLE_LOG), &cursor) != 0)
		return 0;
	while (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0) {
		uint64_t at = be64_get(key.mv_data);
		uint32_t at_part = be32_get((uint8_t *)key.mv_data + 8);
		const Transaction *t;

		arena_reset(&a);
		/* Before first: what trimming has not reached. After last: not committed. */
		if (at < first || at > last)
			continue;
		records++;
		if (at != position || at_part != part)
			say("transaction %" PRIu64 " part %" PRIu32 ": missing; %" PRIu64 " part %" PRIu32
			    " follows",
			    position, part, at, at_part);
		t = (const Transaction *)read_record(&a, &value, &transaction__descriptor, "transaction", at);
		if (t != NULL && (t->position != at || t->part != at_part))
			say("transaction %" PRIu64 ": holds another's content", at);
		position = t == NULL || t->last ? at + 1 : at;
		part = t == NULL || t->last ? 0 : at_part + 1;
	}
	if (position <= last)
		say("transaction %" PRIu64 " part %" PRIu32 ": missing at the end", position, part);
	mdb_cursor_close(cursor);
	arena_clear(&a);
	return records;
}

/* Every record of a table that holds nothing but records. */
static uint64_t
check_table(enum store_table table, const ProtobufCMessageDescriptor *type, const char *name)
{
	struct arena a = { 0 };
	MDB_cursor *cursor;
	MDB_val key, value;
	uint64_t n = 0;

	if (mdb_cursor_open(store_read(), store_dbi(table), &cursor) != 0)
		return 0;
	for (; mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0; n++) {
		arena_reset(&a);
		read_record(
		    &a, &value, type, name, key.mv_size == sizeof n ? (uint64_t)be64_get(key.mv_data) : n);
	}
	mdb_cursor_close(cursor);
	arena_clear(&a);
	return n;
}

int
verify_log(void)
{
	uint64_t transactions = check_transactions();
	uint64_t migrations = check_table(TABLE_SCHEMA, &migration__descriptor, "migration");
	uint64_t writes = check_table(TABLE_WRITES, &client_transaction__descriptor, "write");
	uint64_t clients = check_table(TABLE_CLIENTS, &client_record__descriptor, "client");

	printf("life=%" PRIu64 " first=%" PRIu64 " last=%" PRIu64 " records=%" PRIu64 " migrations=%" PRIu64
	       " writes=%" PRIu64 " clients=%" PRIu64 " wrong=%lu\n",
	    meta_get("life"), meta_get("first"), meta_get("last"), transactions, migrations, writes, clients,
	    wrong);
	return wrong == 0 ? EX_OK : EX_DATAERR;
}
