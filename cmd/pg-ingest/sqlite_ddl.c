/* A table of Postgres as SQLite is to have it. */
#include "sqlite_ddl.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "definition.h"
#include "sqlite_expr.h"

#define ITEMS_MAX 2048 /* columns are at most 1600, constraints are few */

/* A statement is built here; one arena and one buffer serve for all of a table. */
struct ddl {
	struct arena *a;
	const json_t *now, *before;
	struct buf text;
	SatOpMigrate__Stmt **stmts;
	size_t n_stmts;
};

/* The element of a list of objects with this name. */
static const json_t *
named(const json_t *list, const char *name)
{
	size_t i;
	json_t *item;

	json_array_foreach((json_t *)(uintptr_t)list, i,
	    item) if (text_of(item, "name") != NULL && strcmp(text_of(item, "name"), name) == 0) return item;
	return NULL;
}

static void
put_name(struct ddl *d, const char *name)
{
	buf_puts(&d->text, sqlite_identifier(d->a, name));
}

/* ("a", "b") */
static void
put_names(struct ddl *d, const json_t *names)
{
	buf_puts(&d->text, "(");
	for (size_t i = 0; i < json_array_size(names); i++) {
		buf_puts(&d->text, i > 0 ? ", " : "");
		put_name(d, json_string_value(json_array_get(names, i)));
	}
	buf_puts(&d->text, ")");
}

static void
finish_stmt(struct ddl *d, SatOpMigrate__Type type)
{
	SatOpMigrate__Stmt *s = arena_alloc(d->a, sizeof *s);
	SatOpMigrate__Stmt **longer = arena_alloc(d->a, (d->n_stmts + 1) * sizeof *longer);

	sat_op_migrate__stmt__init(s);
	s->type = type;
	s->sql = arena_strdup(d->a, buf_cstr(&d->text));
	if (d->n_stmts > 0)
		memcpy(longer, d->stmts, d->n_stmts * sizeof *longer);
	longer[d->n_stmts++] = s;
	d->stmts = longer;
	buf_take(&d->text, d->text.len);
}

// ---- columns

static char *
column_type(struct arena *a, const json_t *column)
{
	const char *base = is_array(column) ? "TEXT_JSON" : sqlite_type(type_of(column));
	const json_t *size = json_object_get(column, "size");

	if (is_array(column) || json_array_size(size) == 0)
		return arena_strdup(a, base);
	if (json_array_size(size) == 1)
		return arena_printf(a, "%s(%d)", base, (int)json_integer_value(json_array_get(size, 0)));
	return arena_printf(a, "%s(%d, %d)", base, (int)json_integer_value(json_array_get(size, 0)),
	    (int)json_integer_value(json_array_get(size, 1)));
}

/* The expression stands in one pair of parentheses already. */
static bool
is_enclosed(const char *s)
{
	unsigned depth = 0;
	char quote = '\0';

	for (const char *p = s; *p != '\0'; p++) {
		if (quote != '\0')
			quote = *p == quote ? '\0' : quote;
		else if (*p == '\'' || *p == '"')
			quote = *p;
		else
			depth += (*p == '(') - (*p == ')');
		if (depth == 0)
			return *s == '(' && p[1] == '\0';
	}
	return false;
}

static char *
enclosed(struct arena *a, char *expression)
{
	return is_enclosed(expression) ? expression : arena_printf(a, "(%s)", expression);
}

/* SQLite takes literals and the current times as they are, anything else in parentheses. */
static char *
as_default(struct arena *a, char *expression)
{
	if (strncmp(expression, "x'", 2) == 0 || strchr("'-0123456789.", expression[0]) != NULL ||
	    strcmp(expression, "NULL") == 0 || strncmp(expression, "current_", 8) == 0)
		return expression;
	return enclosed(a, expression);
}

/* The DEFAULT's expression; NULL: none. */
static char *
column_default(struct arena *a, const json_t *column)
{
	const char *expression = text_of(column, "default");
	char *out;

	if (expression == NULL)
		return NULL;
	out = sqlite_expression(a, expression, EXPR_DEFAULT, is_array(column) ? NULL : type_of(column));
	if (out == NULL)
		return NULL;
	/* A number keeps its zeros where it becomes a text. */
	if (strchr("-0123456789.", out[0]) != NULL && strcmp(sqlite_type(type_of(column)), "TEXT") == 0)
		return arena_printf(a, "'%s'", out);
	return as_default(a, out);
}

static char *
column_generated(struct arena *a, const json_t *column)
{
	const char *expression = text_of(column, "generated");

	return expression != NULL ? sqlite_expression(a, expression, EXPR_CHECK, type_of(column)) : NULL;
}

/* A column of a new table: DEFAULT, GENERATED, NOT NULL. */
static void
put_column(struct ddl *d, const json_t *column)
{
	bool computed = text_of(column, "generated") != NULL;
	char *value = column_default(d->a, column), *generated = column_generated(d->a, column);

	put_name(d, text_of(column, "name"));
	buf_printf(&d->text, " %s", column_type(d->a, column));
	if (value != NULL)
		buf_printf(&d->text, " DEFAULT %s", value);
	if (generated != NULL)
		buf_printf(&d->text, " GENERATED ALWAYS AS (%s) STORED", generated);
	/* What Postgres computes does not travel: where SQLite cannot compute it, it stays NULL. */
	if (is_true(column, "not_null") && (!computed || generated != NULL))
		buf_puts(&d->text, " NOT NULL");
}

// ---- constraints

static void
put_action(struct ddl *d, const char *event, const char *action)
{
	if (action != NULL && strcmp(action, "NO ACTION") != 0)
		buf_printf(&d->text, " ON %s %s", event, action);
}

static void
put_references(struct ddl *d, const json_t *c)
{
	buf_puts(&d->text, "REFERENCES ");
	put_name(d, text_of(c, "ref_table"));
	buf_puts(&d->text, " ");
	put_names(d, json_object_get(c, "ref_columns"));
	put_action(d, "DELETE", text_of(c, "on_delete"));
	put_action(d, "UPDATE", text_of(c, "on_update"));
}

/* False: it cannot be said in SQLite. */
static bool
put_constraint(struct ddl *d, const json_t *c, const char *before)
{
	const char *kind = text_of(c, "kind"), *expression = text_of(c, "expression");
	char *check = NULL;

	if (kind == NULL ||
	    (kind[0] == 'c' && (expression == NULL ||
				   (check = sqlite_expression(d->a, expression, EXPR_CHECK, NULL)) == NULL)))
		return false;
	buf_printf(&d->text, "%sCONSTRAINT ", before);
	put_name(d, text_of(c, "name"));
	if (kind[0] == 'c') {
		buf_printf(&d->text, " CHECK %s", enclosed(d->a, check));
		return true;
	}
	buf_puts(&d->text, kind[0] == 'f' ? " FOREIGN KEY " : kind[0] == 'p' ? " PRIMARY KEY " : " UNIQUE ");
	put_names(d, json_object_get(c, "columns"));
	if (kind[0] == 'f') {
		buf_puts(&d->text, " ");
		put_references(d, c);
	}
	return true;
}

static int
compare_lists(const json_t *x, const json_t *y)
{
	for (size_t i = 0;; i++) {
		const char *a = json_string_value(json_array_get(x, i)),
			   *b = json_string_value(json_array_get(y, i));
		int order;

		if (a == NULL || b == NULL)
			return (a != NULL) - (b != NULL);
		if ((order = strcmp(a, b)) != 0)
			return order;
	}
}

/* By kind (which is also their order by name), then foreign and unique keys by their columns, the rest by
 * name. */
static int
compare_constraints(const void *x, const void *y)
{
	const json_t *a = *(const json_t *const *)x, *b = *(const json_t *const *)y;
	int order = strcmp(text_of(a, "kind"), text_of(b, "kind"));

	if (order == 0 && strchr("fu", text_of(a, "kind")[0]) != NULL)
		order = compare_lists(json_object_get(a, "columns"), json_object_get(b, "columns"));
	return order != 0 ? order : strcmp(text_of(a, "name"), text_of(b, "name"));
}

static void
create_table(struct ddl *d)
{
	const json_t *columns = json_object_get(d->now, "columns"),
		     *list = json_object_get(d->now, "constraints");
	const json_t *sorted[ITEMS_MAX];
	size_t n = 0;

	buf_puts(&d->text, "CREATE TABLE ");
	put_name(d, text_of(d->now, "name"));
	for (size_t i = 0; i < json_array_size(columns); i++) {
		buf_puts(&d->text, i == 0 ? " (\n  " : ",\n  ");
		put_column(d, json_array_get(columns, i));
	}
	for (size_t i = 0; i < json_array_size(list) && n < ITEMS_MAX; i++)
		if (text_of(json_array_get(list, i), "kind") != NULL &&
		    text_of(json_array_get(list, i), "name") != NULL)
			sorted[n++] = json_array_get(list, i);
	qsort(sorted, n, sizeof sorted[0], compare_constraints);
	for (size_t i = 0; i < n; i++)
		put_constraint(d, sorted[i], ",\n  ");
	buf_puts(&d->text, "\n) WITHOUT ROWID;\n");
	finish_stmt(d, SAT_OP_MIGRATE__TYPE__CREATE_TABLE);
}

// ---- changes

/* The foreign key that stands on this column alone. */
static const json_t *
column_constraint(const json_t *definition, const char *column, char kind)
{
	const json_t *list = json_object_get(definition, "constraints");

	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *c = json_array_get(list, i), *columns = json_object_get(c, "columns");

		if (text_of(c, "kind") != NULL && text_of(c, "kind")[0] == kind &&
		    json_array_size(columns) == 1 && has_string(columns, column))
			return c;
	}
	return NULL;
}

/*
 * SQLite adds no column that is stored and generated, that references with a default, that is NOT NULL
 * without one, or whose default is not constant: what is in the way is left out, Postgres sees to it.
 */
static void
add_column(struct ddl *d, const json_t *column)
{
	const char *name = text_of(column, "name");
	const json_t *fk = column_constraint(d->now, name, 'f'),
		     *check = column_constraint(d->now, name, 'c');
	char *value = column_default(d->a, column), *generated = column_generated(d->a, column);
	bool constant = value != NULL && fk == NULL && value[0] != '(' && strncmp(value, "current_", 8) != 0;

	buf_puts(&d->text, "ALTER TABLE ");
	put_name(d, text_of(d->now, "name"));
	buf_puts(&d->text, " ADD COLUMN ");
	put_name(d, name);
	buf_printf(&d->text, " %s", column_type(d->a, column));
	if (generated != NULL)
		buf_printf(&d->text, " GENERATED ALWAYS AS (%s) VIRTUAL", generated);
	else if (constant)
		buf_printf(&d->text, " DEFAULT %s", value);
	if (is_true(column, "not_null") && constant && strcmp(value, "NULL") != 0)
		buf_puts(&d->text, " NOT NULL");
	/* SQLite looks whether the rows that are there have what the check demands. */
	if (check != NULL &&
	    (constant || (text_of(column, "default") == NULL && !is_true(column, "not_null"))))
		put_constraint(d, check, " ");
	if (fk != NULL) {
		buf_puts(&d->text, " CONSTRAINT ");
		put_name(d, text_of(fk, "name"));
		buf_puts(&d->text, " ");
		put_references(d, fk);
	}
	buf_puts(&d->text, ";\n");
	finish_stmt(d, SAT_OP_MIGRATE__TYPE__ALTER_ADD_COLUMN);
}

static void
drop_text(struct ddl *d)
{
	buf_take(&d->text, d->text.len);
}

static void
create_index(struct ddl *d, const json_t *index)
{
	const json_t *columns = json_object_get(index, "columns");
	const char *where = text_of(index, "where"), *method = text_of(index, "method");
	char *expression;

	/* The other methods are for searches that SQLite's indexes do not help. */
	if (method != NULL && strcmp(method, "btree") != 0 && strcmp(method, "hash") != 0)
		return;
	buf_printf(&d->text, "CREATE %sINDEX ", is_true(index, "unique") ? "UNIQUE " : "");
	put_name(d, text_of(index, "name"));
	buf_puts(&d->text, " ON ");
	put_name(d, text_of(d->now, "name"));
	for (size_t i = 0; i < json_array_size(columns); i++) {
		const json_t *c = json_array_get(columns, i);

		expression = text_of(c, "name") != NULL ? sqlite_identifier(d->a, text_of(c, "name"))
			     : text_of(c, "expression") != NULL
				 ? sqlite_expression(d->a, text_of(c, "expression"), EXPR_INDEX, NULL)
				 : NULL;
		if (expression == NULL) {
			drop_text(d);
			return;
		}
		buf_printf(&d->text, "%s%s %s", i == 0 ? " (" : ", ", expression,
		    is_true(c, "desc") ? "DESC" : "ASC");
	}
	buf_puts(&d->text, ")");
	if (where != NULL) {
		expression = sqlite_expression(d->a, where, EXPR_INDEX, NULL);
		/* Without its condition a unique index would refuse rows that Postgres takes. */
		if (expression == NULL && is_true(index, "unique")) {
			drop_text(d);
			return;
		}
		if (expression != NULL)
			buf_printf(&d->text, " WHERE %s", expression);
	}
	buf_puts(&d->text, ";\n");
	finish_stmt(d, SAT_OP_MIGRATE__TYPE__CREATE_INDEX);
}

/* The protocol has no word for it: it is told as what clients run without a look at the table. One that could
 * not be created on clients is not there. */
static void
drop(struct ddl *d, const char *what, const char *name)
{
	buf_printf(&d->text, "DROP %s IF EXISTS ", what);
	put_name(d, name);
	buf_puts(&d->text, ";\n");
	finish_stmt(d, SAT_OP_MIGRATE__TYPE__CREATE_INDEX);
}

// ---- the table for clients

static int32_t
size_at(const json_t *column, size_t i)
{
	return (int32_t)json_integer_value(json_array_get(json_object_get(column, "size"), i));
}

static SatOpMigrate__Column *
migrate_column(struct arena *a, const json_t *column)
{
	SatOpMigrate__Column *c = arena_alloc(a, sizeof *c);
	size_t n = json_array_size(json_object_get(column, "size"));

	sat_op_migrate__column__init(c);
	c->name = arena_strdup(a, text_of(column, "name"));
	c->sqlite_type = column_type(a, column);
	c->pg_type = arena_alloc(a, sizeof *c->pg_type);
	sat_op_migrate__pg_column_type__init(c->pg_type);
	c->pg_type->name = arena_strdup(a, text_of(column, "type"));
	c->pg_type->n_size = n;
	c->pg_type->size = arena_alloc(a, n * sizeof *c->pg_type->size);
	for (size_t i = 0; i < n; i++)
		c->pg_type->size[i] = size_at(column, i);
	if (is_array(column)) {
		c->pg_type->n_array = 1;
		c->pg_type->array = arena_alloc(a, sizeof *c->pg_type->array);
		c->pg_type->array[0] = -1;
	}
	return c;
}

static char **
strings(struct arena *a, const json_t *list, size_t *n)
{
	char **out = arena_alloc(a, json_array_size(list) * sizeof *out);

	*n = json_array_size(list);
	for (size_t i = 0; i < *n; i++)
		out[i] = arena_strdup(a, json_string_value(json_array_get(list, i)));
	return out;
}

static SatOpMigrate__Table *
migrate_table(struct arena *a, const json_t *definition)
{
	const json_t *columns = json_object_get(definition, "columns"),
		     *list = json_object_get(definition, "constraints");
	SatOpMigrate__Table *t = arena_alloc(a, sizeof *t);

	sat_op_migrate__table__init(t);
	t->name = arena_strdup(a, text_of(definition, "name"));
	t->columns = arena_alloc(a, json_array_size(columns) * sizeof *t->columns);
	for (size_t i = 0; i < json_array_size(columns); i++)
		if (text_of(json_array_get(columns, i), "generated") == NULL)
			t->columns[t->n_columns++] = migrate_column(a, json_array_get(columns, i));
	t->fks = arena_alloc(a, json_array_size(list) * sizeof *t->fks);
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *c = json_array_get(list, i);
		SatOpMigrate__ForeignKey *fk;

		/* Clients know foreign keys of one column only. */
		if (text_of(c, "kind") == NULL || text_of(c, "kind")[0] != 'f' ||
		    json_array_size(json_object_get(c, "columns")) != 1)
			continue;
		fk = t->fks[t->n_fks++] = arena_alloc(a, sizeof *fk);
		sat_op_migrate__foreign_key__init(fk);
		fk->fk_cols = strings(a, json_object_get(c, "columns"), &fk->n_fk_cols);
		fk->pk_table = arena_strdup(a, text_of(c, "ref_table"));
		fk->pk_cols = strings(a, json_object_get(c, "ref_columns"), &fk->n_pk_cols);
	}
	t->pks = strings(a, json_object_get(definition, "pks"), &t->n_pks);
	return t;
}

/* Indexes have one namespace in SQLite: what goes makes room first. */
static void
change_indexes(struct ddl *d)
{
	const json_t *now = json_object_get(d->now, "indexes"),
		     *before = json_object_get(d->before, "indexes");

	for (size_t i = 0; i < json_array_size(before); i++) {
		const json_t *old = json_array_get(before, i), *kept = named(now, text_of(old, "name"));

		if (kept == NULL || !json_equal(kept, old))
			drop(d, "INDEX", text_of(old, "name"));
	}
	for (size_t i = 0; i < json_array_size(now); i++) {
		const json_t *index = json_array_get(now, i), *old = named(before, text_of(index, "name"));

		if (old == NULL || !json_equal(index, old))
			create_index(d, index);
	}
}

SatOpMigrate *
sqlite_migrate(struct arena *a, const struct sqlite_change *change)
{
	const json_t *columns = json_object_get(change->now, "columns");
	struct ddl d = { .a = a, .now = change->now, .before = change->before };
	SatOpMigrate *m;

	if (change->replaces)
		drop(&d, "TABLE", text_of(d.now, "name"));
	if (change->before == NULL)
		create_table(&d);
	for (size_t i = 0; change->before != NULL && i < json_array_size(columns); i++) {
		const json_t *c = json_array_get(columns, i);

		if (named(json_object_get(change->before, "columns"), text_of(c, "name")) == NULL)
			add_column(&d, c);
	}
	change_indexes(&d);
	buf_clear(&d.text);
	if (d.n_stmts == 0)
		return NULL;
	m = arena_alloc(a, sizeof *m);
	sat_op_migrate__init(m);
	m->version = arena_strdup(a, change->version);
	m->stmts = d.stmts;
	m->n_stmts = d.n_stmts;
	m->table = migrate_table(a, change->left);
	return m;
}
