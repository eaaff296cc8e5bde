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

#define RUN_MAX	 4000 /* rows of a statement */
#define RUNS_MAX 16   /* tables whose rows are collected at the same time */
#define N_ARRAYS 7    /* parameters of electric.merge_all_<oid> */

/* Rows of one table that go in one statement: its parameters, as array literals. */
static struct run {
	uint32_t oid;
	size_t n;
	enum guess { GUESS_NONE, GUESS_NEW, GUESS_HERE } guesses[RUN_MAX]; /* those of one kind go together */
	struct buf gone, forced, values, added, removed, columns;
} runs[RUNS_MAX];
static size_t n_runs;

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
		ok = PQsendQueryParams(conn, "SELECT electric.check_references($1, $2)", 2, NULL, params,
			 NULL, NULL, 0) == 1;
	}
	forget_checks();
	return ok;
}

// ---- many rows

/* How many rows from i on go together; at least one. */
static size_t
together(const struct run *run, size_t i)
{
	size_t n = 1;

	while (run->guesses[i] != GUESS_NONE && i + n < run->n && run->guesses[i + n] == run->guesses[i])
		n++;
	return n;
}

/* The parameters of its statement but the last one. */
static void
arrays_of(struct run *run, struct buf *arrays[N_ARRAYS - 1])
{
	arrays[0] = &run->gone;
	arrays[1] = &run->forced;
	arrays[2] = &run->values;
	arrays[3] = &run->added;
	arrays[4] = &run->removed;
	arrays[5] = &run->columns;
}

static void
empty_run(struct run *run)
{
	struct buf *arrays[N_ARRAYS - 1];

	arrays_of(run, arrays);
	for (size_t i = 0; i < N_ARRAYS - 1; i++)
		buf_take(arrays[i], arrays[i]->len);
	run->n = 0;
}

void
merge_forget(void)
{
	for (size_t i = 0; i < n_runs; i++)
		empty_run(&runs[i]);
	n_runs = 0;
	forget_checks();
}

static bool
send_run(PGconn *conn, struct run *run, bool follows)
{
	struct buf *arrays[N_ARRAYS - 1];
	struct buf lengths = { 0 };
	const char *params[N_ARRAYS];
	char sql[112];
	bool ok;

	if (run->n == 0)
		return true;
	arrays_of(run, arrays);
	for (size_t i = 0, n; i < run->n; i += n) {
		n = together(run, i);
		buf_printf(
		    &lengths, "%s%s%zu", i > 0 ? "," : "{", run->guesses[i] == GUESS_HERE ? "-" : "", n);
		for (size_t k = 1; k < n; k++)
			buf_puts(&lengths, ",1");
	}
	buf_puts(&lengths, "}");
	for (size_t i = 0; i < N_ARRAYS - 1; i++) {
		buf_puts(arrays[i], "}");
		params[i] = buf_cstr(arrays[i]);
	}
	params[N_ARRAYS - 1] = buf_cstr(&lengths);
	snprintf(sql, sizeof sql, "SELECT electric.merge_all_%" PRIu32 "($1, $2, %s, $3, $4, $5, $6, $7)",
	    run->oid, follows ? "true" : "false");
	ok = PQsendQueryParams(conn, sql, N_ARRAYS, NULL, params, NULL, NULL, 0) == 1;
	empty_run(run);
	buf_clear(&lengths);
	return ok;
}

bool
merge_flush(PGconn *conn, bool follows)
{
	bool ok = true;

	for (size_t i = 0; ok && i < n_runs; i++)
		ok = send_run(conn, &runs[i], follows);
	n_runs = 0;
	return ok;
}

/* The rows of the table that are collected, with room for one more. NULL: the connection is unusable. */
static struct run *
run_of(PGconn *conn, uint32_t oid, bool follows)
{
	size_t i = 0;

	while (i < n_runs && runs[i].oid != oid)
		i++;
	if (i == RUNS_MAX) {
		if (!merge_flush(conn, follows))
			return NULL;
		i = 0;
	}
	if (i == n_runs)
		runs[n_runs++].oid = oid;
	return runs[i].n < RUN_MAX || send_run(conn, &runs[i], follows) ? &runs[i] : NULL;
}

static enum guess
guess(const struct row *r, const RowState *state, enum merge_way way)
{
	if (way == MERGE_ROW_BY_ROW || state->forced || r->op.kind == CHANGE_KIND__DELETE)
		return GUESS_NONE;
	if (way == MERGE_KNOWN)
		return GUESS_HERE;
	return r->op.kind == CHANGE_KIND__INSERT ? GUESS_NEW : GUESS_NONE;
}

static void
add_row(struct run *run, const struct row *r, const RowState *state, enum merge_way way)
{
	const char *comma = run->n > 0 ? "," : "{";
	struct buf text = { 0 };

	run->guesses[run->n++] = guess(r, state, way);
	buf_printf(&run->gone, "%s%s", comma, r->op.kind == CHANGE_KIND__DELETE ? "t" : "f");
	buf_printf(&run->forced, "%s%s", comma, state->forced ? "t" : "f");
	buf_puts(&run->values, comma);
	literal_values(&text, &r->op);
	literal_element(&run->values, &text);
	buf_puts(&run->added, comma);
	literal_tags(&text, state->added, state->n_added);
	literal_element(&run->added, &text);
	buf_puts(&run->removed, comma);
	literal_tags(&text, state->removed, state->n_removed);
	literal_element(&run->removed, &text);
	buf_puts(&run->columns, comma);
	literal_columns(&text, r, state);
	literal_element(&run->columns, &text);
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
merge_send(PGconn *conn, const Transaction *t, bool follows, enum merge_way way)
{
	bool ok = true;

	arena_reset(&memory);
	for (size_t i = 0; ok && i < t->n_changes; i++) {
		const Change *c = t->changes[i];
		struct run *run;
		struct row r;

		if (!read_row(t, c, follows ? NULL : t->origin, &r))
			continue;
		run = run_of(conn, r.table->oid, follows);
		if (run == NULL)
			return false;
		add_row(run, &r, c->state, way);
		if (!follows) {
			struct buf values = { 0 };

			literal_values(&values, &r.op);
			check_later(r.op.relation, &values);
			buf_clear(&values);
		}
	}
	return ok;
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
