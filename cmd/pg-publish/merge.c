/* What another Postgres tells. */
#include "merge.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "arena.h"
#include "literal.h"
#include "merge_run.h"
#include "satellite.h"
#include "statement.h"
#include "tables.h"
#include "xalloc.h"

static struct arena memory; /* of the transaction that is being sent */

/* Rows whose foreign keys are to be checked, by table. */
static struct unchecked {
	uint32_t oid;
	struct buf rows; /* an array literal without its end */
} * unchecked;
static size_t n_unchecked;

bool
merge_concerns(const Transaction *t, const char *own)
{
	return t->only_client[0] == '\0' || strcmp(t->only_client, own) == 0;
}

bool
merge_brings_tables(const Transaction *t)
{
	for (size_t i = 0; i < t->n_changes; i++)
		if (t->changes[i]->migration != NULL)
			return true;
	return false;
}

static const Table *
described(const Transaction *t, uint32_t relation)
{
	for (size_t i = 0; i < t->n_tables; i++)
		if (t->tables[i]->relation == relation)
			return t->tables[i];
	return NULL;
}

// ---- one row

static const SatOpRow *
row_of(const Change *c)
{
	const SatTransOp *op = sat_trans_op__unpack(arena_pb(&memory), c->op.len, c->op.data);

	if (op == NULL)
		return NULL;
	switch (op->op_case) {
	case SAT_TRANS_OP__OP_INSERT:
		return op->insert->row_data;
	case SAT_TRANS_OP__OP_UPDATE:
		return op->update->row_data;
	case SAT_TRANS_OP__OP_DELETE:
		return op->delete_->old_row_data;
	default:
		return NULL;
	}
}

/* Where rows of the table go. */
static void
locate(const Transaction *t, uint32_t relation, struct merge_row *out)
{
	const Table *d = described(t, relation);
	uint32_t *nums = NULL;

	out->described = d;
	out->table = d != NULL ? tables_find(d) : NULL;
	if (out->table == NULL)
		return;
	nums = arena_alloc(&memory, d->n_columns * sizeof *nums);
	for (size_t i = 0; i < d->n_columns; i++)
		nums[i] = tables_column(out->table, d->columns[i]->name);
	out->nums = nums;
}

/* Reads it into `out`, which is empty or has the row before it. False: nothing of it is for this Postgres. */
static bool
read_row(const Transaction *t, const Change *c, const char *apart_from, struct merge_row *out)
{
	const SatOpRow *row;
	Value *values;

	if (out->described == NULL || out->described->relation != c->relation)
		locate(t, c->relation, out);
	if (c->state == NULL || out->table == NULL || !out->table->exists ||
	    tables_is_apart(out->table, apart_from) || (row = row_of(c)) == NULL)
		return false;
	client_op__init(&out->op);
	out->op.kind = c->kind;
	out->op.relation = out->table->oid;
	out->op.values = arena_alloc(&memory, row->n_values * sizeof *out->op.values);
	values = arena_alloc(&memory, row->n_values * sizeof *values);
	for (size_t i = 0; i < row->n_values && i < out->described->n_columns; i++) {
		if (out->nums[i] == 0)
			continue;
		value__init(&values[i]);
		values[i].num = out->nums[i];
		values[i].text = row->values[i];
		values[i].null = sat_is_null(row, i);
		out->op.values[out->op.n_values++] = &values[i];
	}
	return true;
}

// ---- foreign keys

static void
check_later(const ClientOp *op)
{
	struct buf values = { 0 };
	size_t i = 0;

	while (i < n_unchecked && unchecked[i].oid != op->relation)
		i++;
	if (i == n_unchecked) {
		unchecked = xrealloc(unchecked, (n_unchecked + 1) * sizeof *unchecked);
		unchecked[n_unchecked++] = (struct unchecked){ .oid = op->relation };
	}
	literal_values(&values, op);
	buf_puts(&unchecked[i].rows, unchecked[i].rows.len > 0 ? "," : "{");
	literal_element(&unchecked[i].rows, &values);
	buf_clear(&values);
}

static void
forget_checks(void)
{
	for (size_t i = 0; i < n_unchecked; i++)
		buf_clear(&unchecked[i].rows);
	n_unchecked = 0;
}

bool
merge_send_checks(PGconn *conn)
{
	bool ok = true;

	for (size_t i = 0; ok && i < n_unchecked; i++) {
		char relation[16];
		const char *params[] = { relation, NULL };

		snprintf(relation, sizeof relation, "%" PRIu32, unchecked[i].oid);
		buf_puts(&unchecked[i].rows, "}");
		params[1] = buf_cstr(&unchecked[i].rows);
		ok = statement_send(conn, "SELECT electric.check_references($1, $2)", 2, params, NULL, NULL);
	}
	forget_checks();
	return ok;
}

// ---- what is sent

void
merge_forget(void)
{
	merge_run_forget();
	forget_checks();
}

static enum merge_guess
guess(const struct merge_row *r, const RowState *state, enum merge_way way)
{
	if (way == MERGE_ROW_BY_ROW || state->forced || r->op.kind == CHANGE_KIND__DELETE)
		return GUESS_NONE;
	if (way == MERGE_KNOWN)
		return GUESS_HERE;
	return r->op.kind == CHANGE_KIND__INSERT ? GUESS_NEW : GUESS_NONE;
}

bool
merge_send_tables(PGconn *conn, const Transaction *t)
{
	for (size_t i = 0; i < t->n_changes; i++) {
		const Migration *m = t->changes[i]->migration;
		const char *params[] = { t->origin, m != NULL ? m->version : NULL,
			m != NULL ? m->carry : NULL };

		if (m != NULL && m->carry[0] != '\0' &&
		    PQsendQueryParams(
			conn, "SELECT electric.take_tables($1, $2, $3)", 3, NULL, params, NULL, NULL, 0) != 1)
			return false;
	}
	return true;
}

bool
merge_send(PGconn *conn, const Transaction *t, bool follows, enum merge_way way)
{
	struct merge_row r = { 0 };

	arena_reset(&memory);
	for (size_t i = 0; i < t->n_changes; i++) {
		const Change *c = t->changes[i];

		if (!read_row(t, c, follows ? NULL : t->origin, &r))
			continue;
		if (!merge_run_add(conn, &r, c->state, guess(&r, c->state, way), follows))
			return false;
		if (!follows)
			check_later(&r.op);
	}
	return true;
}

bool
merge_send_repair(PGconn *conn, const Transaction *t, const char *instance)
{
	struct merge_row r = { 0 };
	bool ok = true;

	arena_reset(&memory);
	for (size_t i = 0; ok && i < t->n_changes; i++) {
		struct buf values = { 0 };
		char relation[16];

		if (!read_row(t, t->changes[i], instance, &r))
			continue;
		literal_values(&values, &r.op);
		snprintf(relation, sizeof relation, "%" PRIu32, r.table->oid);
		ok = PQsendQueryParams(conn, "SELECT electric.repair($1, $2, $3, false)", 3, NULL,
			 (const char *[]){ instance, relation, buf_cstr(&values) }, NULL, NULL, 0) == 1;
		buf_clear(&values);
	}
	return ok;
}
