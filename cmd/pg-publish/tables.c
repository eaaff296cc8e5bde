/* The electrified tables as this Postgres has them. */
#include "tables.h"

#include <stdlib.h>
#include <string.h>

#include "xalloc.h"

const char TABLES_QUERY[] =
    "SELECT coalesce(e.schema_name, p.schema_name), coalesce(e.table_name, p.table_name), e.oid, a.attname, "
    "a.attnum,"
    " p.origins"
    " FROM (electric.electrified AS e"
    "       JOIN pg_attribute AS a ON a.attrelid = e.oid AND a.attnum > 0 AND NOT a.attisdropped)"
    " FULL JOIN (SELECT schema_name, table_name, ' ' || string_agg(origin, ' ') || ' ' AS origins"
    "              FROM electric.apart GROUP BY 1, 2) AS p"
    "   ON p.schema_name = e.schema_name AND p.table_name = e.table_name"
    " ORDER BY 1, 2, 5";

static struct table *tables;
static size_t n_tables;

static void
forget_all(void)
{
	for (size_t i = 0; i < n_tables; i++) {
		for (size_t k = 0; k < tables[i].n_columns; k++)
			free(tables[i].columns[k].name);
		free(tables[i].columns);
		free(tables[i].schema);
		free(tables[i].name);
		free(tables[i].apart);
	}
	n_tables = 0;
}

/* The table of the row: they come in the order of their names. */
static struct table *
table_of(const PGresult *r, int row)
{
	const char *schema = PQgetvalue(r, row, 0), *name = PQgetvalue(r, row, 1);
	struct table *t = n_tables > 0 ? &tables[n_tables - 1] : NULL;

	if (t != NULL && strcmp(t->schema, schema) == 0 && strcmp(t->name, name) == 0)
		return t;
	tables = xrealloc(tables, (n_tables + 1) * sizeof *tables);
	t = &tables[n_tables++];
	*t = (struct table){ .schema = xstrdup(schema), .name = xstrdup(name) };
	t->exists = !PQgetisnull(r, row, 2);
	t->oid = (uint32_t)strtoul(PQgetvalue(r, row, 2), NULL, 10);
	if (!PQgetisnull(r, row, 5))
		t->apart = xstrdup(PQgetvalue(r, row, 5));
	return t;
}

void
tables_load(const PGresult *r)
{
	forget_all();
	for (int i = 0; i < PQntuples(r); i++) {
		struct table *t = table_of(r, i);

		if (!t->exists)
			continue;
		t->columns = xrealloc(t->columns, (t->n_columns + 1) * sizeof *t->columns);
		t->columns[t->n_columns++] = (struct table_column){ xstrdup(PQgetvalue(r, i, 3)),
			(uint32_t)strtoul(PQgetvalue(r, i, 4), NULL, 10) };
	}
}

const struct table *
tables_find(const Table *described)
{
	for (size_t i = 0; i < n_tables; i++)
		if (strcmp(tables[i].schema, described->schema) == 0 &&
		    strcmp(tables[i].name, described->name) == 0)
			return &tables[i];
	return NULL;
}

bool
tables_are_known(Table *const *described, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct table *t = tables_find(described[i]);

		if (t == NULL)
			return false;
		for (size_t k = 0; t->apart == NULL && k < described[i]->n_columns; k++)
			if (tables_column(t, described[i]->columns[k]->name) == 0)
				return false;
	}
	return true;
}

static const char *
column_name(const Table *described, uint32_t num)
{
	for (size_t i = 0; i < described->n_columns; i++)
		if (described->columns[i]->num == num)
			return described->columns[i]->name;
	return "";
}

/* A column that is not here is left out: its Postgres is on its way to have it. */
static void
localize_op(ClientOp *op, const Table *described, const struct table *t)
{
	size_t n = 0;

	op->relation = t->oid;
	for (size_t i = 0; i < op->n_values; i++) {
		Value *v = op->values[i];

		v->num = tables_column(t, column_name(described, v->num));
		if (v->num != 0)
			op->values[n++] = v;
	}
	op->n_values = n;
}

void
tables_localize(ClientTransaction *t)
{
	for (size_t i = 0; i < t->n_ops && t->n_tables > 0; i++) {
		size_t k = 0;
		const struct table *here;

		while (k + 1 < t->n_tables && t->tables[k]->relation != t->ops[i]->relation)
			k++;
		here = tables_find(t->tables[k]);
		if (here != NULL && here->exists) {
			localize_op(t->ops[i], t->tables[k], here);
		} else if (t->sqlstate[0] == '\0') {
			t->sqlstate = (char *)(uintptr_t) "42P01";
			t->fault = (char *)(uintptr_t) "the table is not electrified in this Postgres";
		}
	}
	t->n_tables = 0; /* it is done */
}

uint32_t
tables_column(const struct table *t, const char *name)
{
	for (size_t i = 0; i < t->n_columns; i++)
		if (strcmp(t->columns[i].name, name) == 0)
			return t->columns[i].num;
	return 0;
}

bool
tables_is_apart(const struct table *t, const char *origin)
{
	char *word;
	bool found;

	if (t->apart == NULL || origin == NULL)
		return t->apart != NULL;
	word = xasprintf(" %s ", origin);
	found = strstr(t->apart, word) != NULL;
	free(word);
	return found;
}
