/* log-store --dump: the log as text. */
#include "dump.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "exits.h"
#include "pipeline.pb-c.h"
#include "satellite.h"
#include "store.h"

static void
print_row(const char *name, const SatOpRow *row)
{
	if (row == NULL)
		return;
	printf(" %s=", name);
	for (size_t i = 0; i < row->n_values; i++) {
		printf("%c", i == 0 ? '(' : ',');
		if (sat_is_null(row, i))
			printf("NULL");
		else
			printf("'%.*s'", (int)row->values[i].len, (const char *)row->values[i].data);
	}
	printf(")");
}

static void
print_tags(char **tags, size_t n)
{
	printf(" tags=");
	for (size_t i = 0; i < n; i++)
		printf("%s%s", i > 0 ? "," : "", tags[i]);
}

static void
print_change(const Transaction *t, const Change *c)
{
	static const char *const kinds[] = { "?", "insert", "update", "delete", "migrate" };
	struct arena a = { 0 };
	SatTransOp *op = sat_trans_op__unpack(arena_pb(&a), c->op.len, c->op.data);

	printf("%" PRIu64 " %s %s relation=%" PRIu32, t->position, t->origin,
	    kinds[c->kind <= 4 ? c->kind : 0], c->relation);
	if (c->migration != NULL) {
		printf(" version=%s tables=", c->migration->version);
		for (size_t i = 0; i < c->migration->n_tables; i++)
			printf("%s%s", i > 0 ? "," : "", c->migration->tables[i]->name);
	} else if (op != NULL && op->op_case == SAT_TRANS_OP__OP_INSERT) {
		print_row("row", op->insert->row_data);
		print_tags(op->insert->tags, op->insert->n_tags);
	} else if (op != NULL && op->op_case == SAT_TRANS_OP__OP_UPDATE) {
		print_row("row", op->update->row_data);
		print_row("old", op->update->old_row_data);
		print_tags(op->update->tags, op->update->n_tags);
	} else if (op != NULL && op->op_case == SAT_TRANS_OP__OP_DELETE) {
		print_row("old", op->delete_->old_row_data);
	}
	printf("\n");
	arena_clear(&a);
}

static void
print_transaction(const Transaction *t)
{
	if (t->part == 0)
		printf("%" PRIu64 " %s begin xid=%" PRIu64 " commit_lsn=%" PRIX32 "/%" PRIX32
		       " timestamp=%" PRIu64 "%s%s\n",
		    t->position, t->origin, t->xid, (uint32_t)(t->commit_lsn >> 32), (uint32_t)t->commit_lsn,
		    t->timestamp, t->only_client[0] != '\0' ? " only_client=" : "", t->only_client);
	for (size_t i = 0; i < t->n_changes; i++)
		print_change(t, t->changes[i]);
	if (t->last)
		printf("%" PRIu64 " %s commit\n", t->position, t->origin);
}

int
dump_log(uint64_t from)
{
	MDB_cursor *cursor;
	uint8_t bytes[12] = { 0 };
	MDB_val key = { sizeof bytes, bytes }, value, message;
	uint64_t last = meta_get("last");

	if (mdb_cursor_open(store_read(), store_dbi(TABLE_LOG), &cursor) != 0)
		return EX_IOERR;
	be64_set(bytes, from);
	for (int rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE); rc == 0;
	     rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
		struct arena a = { 0 };
		struct record_head head;
		Transaction *t;

		if (be64_get(key.mv_data) > last)
			break;
		if (!record_open(&value, &head, &message) ||
		    (t = transaction__unpack(arena_pb(&a), message.mv_size, message.mv_data)) == NULL) {
			fprintf(stderr, "log-store: the record at position %" PRIu64 " is damaged\n",
			    be64_get(key.mv_data));
			return EX_DATAERR;
		}
		print_transaction(t);
		arena_clear(&a);
	}
	mdb_cursor_close(cursor);
	return EX_OK;
}
