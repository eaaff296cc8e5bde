/* A snapshot's rows, by COPY into blocks. */
#include <string.h>

#include "reading_state.h"

#define BLOCK_SIZE (32 * 1024) /* bytes, but for one longer row */

uint64_t reading_max_row;
static struct arena scratch; /* of one row */

static void next_table(struct reading *r);

static void
flush_rows(struct reading *r, bool goes_on)
{
	struct block *b;

	if (r->rows.len == 0)
		return;
	b = block_put(&r->rows);
	b->relation = r->take->tables[r->table]->relation;
	b->count = r->count;
	b->known = r->known;
	b->continues = r->continues;
	b->goes_on = r->continues = goes_on;
	b->left = r->takers;
	r->count = 0;
	r->held += b->mem != NULL ? b->len : 0;
	if (r->first == NULL)
		r->first = b;
	else
		r->last->next = b;
	r->last = b;
	reading_hooks->grown(r, b);
}

static void
on_copying(struct pg *pg, PGresult *result)
{
	if (pg_failed(result, "read-rows"))
		reading_fail(((struct worker *)pg->data)->reading, pg_message(PQresultErrorMessage(result)));
}

/* The table has been read to its end. */
static void
on_table_read(struct pg *pg, PGresult *result)
{
	struct reading *r = ((struct worker *)pg->data)->reading;

	if (pg_failed(result, "read-rows")) {
		reading_fail(r, pg_message(PQresultErrorMessage(result)));
		return;
	}
	flush_rows(r, false);
	r->in_wide = !r->in_wide && r->wide.len > 0;
	if (r->in_wide) {
		pg_ask(pg, buf_cstr(&r->wide), on_copying);
		return;
	}
	buf_clear(&r->wide);
	r->table++;
	next_table(r);
}

/* Takes a line of COPY; false: it cannot be read. *size: of its row. */
static bool
take_line(struct reading *r, char *line, size_t n, size_t *size)
{
	const Table *table = r->take->tables[r->table];
	bool whole;

	if (r->in_wide) {
		if (!rows_add_piece(&r->rows, &r->row, table, line, n, &whole))
			return false;
		*size = r->row.size;
		r->count += whole;
		if (whole || r->rows.len >= BLOCK_SIZE)
			flush_rows(r, !whole);
		return true;
	}
	*size = n;
	if (r->rows.len + n > BLOCK_SIZE)
		flush_rows(r, false);
	if (r->rows.len == 0)
		buf_room(&r->rows, BLOCK_SIZE);
	arena_reset(&scratch);
	r->count++;
	return rows_add(&r->rows, &scratch, table, line, n);
}

void
reading_copied(struct pg *pg)
{
	struct reading *r = ((struct worker *)pg->data)->reading;

	while (spool_room(r->held)) {
		char *line = NULL;
		size_t size;
		bool taken;
		int n = PQgetCopyData(pg->conn, &line, 1);

		if (n == 0)
			return;
		if (n == -1) {
			pg_copy_end(pg, on_table_read);
			return;
		}
		if (n < 0) {
			pg_fail(pg, PQerrorMessage(pg->conn));
			return;
		}
		taken = take_line(r, line, (size_t)n, &size);
		PQfreemem(line);
		if (!taken) {
			reading_fail(r, "a row cannot be read");
			return;
		}
		if (size > reading_max_row) {
			reading_give_up(r, "a row is longer than PG_SNAPSHOT_MAX_ROW allows",
			    r->take->tables[r->table]->relation);
			return;
		}
	}
	r->waiting = true;
	pg_pause(pg);
}

static void
on_looked_up(struct pg *pg, PGresult *result)
{
	struct reading *r = ((struct worker *)pg->data)->reading;
	struct buf sql = { 0 };

	if (pg_failed(result, "look-up-table"))
		reading_fail(r, pg_message(PQresultErrorMessage(result)));
	else if (!rows_copy(&sql, &r->wide, r->take->tables[r->table], result, r->take, r->known))
		reading_fail(r, "the table is not electrified");
	else
		pg_ask(pg, buf_cstr(&sql), on_copying);
	buf_clear(&sql);
}

/* Of a client that has written all tables are read twice: first without what it has had a part in. */
static void
next_table(struct reading *r)
{
	struct buf sql = { 0 };

	if (r->table == r->take->n_tables && !r->known && r->take->client_id[0] != '\0') {
		r->known = true;
		r->table = 0;
	}
	if (r->table == r->take->n_tables) {
		r->state = READING_WHOLE;
		reading_release(r, "COMMIT");
		reading_hooks->whole(r);
		return;
	}
	rows_lookup(&sql, r->take->tables[r->table]);
	pg_ask(&r->worker->pg, buf_cstr(&sql), on_looked_up);
	buf_clear(&sql);
}

void
reading_go(struct reading *r)
{
	if (r->state != READING_BEGUN)
		return;
	r->state = READING_ROWS;
	next_table(r);
}

void
reading_drop_block(struct reading *r)
{
	struct block *b = r->first;

	r->first = b->next;
	r->held -= b->mem != NULL ? b->len : 0;
	block_free(b);
	for (struct reading *w = reading_first(); w != NULL; w = w->next) {
		if (w->waiting && spool_room(w->held)) {
			w->waiting = false;
			pg_resume(&w->worker->pg);
		}
	}
}
