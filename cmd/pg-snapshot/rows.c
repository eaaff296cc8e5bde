/* The SQL that reads a table for a client, and its rows. */
#include "rows.h"

#include <stdio.h>
#include <string.h>

#include "pg.h"
#include "pgtext.h"
#include "satellite.h"

#define OWNER "electric_user_id"

void
rows_lookup(struct buf *sql, const Table *table)
{
	buf_puts(sql, "SELECT format('%I.%I', n.nspname, c.relname), format('electric.%I', s.relname), "
		      "quote_ident(a.attname)"
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

bool
rows_copy(struct buf *sql, const Table *table, const PGresult *r, const TakeSnapshot *take, bool known)
{
	const char *where = " WHERE ";

	if (PQntuples(r) == 0)
		return false;
	/* No casts: COPY writes a value as the stream does, a cast to text may not. */
	buf_puts(sql, "COPY (SELECT " TAGS);
	for (size_t i = 0; i < table->n_columns; i++) {
		buf_puts(sql, ", m.");
		pg_put_identifier(sql, table->columns[i]->name);
	}
	buf_printf(sql, " FROM %s AS m LEFT JOIN %s AS s ON ", PQgetvalue(r, 0, 0), PQgetvalue(r, 0, 1));
	for (int k = 0; k < PQntuples(r); k++)
		buf_printf(sql, "%ss.k%d = m.%s", k > 0 ? " AND " : "", k + 1, PQgetvalue(r, k, 2));
	if (rows_are_owned(table)) {
		buf_printf(sql, "%scoalesce(m." OWNER "::text, '') IN ('', ", where);
		pg_put_literal(sql, take->user_id);
		buf_puts(sql, ")");
		where = " AND ";
	}
	if (take->client_id[0] != '\0') {
		buf_printf(sql, "%s%s", where, known ? "" : "NOT ");
		put_client(sql, take->client_id);
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
	struct pgtext_tag *tags;

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
