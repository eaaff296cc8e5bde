/* The SQL that reads a table for a client, and its rows. */
#include "rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pg.h"
#include "pgtext.h"
#include "satellite.h"

#define OWNER "electric_user_id"
#define LEAST_TOAST                                                                                          \
	"32768"		/* bytes: a table with less put aside has no long row, however well it is packed */
#define WIDE  "4000000" /* bytes of a row that is sent in pieces */
#define PIECE "32768"

void
rows_lookup(struct buf *sql, const Table *table)
{
	buf_puts(sql, "SELECT format('%I.%I', n.nspname, c.relname), format('electric.%I', s.relname), "
		      "quote_ident(a.attname), "
		      "c.reltoastrelid <> 0 AND pg_relation_size(c.reltoastrelid) > " LEAST_TOAST
		      ", pg_relation_size(s.oid) > 0"
		      " FROM electric.electrified AS e"
		      " JOIN pg_class AS c ON c.oid = e.oid"
		      " JOIN pg_namespace AS n ON n.oid = c.relnamespace"
		      " JOIN pg_class AS s ON s.oid = e.shadow"
		      " JOIN pg_index AS i ON i.indrelid = e.oid AND i.indisprimary"
		      " CROSS JOIN generate_series(1, i.indnkeyatts) AS k (pos)"
		      " JOIN pg_attribute AS a ON a.attrelid = e.oid AND a.attnum = i.indkey[k.pos - 1]"
		      " WHERE e.schema_name = ");
	pg_put_literal(sql, table->schema);
	buf_puts(sql, " AND e.table_name = ");
	pg_put_literal(sql, table->name);
	buf_puts(sql, " ORDER BY k.pos");
}

bool
rows_are_owned(const Table *table)
{
	for (size_t i = 0; i < table->n_columns; i++)
		if (strcmp(table->columns[i]->name, OWNER) == 0)
			return true;
	return false;
}

/* The first tag stands in two fields of its own, which costs Postgres less than an array; the array comes
 * where there are more. */
#define TAGS	   "s._tags[1].ms, s._tags[1].source, CASE WHEN s._tags[2].ms IS NOT NULL THEN s._tags END"
#define TAG_FIELDS 3

static void
put_client(struct buf *sql, const char *client_id)
{
	buf_puts(sql, "EXISTS (SELECT FROM unnest(s._tags || s._column_tags) AS t WHERE t.source = ");
	pg_put_literal(sql, client_id);
	buf_puts(sql, ")");
}

/* What stands for the table of tags where nothing was ever put into it: Postgres makes nothing of it. */
#define NO_TAGS "(SELECT NULL::electric.tag[] AS _tags, NULL::electric.tag[] AS _column_tags)"

/* The rows, joined to their tags, that are asked for. */
static void
put_from(struct buf *sql, const Table *table, const PGresult *r, const TakeSnapshot *take, bool known)
{
	bool has_tags = PQgetvalue(r, 0, 4)[0] == 't';

	buf_printf(sql, " FROM %s AS m %s JOIN %s AS s", PQgetvalue(r, 0, 0), has_tags ? "LEFT" : "CROSS",
	    has_tags ? PQgetvalue(r, 0, 1) : NO_TAGS);
	for (int k = 0; has_tags && k < PQntuples(r); k++)
		buf_printf(sql, " %s s.k%d = m.%s", k > 0 ? "AND" : "ON", k + 1, PQgetvalue(r, k, 2));
	buf_puts(sql, " WHERE true");
	if (rows_are_owned(table)) {
		buf_puts(sql, " AND coalesce(m." OWNER "::text, '') IN ('', ");
		pg_put_literal(sql, take->user_id);
		buf_puts(sql, ")");
	}
	if (take->client_id[0] != '\0') {
		buf_puts(sql, known ? " AND " : " AND NOT ");
		put_client(sql, take->client_id);
	}
}

static void
put_column(struct buf *sql, const Column *c)
{
	buf_puts(sql, "m.");
	pg_put_identifier(sql, c->name);
}

static bool
is_text(const Column *c)
{
	return strcmp(c->type, "text") == 0 || strcmp(c->type, "varchar") == 0;
}

/* The row's length without looking at long values: of what Postgres has packed itself, as if it were a
 * quarter. */
static void
put_length(struct buf *sql, const Table *table)
{
	buf_puts(sql, "(0");
	for (size_t i = 0; i < table->n_columns; i++) {
		const Column *c = table->columns[i];
		bool is_bytea = strcmp(c->type, "bytea") == 0;

		buf_printf(sql, " + coalesce(%d::bigint * %s(",
		    is_text(c) ? 1
		    : is_bytea ? 2
			       : 4,
		    is_text(c) || is_bytea ? "octet_length" : "pg_column_size");
		put_column(sql, c);
		buf_puts(sql, "), 0)");
	}
	buf_puts(sql, ")");
}

#define WIDE_FIELDS 6

/*
 * Long rows: each is put together once, and comes as lines of lengths (in the first alone), tags, column and
 * piece. The outer joins are of functions, so the order is that of the rows, their columns and pieces.
 * Binary, for the pieces' sake; all else is text.
 */
static void
put_wide(struct buf *sql, const Table *table, const PGresult *r, const TakeSnapshot *take, bool known)
{
	buf_puts(sql, "COPY (SELECT CASE WHEN n = 1 AND i = 0 THEN ARRAY[");
	for (size_t i = 0; i < table->n_columns; i++)
		buf_printf(sql, "%slength(s.b[%zu])", i > 0 ? ", " : "", i + 1);
	buf_puts(sql,
	    "]::text END, s._tags[1].ms::text, s._tags[1].source::text, CASE WHEN s._tags[2].ms IS NOT NULL "
	    "THEN s._tags::text END, n::text, substr(s.b[n], 1 + i * " PIECE ", " PIECE ") FROM (SELECT "
	    "s._tags, ARRAY[");
	for (size_t i = 0; i < table->n_columns; i++) {
		buf_puts(sql, i > 0 ? ", CASE WHEN " : "CASE WHEN ");
		put_column(sql, table->columns[i]);
		/* As the type writes itself: a cast may not. */
		buf_puts(sql, is_text(table->columns[i]) ? " IS NOT NULL THEN convert_to(("
							 : " IS NOT NULL THEN convert_to(format('%s', ");
		put_column(sql, table->columns[i]);
		buf_puts(sql, "), 'UTF8') END");
	}
	buf_puts(sql, "] AS b");
	put_from(sql, table, r, take, known);
	buf_puts(sql, " AND ");
	put_length(sql, table);
	buf_puts(sql, " > " WIDE " OFFSET 0) AS s, LATERAL generate_subscripts(s.b, 1) AS n, "
		      "LATERAL generate_series(0, greatest(length(s.b[n]) - 1, 0) / " PIECE
		      ") AS i) TO STDOUT (FORMAT binary)");
}

bool
rows_copy(struct buf *sql, struct buf *wide, const Table *table, const PGresult *r, const TakeSnapshot *take,
    bool known)
{
	if (PQntuples(r) == 0)
		return false;
	/* No casts: COPY writes a value as the stream does, a cast to text may not. */
	buf_puts(sql, "COPY (SELECT " TAGS);
	for (size_t i = 0; i < table->n_columns; i++) {
		buf_puts(sql, ", ");
		put_column(sql, table->columns[i]);
	}
	put_from(sql, table, r, take, known);
	if (PQgetvalue(r, 0, 3)[0] == 't') {
		buf_puts(sql, " AND ");
		put_length(sql, table);
		buf_puts(sql, " <= " WIDE);
		put_wide(wide, table, r, take, known);
	}
	buf_puts(sql, ") TO STDOUT");
	return true;
}

static unsigned instance;
static char own_origin[32];
static size_t own_origin_len;

void
rows_open(unsigned number)
{
	instance = number;
	own_origin_len = (size_t)snprintf(own_origin, sizeof own_origin, SAT_POSTGRES_ORIGIN, number);
}

/* A tag in wire form from its parts; NULL: of this Postgres, from before there were tags. */
static struct sat_value
one_tag(struct arena *a, const struct sat_value *ms, const struct sat_value *source)
{
	const struct sat_value own = { (const uint8_t *)own_origin, own_origin_len },
			       before = { (const uint8_t *)"0", 1 };
	const struct sat_value *from = source->text != NULL ? source : &own,
			       *at = ms->text != NULL ? ms : &before;
	uint8_t *wire = arena_alloc(a, from->len + 1 + at->len);

	memcpy(wire, from->text, from->len);
	wire[from->len] = '@';
	memcpy(wire + from->len + 1, at->text, at->len);
	return (struct sat_value){ wire, from->len + 1 + at->len };
}

/* The row's tags in wire form, in the arena; false: they cannot be read. */
static bool
read_tags(struct arena *a, const struct sat_value *fields, struct sat_value **wire, size_t *n_tags)
{
	struct pgtext_tag *tags = NULL;

	*n_tags = 0;
	if (fields[2].text != NULL &&
	    !pgtext_tags(a, (const char *)fields[2].text, fields[2].len, &tags, n_tags))
		return false;
	*wire = arena_alloc(a, (*n_tags + 1) * sizeof **wire);
	for (size_t i = 0; i < *n_tags; i++) {
		const char *text = pgtext_tag_wire(a, &tags[i], instance);

		(*wire)[i] = (struct sat_value){ (const uint8_t *)text, strlen(text) };
	}
	if (*n_tags == 0)
		(*wire)[(*n_tags)++] = one_tag(a, &fields[0], &fields[1]);
	return true;
}

bool
rows_add(struct buf *body, struct arena *a, const Table *table, char *line, size_t n)
{
	size_t n_fields = table->n_columns + TAG_FIELDS, n_tags;
	struct sat_value *fields = arena_alloc(a, n_fields * sizeof *fields), *tags;

	if (!pgtext_copy_line(line, n, fields, n_fields) || !read_tags(a, fields, &tags, &n_tags))
		return false;
	sat_oplog_add_insert(body, table->relation, fields + TAG_FIELDS, table->n_columns, tags, n_tags);
	return true;
}

/* The first line of a row: its lengths and its tags. */
static bool
begin_wide(struct buf *body, struct wide_row *w, const Table *table, const struct sat_value *fields)
{
	struct sat_value *lengths;
	size_t n;

	arena_reset(&w->memory);
	if (!read_tags(&w->memory, fields + 1, &w->tags, &w->n_tags) ||
	    !pgtext_array(&w->memory, (const char *)fields[0].text, fields[0].len, &lengths, &n) ||
	    n != table->n_columns)
		return false;
	w->values = arena_zalloc(&w->memory, n * sizeof *w->values);
	for (size_t i = 0; i < n; i++) {
		if (lengths[i].text == NULL)
			continue;
		w->values[i].text = lengths[i].text; /* not NULL is what counts */
		w->values[i].len = strtoull((const char *)lengths[i].text, NULL, 10);
	}
	w->next = w->left = 0;
	w->size = sat_oplog_begin_insert(body, table->relation, w->values, n, w->tags, w->n_tags);
	return true;
}

#define SIGNATURE "PGCOPY\n\377\r\n" /* and its NUL */

/* What comes before the first line, and the last, which is none, are passed over: *end, then. */
static bool
read_binary(const uint8_t *line, size_t n, struct sat_value *fields, size_t count, bool *end)
{
	const uint8_t *at = line, *stop = line + n;

	if (n >= sizeof SIGNATURE + 8 && memcmp(at, SIGNATURE, sizeof SIGNATURE) == 0)
		at += sizeof SIGNATURE + 8; /* flags and the length of an extension: none */
	*end = at == stop || (stop - at == 2 && at[0] == 0xff && at[1] == 0xff);
	if (*end)
		return true;
	if (stop - at < 2 || (size_t)(at[0] << 8 | at[1]) != count)
		return false;
	at += 2;
	for (size_t i = 0; i < count; i++) {
		uint32_t len;

		if (stop - at < 4)
			return false;
		len = be32_get(at);
		at += 4;
		fields[i] = (struct sat_value){ NULL, 0 };
		if (len == UINT32_MAX)
			continue;
		if (len > (size_t)(stop - at))
			return false;
		fields[i] = (struct sat_value){ at, len };
		at += len;
	}
	return at == stop;
}

bool
rows_add_piece(
    struct buf *body, struct wide_row *w, const Table *table, const char *line, size_t n, bool *whole)
{
	struct sat_value fields[WIDE_FIELDS];
	const struct sat_value *column = &fields[WIDE_FIELDS - 2], *piece = &fields[WIDE_FIELDS - 1];
	bool end;
	size_t k;

	*whole = false;
	if (!read_binary((const uint8_t *)line, n, fields, WIDE_FIELDS, &end))
		return false;
	if (end)
		return true;
	if (column->text == NULL)
		return false;
	k = strtoull((const char *)column->text, NULL, 10) - 1; /* the next length is no digit */
	if (fields[0].text != NULL ? !begin_wide(body, w, table, fields) : w->values == NULL)
		return false;
	if (k == w->next && w->left == 0 && w->next < table->n_columns) {
		w->left = w->values[k].len;
		w->next++;
		sat_oplog_begin_value(body, w->left);
	}
	if (k + 1 != w->next || piece->len > w->left)
		return false;
	buf_put(body, piece->text, piece->len);
	w->left -= piece->len;
	*whole = w->next == table->n_columns && w->left == 0;
	if (*whole)
		sat_oplog_end_insert(body, w->tags, w->n_tags);
	return true;
}
