/* Rows that go in one statement. */
#include "merge_run.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "literal.h"
#include "statement.h"

#define RUN_MAX	 4000 /* rows of a statement */
#define RUNS_MAX 16   /* tables whose rows are collected at the same time */
#define N_ARRAYS 8    /* parameters of electric.merge_all_<oid>: */

enum { VALUES, STAMPS, GONE, FORCED, ADDED, REMOVED, COLUMNS, RUNS };

/* Rows of one table: the statement's parameters, as array literals without their ends. */
static struct run {
	uint32_t oid, width; /* greatest number of a column */
	size_t n, n_stamps;
	struct buf arrays[N_ARRAYS];
	/* The stamp that was added last is of this state and kind of row: */
	const Table *described;
	const RowState *state;
	bool gone;
	/* The rows at the end that go together: */
	enum merge_guess guess;
	size_t together;
} runs[RUNS_MAX];
static size_t n_runs;

static void
empty(struct run *run)
{
	for (size_t i = 0; i < N_ARRAYS; i++)
		buf_take(&run->arrays[i], run->arrays[i].len);
	run->n = run->n_stamps = run->together = 0;
}

void
merge_run_forget(void)
{
	for (size_t i = 0; i < n_runs; i++)
		empty(&runs[i]);
	n_runs = 0;
}

/* Begins the array's next element. */
static struct buf *
next(struct run *run, unsigned array)
{
	struct buf *b = &run->arrays[array];

	buf_put(b, b->len > 0 ? "," : "{", 1);
	return b;
}

static void
put_number(struct buf *out, size_t n)
{
	char digits[20], *at = digits + sizeof digits;

	do
		*--at = (char)('0' + n % 10);
	while ((n /= 10) > 0);
	buf_put(out, at, (size_t)(digits + sizeof digits - at));
}

/* The rows at the end are as many as go together. */
static void
end_together(struct run *run)
{
	struct buf *lengths;

	if (run->together == 0)
		return;
	lengths = next(run, RUNS);
	if (run->guess == GUESS_HERE)
		buf_put(lengths, "-", 1);
	/* One row alone is no more work when nothing is taken for granted. */
	put_number(lengths,
	    run->guess == GUESS_NONE || (run->guess == GUESS_NEW && run->together == 1) ? 0 : run->together);
	run->together = 0;
}

static bool
send_run(PGconn *conn, struct run *run, bool follows)
{
	const char *params[N_ARRAYS];
	char sql[112];
	bool ok;

	if (run->n == 0)
		return true;
	end_together(run);
	for (size_t i = 0; i < N_ARRAYS; i++) {
		buf_put(&run->arrays[i], "}", 1);
		params[i] = buf_cstr(&run->arrays[i]);
	}
	snprintf(sql, sizeof sql,
	    "SELECT electric." MERGE_FUNCTION "%" PRIu32 "(%s, $1, $2, $3, $4, $5, $6, $7, $8)", run->oid,
	    follows ? "true" : "false");
	ok = statement_send(conn, sql, N_ARRAYS, params, NULL, NULL);
	empty(run);
	return ok;
}

bool
merge_run_flush(PGconn *conn, bool follows)
{
	bool ok = true;

	for (size_t i = 0; ok && i < n_runs; i++)
		ok = send_run(conn, &runs[i], follows);
	n_runs = 0;
	return ok;
}

static void
begin(struct run *run, const struct table *table)
{
	run->oid = table->oid;
	run->width = 0;
	for (size_t i = 0; i < table->n_columns; i++)
		if (table->columns[i].num > run->width)
			run->width = table->columns[i].num;
}

/* The rows of the table that are collected, with room for one more. NULL: the connection is unusable. */
static struct run *
run_of(PGconn *conn, const struct table *table, bool follows)
{
	size_t i = 0;

	while (i < n_runs && runs[i].oid != table->oid)
		i++;
	if (i == RUNS_MAX) {
		if (!merge_run_flush(conn, follows))
			return NULL;
		i = 0;
	}
	if (i == n_runs)
		begin(&runs[n_runs++], table);
	return runs[i].n < RUN_MAX || send_run(conn, &runs[i], follows) ? &runs[i] : NULL;
}

// ---- stamps: how a row is told, its values aside

static bool
same_texts(char *const *a, size_t n, char *const *b, size_t m)
{
	if (n != m)
		return false;
	for (size_t i = 0; i < n; i++)
		if (strcmp(a[i], b[i]) != 0)
			return false;
	return true;
}

/* Rows that one statement has written mostly have the same. */
static bool
is_last_stamp(const struct run *run, const struct merge_row *row, const RowState *state, bool gone)
{
	const RowState *last = run->state;

	return run->n_stamps > 0 && run->described == row->described && run->gone == gone &&
	       last->forced == state->forced &&
	       same_texts(last->added, last->n_added, state->added, state->n_added) &&
	       same_texts(last->removed, last->n_removed, state->removed, state->n_removed) &&
	       same_texts(last->columns, last->n_columns, state->columns, state->n_columns);
}

/* electric.tag[] as _column_tags has them: the base, then by attribute number. */
static void
literal_columns(struct buf *out, const struct merge_row *row, const RowState *state, uint32_t width)
{
	struct buf tag = { 0 };

	buf_puts(out, "{");
	for (uint32_t num = 0; num <= width && (num == 0 || state->n_columns > 1); num++) {
		const char *wire = num == 0 && state->n_columns > 0 ? state->columns[0] : NULL;

		for (size_t i = 0; num > 0 && i < row->described->n_columns && i + 1 < state->n_columns; i++)
			if (row->nums[i] == num)
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

static void
add_stamp(struct run *run, const struct merge_row *row, const RowState *state, bool gone)
{
	struct buf text = { 0 };

	run->n_stamps++;
	run->described = row->described;
	run->state = state;
	run->gone = gone;
	buf_puts(next(run, GONE), gone ? "t" : "f");
	buf_puts(next(run, FORCED), state->forced ? "t" : "f");
	literal_tags(&text, state->added, state->n_added);
	literal_element(next(run, ADDED), &text);
	literal_tags(&text, state->removed, state->n_removed);
	literal_element(next(run, REMOVED), &text);
	literal_columns(&text, row, state, run->width);
	literal_element(next(run, COLUMNS), &text);
	buf_clear(&text);
}

bool
merge_run_add(
    PGconn *conn, const struct merge_row *row, const RowState *state, enum merge_guess guess, bool follows)
{
	struct run *run = run_of(conn, row->table, follows);
	bool gone = row->op.kind == CHANGE_KIND__DELETE;

	if (run == NULL)
		return false;
	if (!is_last_stamp(run, row, state, gone))
		add_stamp(run, row, state, gone);
	if (guess == GUESS_NONE || guess != run->guess)
		end_together(run);
	run->guess = guess;
	run->together++;
	run->n++;
	literal_row(next(run, VALUES), &row->op, run->width);
	put_number(next(run, STAMPS), run->n_stamps);
	return true;
}
