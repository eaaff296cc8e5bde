/* The SQL that reads a table for a client, and its rows. */
#include "rows.h"

#include <string.h>

#include "pg.h"
#include "pgtext.h"
#include "satellite.h"

#define OWNER "electric_user_id"

void
rows_lookup(struct buf *sql, const Table *table)
{
	buf_puts(sql,
	    "SELECT format('%I.%I', n.nspname, c.relname), format('electric.%I', s.relname), "
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
rows_copy(struct buf *sql, const Table *table, const PGresult *r, const char *user_id, const char *client_id)
{
	bool owned = false;

	if (PQntuples(r) == 0)
		return false;
	/* No casts: COPY writes a value as the stream does, a cast to text may not. */
	buf_puts(sql, "COPY (SELECT s._tags, ");
	if (client_id[0] != '\0') {
		buf_puts(sql, "EXISTS (SELECT FROM unnest(s._tags || s._column_tags) AS t WHERE t.source = ");
		pg_put_literal(sql, client_id);
		buf_puts(sql, ")");
	} else {
		buf_puts(sql, "false");
	}
	for (size_t i = 0; i < table->n_columns; i++) {
		buf_puts(sql, ", m.");
		pg_put_identifier(sql, table->columns[i]->name);
		owned |= strcmp(table->columns[i]->name, OWNER) == 0;
	}
	buf_printf(sql, " FROM %s AS m LEFT JOIN %s AS s ON ", PQgetvalue(r, 0, 0), PQgetvalue(r, 0, 1));
	for (int k = 0; k < PQntuples(r); k++)
		buf_printf(sql, "%ss.k%d = m.%s", k > 0 ? " AND " : "", k + 1, PQgetvalue(r, k, 2));
	if (owned) {
		buf_puts(sql, " WHERE coalesce(m." OWNER "::text, '') IN ('', ");
		pg_put_literal(sql, user_id);
		buf_puts(sql, ")");
	}
	buf_puts(sql, ") TO STDOUT");
	return true;
}

ProtobufCBinaryData
rows_op(struct arena *a, const Table *table, char *line, size_t n, unsigned instance, bool *known)
{
	size_t n_fields = table->n_columns + 2, n_tags = 0;
	struct sat_value *fields = arena_alloc(a, n_fields * sizeof *fields);
	struct pgtext_tag before = { 0, NULL }, *tags = NULL;
	char **wire;

	if (!pgtext_copy_line(line, n, fields, n_fields) ||
	    (fields[0].text != NULL &&
		!pgtext_tags(a, (const char *)fields[0].text, fields[0].len, &tags, &n_tags)))
		return (ProtobufCBinaryData){ 0, NULL };
	*known = fields[1].len > 0 && fields[1].text[0] == 't';
	if (n_tags == 0) {
		tags = &before;
		n_tags = 1;
	}
	wire = arena_alloc(a, n_tags * sizeof *wire);
	for (size_t i = 0; i < n_tags; i++)
		wire[i] = pgtext_tag_wire(a, &tags[i], instance);
	return sat_op_pack(a, SAT_INSERT, table->relation, fields + 2, NULL, table->n_columns, wire, n_tags);
}
