/* What another Postgres tells. */
#include "merge.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "arena.h"
#include "literal.h"
#include "satellite.h"
#include "tables.h"
#include "xalloc.h"

#define RUN_MAX	 1000 /* rows of a statement */
#define N_ARRAYS 7    /* parameters of electric.merge_all_<oid> */

/* Rows of one table that go in one statement: its parameters, as array literals. */
static struct {
	uint32_t oid;
	size_t n;
	bool news[RUN_MAX]; /* taken to be new */
	struct buf gone, forced, values, added, removed, columns;
} run;

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

/* A change as it is here: the table, and the values by its attribute numbers. */
struct row {
	const struct table *table;
	const Table *described;
	ClientOp op; /* kind, values */
};

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

/* False: nothing of it is for this Postgres. */
static bool
read_row(const Transaction *t, const Change *c, const char *apart_from, struct row *out)
{
	const SatOpRow *row;
	Value *values;

	out->described = described(t, c->relation);
	out->table = c->state != NULL && out->described != NULL ? tables_find(out->described) : NULL;
	if (out->table == NULL || !out->table->exists || tables_is_apart(out->table, apart_from) ||
	    (row = row_of(c)) == NULL)
		return false;
	client_op__init(&out->op);
	out->op.kind = c->kind;
	out->op.relation = out->table->oid;
	out->op.values = arena_alloc(&memory, row->n_values * sizeof *out->op.values);
	values = arena_alloc(&memory, row->n_values * sizeof *values);
	for (size_t i = 0; i < row->n_values && i < out->described->n_columns; i++) {
		uint32_t num = tables_column(out->table, out->described->columns[i]->name);

		if (num == 0)
			continue;
		value__init(&values[i]);
		values[i].num = num;
		values[i].text = row->values[i];
		values[i].null = sat_is_null(row, i);
		out->op.values[out->op.n_values++] = &values[i];
	}
	return true;
}

/* electric.tag[] as _column_tags has them: the base, then by attribute number. */
static void
literal_columns(struct buf *out, const struct row *r, const RowState *state)
{
	struct buf tag = { 0 };
	uint32_t max = 0;

	for (size_t i = 0; i < r->op.n_values; i++)
		if (r->op.values[i]->num > max)
			max = r->op.values[i]->num;
	buf_puts(out, "{");
	for (uint32_t num = 0; num <= max && (num == 0 || state->n_columns > 1); num++) {
		const char *wire = num == 0 && state->n_columns > 0 ? state->columns[0] : NULL;

		for (size_t i = 0; num > 0 && i < r->described->n_columns && i + 1 < state->n_columns; i++)
			if (tables_column(r->table, r->described->columns[i]->name) == num)
				wire = state->columns[i + 1];
		buf_puts(out, num > 0 ? "," : "");
		if (wire != NULL && literal_wire_tag(&tag, wire))
			literal_element(out, &tag);
		else
			buf_puts(out, "NULL");
	}
	buf_puts(out, "}");
	buf_clear(&tag);
}

// ---- foreign keys

static void
check_later(uint32_t oid, struct buf *row)
{
	size_t i = 0;

	while (i < n_unchecked && unchecked[i].oid != oid)
		i++;
	if (i == n_unchecked) {
		unchecked = xrealloc(unchecked, (n_unchecked + 1) * sizeof *unchecked);
		unchecked[n_unchecked++] = (struct unchecked){ .oid = oid };
	}
	buf_puts(&unchecked[i].rows, unchecked[i].rows.len > 0 ? "," : "{");
	literal_element(&unchecked[i].rows, row);
}

void
merge_forget_checks(void)
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
		ok = PQsendQueryParams(conn, "SELECT electric.check_references($1, $2)", 2, NULL, params,
			 NULL, NULL, 0) == 1;
	}
	merge_forget_checks();
	return ok;
}

// ---- many rows

/* How many rows from i on go together, as new ones; at least one. */
static size_t
together(size_t i)
{
	size_t n = 1;

	while (run.news[i] && i + n < run.n && run.news[i + n])
		n++;
	return n;
}

static bool
send_run(PGconn *conn, bool follows)
{
	struct buf *arrays[N_ARRAYS - 1] = { &run.gone, &run.forced, &run.values, &run.added, &run.removed,
		&run.columns };
	struct buf runs = { 0 };
	const char *params[N_ARRAYS];
	char sql[112];
	bool ok;

	if (run.n == 0)
		return true;
	for (size_t i = 0, n; i < run.n; i += n) {
		n = together(i);
		buf_printf(&runs, "%s%zu", i > 0 ? "," : "{", n);
		for (size_t k = 1; k < n; k++)
			buf_puts(&runs, ",1");
	}
	buf_puts(&runs, "}");
	for (size_t i = 0; i < N_ARRAYS - 1; i++) {
		buf_puts(arrays[i], "}");
		params[i] = buf_cstr(arrays[i]);
	}
	params[N_ARRAYS - 1] = buf_cstr(&runs);
	snprintf(sql, sizeof sql, "SELECT electric.merge_all_%" PRIu32 "($1, $2, %s, $3, $4, $5, $6, $7)",
	    run.oid, follows ? "true" : "false");
	ok = PQsendQueryParams(conn, sql, N_ARRAYS, NULL, params, NULL, NULL, 0) == 1;
	for (size_t i = 0; i < N_ARRAYS - 1; i++)
		buf_take(arrays[i], arrays[i]->len);
	buf_clear(&runs);
	run.n = 0;
	return ok;
}

static void
add_row(const struct row *r, const RowState *state, bool one_by_one)
{
	const char *comma = run.n > 0 ? "," : "{";
	struct buf text = { 0 };

	run.oid = r->table->oid;
	run.news[run.n++] = !one_by_one && r->op.kind == CHANGE_KIND__INSERT && !state->forced;
	buf_printf(&run.gone, "%s%s", comma, r->op.kind == CHANGE_KIND__DELETE ? "t" : "f");
	buf_printf(&run.forced, "%s%s", comma, state->forced ? "t" : "f");
	buf_puts(&run.values, comma);
	literal_values(&text, &r->op);
	literal_element(&run.values, &text);
	buf_puts(&run.added, comma);
	literal_tags(&text, state->added, state->n_added);
	literal_element(&run.added, &text);
	buf_puts(&run.removed, comma);
	literal_tags(&text, state->removed, state->n_removed);
	literal_element(&run.removed, &text);
	buf_puts(&run.columns, comma);
	literal_columns(&text, r, state);
	literal_element(&run.columns, &text);
	buf_clear(&text);
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
merge_send(PGconn *conn, const Transaction *t, bool follows, bool one_by_one)
{
	bool ok = true;

	arena_reset(&memory);
	for (size_t i = 0; ok && i < t->n_changes; i++) {
		const Change *c = t->changes[i];
		struct row r;

		if (!read_row(t, c, follows ? NULL : t->origin, &r))
			continue;
		if (run.n > 0 && (run.oid != r.table->oid || run.n == RUN_MAX))
			ok = send_run(conn, follows);
		add_row(&r, c->state, one_by_one);
		if (!follows) {
			struct buf values = { 0 };

			literal_values(&values, &r.op);
			check_later(r.op.relation, &values);
			buf_clear(&values);
		}
	}
	return ok && send_run(conn, follows);
}

bool
merge_send_repair(PGconn *conn, const Transaction *t, const char *instance)
{
	bool ok = true;

	arena_reset(&memory);
	for (size_t i = 0; ok && i < t->n_changes; i++) {
		struct buf values = { 0 };
		char relation[16];
		struct row r;

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
