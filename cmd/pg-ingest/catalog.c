/* What pg-ingest knows of the tables. */
#include "catalog.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "definition.h"
#include "log.h"
#include "service.h"
#include "sqlite_ddl.h"
#include "xalloc.h"

#define BUCKETS 1024

static struct arena memory;	       /* of everything here but the descriptions of relations */
static struct table_def *first, *last; /* in the order of their rows */
static struct relation *relations[BUCKETS];

/* Versions that lie behind. */
static struct known {
	const char *version;
	struct known *next;
} * known[BUCKETS];

static unsigned
hash_text(const char *s)
{
	unsigned h = 2166136261u;

	for (; *s != '\0'; s++)
		h = (h ^ (unsigned char)*s) * 16777619u;
	return h % BUCKETS;
}

static void
free_description(struct relation *rel)
{
	for (unsigned i = 0; i < rel->n_columns; i++)
		free(rel->columns[i]);
	free(rel->columns);
	free(rel->from_tuple);
	rel->columns = NULL;
	rel->from_tuple = NULL;
	rel->mapped = NULL;
	rel->n_columns = 0;
}

void
catalog_reset(void)
{
	for (struct table_def *d = first; d != NULL; d = d->next)
		json_decref(d->json);
	for (unsigned i = 0; i < BUCKETS; i++) {
		while (relations[i] != NULL) {
			struct relation *rel = relations[i];

			relations[i] = rel->next;
			free_description(rel);
			free(rel);
		}
		known[i] = NULL;
	}
	first = last = NULL;
	arena_clear(&memory);
}

// ---- relations

struct relation *
catalog_relation(uint32_t oid)
{
	struct relation *rel = relations[oid % BUCKETS];

	while (rel != NULL && rel->oid != oid)
		rel = rel->next;
	return rel;
}

static struct relation *
relation_new(uint32_t oid)
{
	struct relation *rel = catalog_relation(oid);

	if (rel == NULL) {
		rel = xcalloc(1, sizeof *rel);
		rel->oid = oid;
		rel->next = relations[oid % BUCKETS];
		relations[oid % BUCKETS] = rel;
	}
	return rel;
}

void
catalog_add_shadow(uint32_t table, uint32_t shadow)
{
	struct relation *rel = relation_new(shadow);

	rel->role = RELATION_SHADOW;
	rel->table = table;
	rel = relation_new(table);
	rel->role = RELATION_TABLE;
}

void
catalog_describe(const struct pgo_relation *described)
{
	struct relation *rel = relation_new(described->id);

	free_description(rel);
	rel->n_columns = described->n_columns;
	rel->columns = xmalloc(rel->n_columns * sizeof *rel->columns);
	for (unsigned i = 0; i < rel->n_columns; i++)
		rel->columns[i] = xstrdup(described->columns[i]);
	if (strcmp(described->schema, "electric") == 0 && strcmp(described->name, "ddl_commands") == 0)
		rel->role = RELATION_DDL;
	else if (strcmp(described->schema, "electric") == 0 && strcmp(described->name, "electrified") == 0)
		rel->role = RELATION_ELECTRIFIED;
	if (rel->role == RELATION_TABLE && described->identity != 'f')
		log_warning("replica-identity", "table=%s.%s error=%s", described->schema, described->name,
		    log_quote(
			"not FULL: old rows and unchanged large values are missing in what clients get"));
}

unsigned
catalog_tuple_column(const struct relation *rel, const char *name)
{
	for (unsigned i = 0; i < rel->n_columns; i++)
		if (strcmp(rel->columns[i], name) == 0)
			return i;
	return NO_COLUMN;
}

const unsigned *
catalog_map(struct relation *rel)
{
	if (rel->mapped != rel->def) {
		free(rel->from_tuple);
		rel->from_tuple = xmalloc(rel->def->n_columns * sizeof *rel->from_tuple);
		for (unsigned i = 0; i < rel->def->n_columns; i++)
			rel->from_tuple[i] = catalog_tuple_column(rel, rel->def->table->columns[i]->name);
		rel->mapped = rel->def;
	}
	return rel->from_tuple;
}

// ---- definitions

/* The primary key in its order, and the owner's column. False: it has no key. */
static bool
find_columns(struct table_def *d)
{
	const json_t *pks = json_object_get(d->json, "pks");

	d->owner = NO_COLUMN;
	d->n_columns = (unsigned)d->table->n_columns;
	d->keys = arena_alloc(&memory, json_array_size(pks) * sizeof *d->keys);
	for (unsigned i = 0; i < d->n_columns; i++)
		if (strcmp(d->table->columns[i]->name, "electric_user_id") == 0)
			d->owner = i;
	for (size_t k = 0; k < json_array_size(pks); k++)
		for (unsigned i = 0; i < d->n_columns; i++)
			if (strcmp(d->table->columns[i]->name, json_string_value(json_array_get(pks, k))) ==
			    0)
				d->keys[d->n_keys++] = i;
	return d->n_keys > 0 && d->n_keys == json_array_size(pks);
}

const struct table_def *
catalog_add(int64_t id, const char *version, uint64_t timestamp, const char *text)
{
	struct table_def *d;
	json_error_t error;

	for (d = first; d != NULL; d = d->next)
		if (d->id == id)
			return d;
	d = arena_zalloc(&memory, sizeof *d);
	d->json = json_loads(text, 0, &error);
	d->removed = is_true(d->json, "removed");
	d->table = d->json != NULL ? sqlite_table(&memory, d->json) : NULL;
	if (d->table == NULL || (!find_columns(d) && !d->removed)) {
		log_error("definition-unreadable", "ddl_command=%" PRId64 " version=%s", id, version);
		json_decref(d->json);
		return NULL;
	}
	d->id = id;
	d->version = arena_strdup(&memory, version);
	d->timestamp = timestamp;
	d->oid = d->table->relation;
	/* Rows of one table come in the order of their ids: each waits for the one before to commit. */
	for (const struct table_def *p = first; p != NULL; p = p->next) {
		if (p->removed || p->id >= id)
			continue;
		if (p->oid == d->oid && (d->previous == NULL || p->id > d->previous->id))
			d->previous = p;
		d->replaces |= p->oid != d->oid && strcmp(p->table->schema, d->table->schema) == 0 &&
			       strcmp(p->table->name, d->table->name) == 0;
	}
	if (last != NULL)
		last->next = d;
	else
		first = d;
	last = d;
	return d;
}

bool
catalog_is_known(const char *version)
{
	struct known *k = known[hash_text(version)];

	while (k != NULL && strcmp(k->version, version) != 0)
		k = k->next;
	return k != NULL;
}

bool
catalog_know(const char *version)
{
	bool found = false;

	for (struct table_def *d = first; d != NULL; d = d->next) {
		struct relation *rel;

		if (strcmp(d->version, version) != 0)
			continue;
		rel = relation_new(d->oid);
		rel->role = RELATION_TABLE;
		if (rel->def == NULL || rel->def->id < d->id)
			rel->def = d->removed ? NULL : d;
		found = true;
	}
	if (found && !catalog_is_known(version)) {
		struct known *k = arena_alloc(&memory, sizeof *k);

		k->version = arena_strdup(&memory, version);
		k->next = known[hash_text(version)];
		known[hash_text(version)] = k;
	}
	return found;
}

void
catalog_know_all(void)
{
	for (struct table_def *d = first; d != NULL; d = d->next)
		if (!catalog_is_known(d->version))
			catalog_know(d->version);
}

// ---- migrations

/* The table of this name by the end of the version; NULL: there is none. */
static const struct table_def *
table_named(const char *schema, const char *name, const struct table_def *end)
{
	const struct table_def *found = NULL;

	for (const struct table_def *d = first; d != end; d = d->next)
		if (strcmp(d->table->schema, schema) == 0 && strcmp(d->table->name, name) == 0)
			found = d->removed ? NULL : d;
	return found;
}

static bool
same_names(const json_t *some, const json_t *others)
{
	size_t n = json_array_size(some);

	for (size_t i = 0; i < n; i++)
		if (!has_string(others, json_string_value(json_array_get(some, i))))
			return false;
	return n == json_array_size(others);
}

/* Do clients know these columns of the table as a key? */
static bool
is_key(const json_t *definition, const json_t *columns)
{
	const json_t *list = json_object_get(definition, "constraints");

	if (same_names(json_object_get(definition, "pks"), columns))
		return true;
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *c = json_array_get(list, i);
		const char *kind = text_of(c, "kind");

		if (kind != NULL && kind[0] == 'u' && !is_true(c, "local") &&
		    same_names(json_object_get(c, "columns"), columns))
			return true;
	}
	return false;
}

/*
 * The definition without the foreign keys that lead to no key on clients, be it that the table is not synced:
 * SQLite refuses every write of such tables. To be released.
 */
static json_t *
for_clients(const struct table_def *d, const struct table_def *end)
{
	json_t *definition = json_deep_copy(d->json), *list = json_object_get(definition, "constraints");

	for (size_t i = json_array_size(list); i > 0; i--) {
		const json_t *c = json_array_get(list, i - 1);
		const char *schema = text_of(c, "ref_schema"), *table = text_of(c, "ref_table");
		const struct table_def *parent;

		if (schema == NULL || table == NULL)
			continue;
		parent = table_named(schema, table, end);
		if (parent == NULL || !is_key(parent->json, json_object_get(c, "ref_columns")))
			json_array_remove(list, i - 1);
	}
	return definition;
}

/* The packed op of a row; false: nothing travels. `now` and `left`: the table after the row, and after all of
 * its version. */
static bool
migration_op(struct arena *a, const struct table_def *d, const json_t *now, const json_t *left,
    ProtobufCBinaryData *op)
{
	const struct sqlite_change change = {
		.version = d->version,
		.before = d->previous != NULL ? d->previous->json : NULL,
		.now = now,
		.left = left,
		.replaces = d->previous == NULL && d->replaces,
	};
	SatOpMigrate *m = d->removed ? NULL : sqlite_migrate(a, &change);

	if (m == NULL)
		return false;
	op->len = sat_op_migrate__get_packed_size(m);
	op->data = arena_alloc(a, op->len);
	sat_op_migrate__pack(m, op->data);
	return true;
}

/* Puts the table in, in the place of what an earlier row of the same migration left. */
static void
migration_table(Migration *m, Table *table)
{
	for (size_t i = 0; i < m->n_tables; i++) {
		if (m->tables[i]->relation == table->relation) {
			m->tables[i] = table;
			return;
		}
	}
	m->tables[m->n_tables++] = table;
}

static void
migration_add(Migration *m, struct arena *a, const struct table_def *d, const struct table_def *end)
{
	const struct table_def *latest = d;
	json_t *now, *left;

	for (const struct table_def *p = d; p != end; p = p->next)
		if (p->oid == d->oid && !p->removed && strcmp(p->version, d->version) == 0)
			latest = p;
	now = for_clients(d, end);
	left = for_clients(latest, end);
	if (migration_op(a, d, now, left, &m->ops[m->n_ops]))
		m->n_ops++;
	migration_table(m, sqlite_table(a, now));
	json_decref(now);
	json_decref(left);
}

Migration *
catalog_migration(struct arena *a, const char *version)
{
	const struct table_def *end = NULL; /* after the version's last row */
	Migration *m = arena_alloc(a, sizeof *m);
	size_t n = 0;

	migration__init(m);
	for (const struct table_def *d = first; d != NULL; d = d->next) {
		if (strcmp(d->version, version) == 0) {
			n++;
			end = d->next;
		}
	}
	m->version = arena_strdup(a, version);
	m->instance = service_instance();
	m->ops = arena_alloc(a, n * sizeof *m->ops);
	m->tables = arena_alloc(a, n * sizeof *m->tables);
	for (const struct table_def *d = first; d != end; d = d->next) {
		if (strcmp(d->version, version) != 0)
			continue;
		m->timestamp = d->timestamp;
		migration_add(m, a, d, end);
	}
	return m;
}

size_t
catalog_migrations(struct arena *a, Migration ***migrations)
{
	size_t n = 0;

	for (const struct table_def *d = first; d != NULL; d = d->next)
		n++;
	*migrations = arena_alloc(a, n * sizeof **migrations);
	n = 0;
	for (const struct table_def *d = first; d != NULL; d = d->next) {
		bool done = false;

		for (size_t i = n; i > 0 && !done; i--)
			done = strcmp((*migrations)[i - 1]->version, d->version) == 0;
		if (!done)
			(*migrations)[n++] = catalog_migration(a, d->version);
	}
	return n;
}

/* What is electrified in the version that was reached, which may be NULL: calls fn for each table. */
static const char *
version_reached(void (*fn)(void *data, const Table *t), void *data)
{
	const char *version = NULL;

	for (const struct table_def *d = first; d != NULL; d = d->next) {
		const struct relation *rel = catalog_relation(d->oid);

		if (catalog_is_known(d->version))
			version = d->version;
		if (rel != NULL && rel->def == d)
			fn(data, d->table);
	}
	return version;
}

static void
list_table(void *data, const Table *t)
{
	char *name = xasprintf("%s.%s", t->schema, t->name);

	json_array_append_new(data, json_string(name));
	free(name);
}

char *
catalog_status(void)
{
	json_t *list = json_array(), *status;
	const char *version = version_reached(list_table, list);
	char *text, *members;

	status = json_pack("{s:s?, s:o}", "schema_version", version, "electrified", list);
	text = json_dumps(status, JSON_COMPACT);
	members = xmemdup0(text + 1, strlen(text) - 2);
	free(text);
	json_decref(status);
	return members;
}

static void
count_table(void *data, const Table *t)
{
	(void)t;
	++*(size_t *)data;
}

void
catalog_metrics(struct metrics *m)
{
	size_t tables = 0;
	const char *version = version_reached(count_table, &tables);

	metrics_gauge(m, "leyden_electrified_tables", "Tables that are synced.", (double)tables);
	if (version == NULL)
		return;
	metrics_family(m, "gauge", "leyden_schema_info", "The version of the schema.");
	metrics_sample(m, 1, "version=\"%s\"", metrics_label(m, version));
}
