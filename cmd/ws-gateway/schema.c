/* The schema as the log tells it. */
#include "schema.h"

#include <stdlib.h>
#include <string.h>

#include "arena.h"
#include "satellite.h"
#include "xalloc.h"

#define OWNER_COLUMN "electric_user_id"

struct table {
	uint32_t relation;
	uint32_t instance; /* which Postgres gave it that number */
	struct table_version *latest;
};

static struct arena memory; /* of the definitions */
static struct migration *migrations;
static struct table *tables;
static size_t n_migrations, n_tables;
static bool mixed; /* more than one Postgres tells of it */

static struct chunk *
encode_relation(const Table *t)
{
	struct arena a = { 0 };
	SatRelation r = SAT_RELATION__INIT;
	struct chunk *chunk;

	r.schema_name = t->schema;
	r.table_name = t->name;
	r.relation_id = t->relation;
	r.n_columns = t->n_columns;
	r.columns = arena_alloc(&a, t->n_columns * sizeof *r.columns);
	for (size_t i = 0; i < t->n_columns; i++) {
		SatRelationColumn *c = arena_alloc(&a, sizeof *c);

		sat_relation_column__init(c);
		c->name = t->columns[i]->name;
		c->type = t->columns[i]->type;
		c->primarykey = t->columns[i]->primary_key;
		c->is_nullable = !t->columns[i]->not_null;
		r.columns[i] = c;
	}
	chunk = chunk_message(SAT_RELATION, &r.base);
	arena_clear(&a);
	return chunk;
}

static struct table *
table_of(uint32_t relation)
{
	for (size_t i = 0; i < n_tables; i++)
		if (tables[i].relation == relation)
			return &tables[i];
	return NULL;
}

/* The table of that name that was not removed; NULL: there is none. */
static struct table *
live_table(const Table *def)
{
	for (size_t i = n_tables; i > 0; i--) {
		const Table *known = tables[i - 1].latest->def;

		if (known->n_columns > 0 && strcmp(known->name, def->name) == 0 &&
		    strcmp(known->schema, def->schema) == 0)
			return &tables[i - 1];
	}
	return NULL;
}

/* What one Postgres numbers, another may have numbered before, or may have given that number to another
 * table. */
static uint32_t
number_of(const Table *def, uint32_t instance)
{
	const struct table *named = live_table(def), *numbered = table_of(def->relation);
	uint32_t highest = 0;

	if (named != NULL && named->instance != instance)
		return named->relation;
	if (numbered == NULL || numbered->instance == instance)
		return def->relation;
	for (size_t i = 0; i < n_tables; i++)
		if (tables[i].relation > highest)
			highest = tables[i].relation;
	return highest + 1;
}

static void
add_table(Table *def, uint64_t position, uint32_t instance)
{
	struct table_version *v = xcalloc(1, sizeof *v);
	struct table *t;

	def->relation = number_of(def, instance);
	t = table_of(def->relation);
	if (t == NULL) {
		tables = xrealloc(tables, (n_tables + 1) * sizeof *tables);
		t = &tables[n_tables++];
		*t = (struct table){ .relation = def->relation, .instance = instance };
	}
	v->older = t->latest;
	v->position = position;
	v->def = def;
	for (size_t i = 0; i < def->n_columns; i++)
		v->owned |= strcmp(def->columns[i]->name, OWNER_COLUMN) == 0;
	v->relation = encode_relation(def);
	t->latest = v;
}

void
schema_clear(void)
{
	for (size_t i = 0; i < n_tables; i++) {
		while (tables[i].latest != NULL) {
			struct table_version *v = tables[i].latest;

			tables[i].latest = v->older;
			chunk_unref(v->relation);
			free(v);
		}
	}
	free(tables);
	free(migrations);
	tables = NULL;
	migrations = NULL;
	n_tables = n_migrations = 0;
	mixed = false;
	arena_clear(&memory);
}

void
schema_add(const Migration *migration)
{
	size_t n = migration__get_packed_size(migration);
	uint8_t *packed;
	Migration *copy;

	if (n_migrations > 0) {
		const Migration *last = migrations[n_migrations - 1].def;

		if (last->position > migration->position ||
		    (last->position == migration->position && schema_version_index(migration->version) >= 0))
			return;
	}
	packed = xmalloc(n);
	migration__pack(migration, packed);
	copy = migration__unpack(arena_pb(&memory), n, packed);
	free(packed);
	migrations = xrealloc(migrations, (n_migrations + 1) * sizeof *migrations);
	migrations[n_migrations++].def = copy;
	/* The log of before did not say which Postgres it was: it was the first. */
	if (copy->instance == 0)
		copy->instance = 1;
	mixed |= n_migrations > 1 && migrations[n_migrations - 2].def->instance != copy->instance;
	for (size_t i = 0; i < copy->n_tables; i++)
		add_table(copy->tables[i], copy->position, copy->instance);
}

Migration *
schema_own(Migration *told, uint64_t position)
{
	for (size_t i = n_migrations; i > 0 && migrations[i - 1].def->position >= position; i--)
		if (migrations[i - 1].def->position == position &&
		    strcmp(migrations[i - 1].def->version, told->version) == 0)
			return migrations[i - 1].def;
	return told;
}

bool
schema_is_mixed(void)
{
	return mixed;
}

const struct migration *
schema_migrations(size_t *n)
{
	*n = n_migrations;
	return migrations;
}

long
schema_version_index(const char *version)
{
	for (size_t i = 0; i < n_migrations; i++)
		if (strcmp(migrations[i].def->version, version) == 0)
			return (long)i;
	return -1;
}

static const struct table_version *
version_at(const struct table *t, uint64_t position)
{
	const struct table_version *v = t->latest;

	while (v != NULL && v->position > position)
		v = v->older;
	return v;
}

const struct table_version *
schema_table_at(uint32_t relation, uint64_t position)
{
	const struct table *t = table_of(relation);

	return t != NULL ? version_at(t, position) : NULL;
}

const struct table_version *
schema_named_at(const char *schema, const char *name, uint64_t position)
{
	for (size_t i = n_tables; i > 0; i--) {
		const Table *def = tables[i - 1].latest->def;
		const struct table_version *v;

		if (strcmp(def->name, name) == 0 && strcmp(def->schema, schema) == 0 &&
		    (v = version_at(&tables[i - 1], position)) != NULL && v->def->n_columns > 0)
			return v;
	}
	return NULL;
}

const struct table_version *
schema_table(uint32_t relation)
{
	return schema_table_at(relation, UINT64_MAX);
}

const struct table_version *
schema_find_ever(const char *name)
{
	/* From the latest: a table that was dropped and made again is another one. */
	for (size_t i = n_tables; i > 0; i--) {
		const Table *def = tables[i - 1].latest->def;

		if (strcmp(def->name, name) == 0 && strcmp(def->schema, "public") == 0)
			return tables[i - 1].latest;
	}
	return NULL;
}

const struct table_version *
schema_find(const char *name)
{
	const struct table_version *t = schema_find_ever(name);

	return t != NULL && t->def->n_columns > 0 ? t : NULL;
}
