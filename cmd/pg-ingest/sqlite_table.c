/* A table as it is announced to clients, for the other tools. */
#include "definition.h"
#include "sqlite_ddl.h"

/* What clients of every age can read; the rest travels as text, and is announced as that. */
static const char *
announced_type(const json_t *column)
{
	static const char *const readable[] = { "int2", "int4", "int8", "float4", "float8", "text", "varchar",
		"uuid" };
	const char *type = type_of(column);

	if (is_array(column))
		return "text";
	for (size_t i = 0; i < sizeof readable / sizeof readable[0]; i++)
		if (strcmp(type, readable[i]) == 0)
			return readable[i];
	return strcmp(type, "bpchar") == 0 ? "char" : "text";
}

static Column *
announced_column(struct arena *a, const json_t *column, const json_t *pks)
{
	Column *c = arena_alloc(a, sizeof *c);

	column__init(c);
	c->num = (uint32_t)json_integer_value(json_object_get(column, "num"));
	c->name = arena_strdup(a, text_of(column, "name"));
	c->type = arena_strdup(a, announced_type(column));
	c->primary_key = has_string(pks, c->name);
	c->not_null = is_true(column, "not_null");
	return c;
}

Table *
sqlite_table(struct arena *a, const json_t *definition)
{
	const json_t *columns = json_object_get(definition, "columns"),
		     *pks = json_object_get(definition, "pks");
	const json_t *list = json_object_get(definition, "constraints");
	Table *t = arena_alloc(a, sizeof *t);

	table__init(t);
	if (text_of(definition, "name") == NULL || text_of(definition, "schema") == NULL ||
	    (!json_is_array(columns) && !is_true(definition, "removed")))
		return NULL;
	t->relation = (uint32_t)json_integer_value(json_object_get(definition, "oid"));
	t->schema = arena_strdup(a, text_of(definition, "schema"));
	t->name = arena_strdup(a, text_of(definition, "name"));
	t->columns = arena_alloc(a, json_array_size(columns) * sizeof *t->columns);
	for (size_t i = 0; i < json_array_size(columns); i++) {
		const json_t *c = json_array_get(columns, i);

		if (text_of(c, "name") == NULL || text_of(c, "type") == NULL)
			return NULL;
		/* Postgres does not publish what it computes; SQLite computes it again where it can. */
		if (text_of(c, "generated") == NULL)
			t->columns[t->n_columns++] = announced_column(a, c, pks);
	}
	t->foreign_keys = arena_alloc(a, json_array_size(list) * sizeof *t->foreign_keys);
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *c = json_array_get(list, i);
		ForeignKey *fk;

		if (text_of(c, "kind") == NULL || text_of(c, "kind")[0] != 'f' ||
		    text_of(c, "ref_table") == NULL)
			continue;
		fk = t->foreign_keys[t->n_foreign_keys++] = arena_alloc(a, sizeof *fk);
		foreign_key__init(fk);
		fk->ref_schema = arena_strdup(a, text_of(c, "ref_schema"));
		fk->ref_table = arena_strdup(a, text_of(c, "ref_table"));
	}
	return t;
}
