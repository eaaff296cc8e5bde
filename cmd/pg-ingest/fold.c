/* One transaction of Postgres on its way into the log: collecting its changes. */
#include "fold.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "fold_state.h"
#include "log.h"
#include "pgtext.h"
#include "spool.h"

#define FIRST_ROWS  64 /* buckets of a section's rows; always a power of two */
#define PG_EPOCH_MS INT64_C(946684800000)
#define RELAX_EVERY 256 /* rows; each may have brought a stretch of the spool back into memory */

struct fold_state fold = { .arena.source = &spool_source };

static struct arena scratch; /* of the tags that are being read */

void
fold_reset(void)
{
	arena_reset(&fold.arena);
	fold.tags.text = NULL;
	fold.first = fold.last = fold.at = fold.repair = NULL;
	fold.end = &fold.first;
	fold.next = NULL;
	fold.version = NULL;
	buf_take(&fold.carry, fold.carry.len);
	fold.committed = fold.migrated = false;
	fold.part = 0;
	fold.n_changes = 0;
}

void
fold_for_several(void)
{
	fold.several = true;
}

struct section *
fold_add_section(const ClientTransaction *mark)
{
	struct section *s = arena_zalloc(&fold.arena, sizeof *s);

	s->mark = mark;
	s->end = &s->first;
	s->newest_ms = -1;
	*fold.end = s;
	fold.end = &s->next;
	return s;
}

void
fold_begin(unsigned instance, uint64_t xid, int64_t time_us)
{
	fold_reset();
	fold.instance = instance;
	fold.xid = xid;
	fold.commit_ms = time_us / 1000 + PG_EPOCH_MS;
	fold.last = fold_add_section(NULL);
}

uint64_t
fold_changes(void)
{
	return fold.n_changes;
}

uint64_t
fold_bytes(void)
{
	return fold.arena.total;
}

// ---- rows

static uint64_t
hash_keys(uint32_t table, const struct sat_value *keys, unsigned n)
{
	uint64_t h = table;

	for (unsigned i = 0; i < n; i++)
		h = XXH3_64bits_withSeed(
		    keys[i].text != NULL ? keys[i].text : (const uint8_t *)"", keys[i].len, h);
	return h;
}

static bool
same_value(const struct sat_value *a, const struct sat_value *b)
{
	return a->len == b->len && (a->text == NULL) == (b->text == NULL) &&
	       (a->len == 0 || a->text == NULL || memcmp(a->text, b->text, a->len) == 0);
}

static bool
same_keys(const struct row *r, uint64_t hash, uint32_t table, const struct sat_value *keys, unsigned n)
{
	if (r->hash != hash || r->table != table || r->n_keys != n)
		return false;
	for (unsigned i = 0; i < n; i++)
		if (!same_value(&r->keys[i], &keys[i]))
			return false;
	return true;
}

static void
touch_row(void)
{
	static unsigned n;

	if (++n % RELAX_EVERY == 0)
		spool_relax();
}

static void
grow_rows(struct section *s)
{
	size_t n = s->n_buckets == 0 ? FIRST_ROWS : s->n_buckets * 2;
	struct row **rows = arena_zalloc(&fold.arena, n * sizeof *rows);

	for (size_t i = 0; i < s->n_buckets; i++) {
		for (struct row *r = s->rows[i], *next; r != NULL; r = next) {
			touch_row();
			next = r->next;
			r->next = rows[r->hash & (n - 1)];
			rows[r->hash & (n - 1)] = r;
		}
	}
	s->rows = rows;
	s->n_buckets = n;
}

/* The row with these keys in the last section; `keys` are in the arena. */
static struct row *
find_row(uint32_t table, const struct sat_value *keys, unsigned n)
{
	struct section *s = fold.last;
	uint64_t hash = hash_keys(table, keys, n);
	struct row *r;

	if (s->n_rows >= s->n_buckets)
		grow_rows(s);
	for (r = s->rows[hash & (s->n_buckets - 1)]; r != NULL; r = r->next)
		if (same_keys(r, hash, table, keys, n))
			return r;
	r = arena_zalloc(&fold.arena, sizeof *r);
	*r = (struct row){ .hash = hash, .table = table, .keys = keys, .n_keys = n };
	r->next = s->rows[hash & (s->n_buckets - 1)];
	s->rows[hash & (s->n_buckets - 1)] = r;
	s->n_rows++;
	return r;
}

struct row *
fold_row_of(const struct table_def *def, const struct sat_value *values)
{
	struct sat_value *keys = arena_alloc(&fold.arena, def->n_keys * sizeof *keys);

	for (unsigned k = 0; k < def->n_keys; k++)
		keys[k] = values[def->keys[k]];
	return find_row(def->oid, keys, def->n_keys);
}

// ---- collecting

static struct sat_value
keep_value(const struct pgo_value *v)
{
	struct sat_value out = { NULL, 0 };

	if (v->text != NULL) {
		out.text = arena_dup(&fold.arena, v->text, v->len);
		out.len = v->len;
	}
	return out;
}

/* A tuple in the order of the definition. What Postgres left out because it did not change is the old row's.
 */
static struct sat_value *
keep_tuple(struct relation *rel, const struct pgo_tuple *tuple, const struct sat_value *old)
{
	const unsigned *map = catalog_map(rel);
	struct sat_value *values = arena_zalloc(&fold.arena, rel->def->n_columns * sizeof *values);

	for (unsigned i = 0; i < rel->def->n_columns; i++) {
		if (map[i] >= tuple->n)
			continue;
		if (!tuple->values[map[i]].unchanged)
			values[i] = keep_value(&tuple->values[map[i]]);
		else if (old != NULL)
			values[i] = old[i];
	}
	return values;
}

struct change *
fold_add_change(struct section *s, ChangeKind kind, const struct table_def *def)
{
	struct change *c = arena_zalloc(&fold.arena, sizeof *c);

	c->kind = kind;
	c->def = def;
	c->relation = def != NULL ? def->oid : 0;
	*s->end = c;
	s->end = &c->next;
	fold.n_changes++;
	return c;
}

static void
collect_row(struct relation *rel, enum pgo_kind kind, const struct pgo_row *row)
{
	const struct sat_value *old = NULL, *now = NULL;
	struct row *old_row = NULL, *now_row = NULL;
	struct change *c;

	if (rel->def == NULL || rel->columns == NULL)
		return;
	if (row->old_kind != 0) {
		old = keep_tuple(rel, &row->old, NULL);
		old_row = fold_row_of(rel->def, old);
		old_row->changed = true;
	}
	if (kind != PGO_DELETE) {
		now = keep_tuple(rel, &row->row, old);
		now_row = fold_row_of(rel->def, now);
		now_row->changed = true;
	}
	if (kind == PGO_UPDATE && (old_row == NULL || old_row == now_row)) {
		c = fold_add_change(fold.last, CHANGE_KIND__UPDATE, rel->def);
		c->row = now_row;
		c->now = now;
		c->old = old;
		now_row->last = c;
		return;
	}
	if (kind != PGO_INSERT && old != NULL) {
		c = fold_add_change(fold.last, CHANGE_KIND__DELETE, rel->def);
		c->row = old_row;
		c->old = old;
		old_row->last = c;
	}
	if (kind != PGO_DELETE) {
		c = fold_add_change(fold.last, CHANGE_KIND__INSERT, rel->def);
		c->row = now_row;
		c->now = now;
		now_row->last = c;
	}
}

// ---- tags

/* Into fold.tags. */
static bool
read_tags(const char *text, size_t n)
{
	struct tag_set *set = &fold.tags;
	struct pgtext_tag *tags;

	if (set->text != NULL && set->len == n && memcmp(set->text, text, n) == 0)
		return true;
	set->text = NULL;
	arena_reset(&scratch);
	if (!pgtext_tags(&scratch, text, n, &tags, &set->n))
		return false;
	set->wire = arena_alloc(&fold.arena, set->n * sizeof *set->wire);
	set->newest_ms = -1;
	for (size_t i = 0; i < set->n; i++) {
		set->wire[i] = pgtext_tag_wire(&fold.arena, &tags[i], fold.instance);
		if (tags[i].source == NULL && tags[i].ms > set->newest_ms)
			set->newest_ms = tags[i].ms;
	}
	set->text = arena_dup(&fold.arena, text, n);
	set->len = n;
	return true;
}

bool
fold_wire_tags(const char *text, size_t n, char ***wire, size_t *count)
{
	if (!read_tags(text, n))
		return false;
	*wire = fold.tags.wire;
	*count = fold.tags.n;
	return true;
}

/* What stands in the shadow row beside the tags, and what stood there. */
static bool
collect_state(const struct relation *rel, const struct pgo_row *row, struct row *r)
{
	unsigned tags = catalog_tuple_column(rel, "_tags"),
		 columns = catalog_tuple_column(rel, "_column_tags");
	const struct pgo_value *v;

	if (!r->has_tags) {
		r->is_new = row->old_kind == 0;
		if (row->old_kind != 0 && tags < row->old.n && (v = &row->old.values[tags])->text != NULL &&
		    !fold_wire_tags((const char *)v->text, v->len, &r->before, &r->n_before))
			return false;
	}
	v = columns < row->row.n ? &row->row.values[columns] : NULL;
	if (v != NULL && v->unchanged)
		v = columns < row->old.n ? &row->old.values[columns] : NULL;
	r->n_columns = 0;
	return v == NULL || v->text == NULL ||
	       fold_wire_tags((const char *)v->text, v->len, &r->columns, &r->n_columns);
}

static bool
collect_shadow(const struct relation *rel, const struct pgo_row *row)
{
	const struct pgo_tuple *tuple = &row->row;
	unsigned at = rel->columns != NULL ? catalog_tuple_column(rel, "_tags") : NO_COLUMN;
	struct sat_value *keys;
	struct row *r;
	unsigned n_keys = 0;

	if (at >= tuple->n || tuple->values[at].text == NULL)
		return true;
	/* The key columns come first, in their order. */
	while (n_keys < tuple->n && n_keys < rel->n_columns && rel->columns[n_keys][0] == 'k')
		n_keys++;
	keys = arena_alloc(&fold.arena, n_keys * sizeof *keys);
	for (unsigned i = 0; i < n_keys; i++)
		keys[i] = keep_value(&tuple->values[i]);
	r = find_row(rel->table, keys, n_keys);
	if ((fold.several && !collect_state(rel, row, r)) ||
	    !fold_wire_tags(
		(const char *)tuple->values[at].text, tuple->values[at].len, &r->tags, &r->n_tags)) {
		log_error("tags-unreadable", "table=%u", rel->table);
		return false;
	}
	r->has_tags = true;
	if (fold.tags.newest_ms > fold.last->newest_ms)
		fold.last->newest_ms = fold.tags.newest_ms;
	return true;
}

static const char *
column_text(const struct relation *rel, const struct pgo_tuple *tuple, const char *name)
{
	unsigned at = catalog_tuple_column(rel, name);

	if (at >= tuple->n || tuple->values[at].text == NULL)
		return NULL;
	return arena_strndup(&fold.arena, (const char *)tuple->values[at].text, tuple->values[at].len);
}

/* The migration as another Postgres is to take it. */
static void
carry_ddl(const char *definition, const char *carry)
{
	buf_printf(&fold.carry, "%s{\"definition\":%s,\"carry\":%s}", fold.carry.len > 0 ? "," : "[",
	    definition, carry != NULL ? carry : "null");
}

static bool
collect_ddl(const struct relation *rel, const struct pgo_tuple *tuple)
{
	const char *id = column_text(rel, tuple, "id"), *version = column_text(rel, tuple, "version");
	const char *txts = column_text(rel, tuple, "txts"),
		   *definition = column_text(rel, tuple, "definition");
	const struct table_def *def;
	struct relation *table;
	int64_t ms;

	if (id == NULL || version == NULL || txts == NULL || definition == NULL ||
	    !pgtext_timestamp_ms(txts, strlen(txts), &ms)) {
		log_error("ddl-command-unreadable", "id=%s", id != NULL ? id : "?");
		return false;
	}
	/* The log began with it. */
	if (catalog_is_known(version))
		return true;
	def = catalog_add(strtoll(id, NULL, 10), version, (uint64_t)ms, definition);
	if (def == NULL)
		return true;
	table = catalog_relation(def->oid);
	if (table == NULL) {
		catalog_add_shadow(def->oid, 0);
		table = catalog_relation(def->oid);
	}
	table->def = def->removed ? NULL : def;
	if (fold.several)
		carry_ddl(definition, column_text(rel, tuple, "carry"));
	if (fold.version == NULL) {
		fold.version = def->version;
		if (fold.last->was_told)
			return true;
		fold_add_change(fold.last, CHANGE_KIND__MIGRATE, def);
		fold.last->is_migration = true;
	}
	return true;
}

bool
fold_wants_rows(uint32_t relation)
{
	const struct relation *rel = catalog_relation(relation);

	return fold.last == NULL || !fold.last->was_told || rel == NULL ||
	       (rel->role != RELATION_TABLE && rel->role != RELATION_SHADOW);
}

bool
fold_row(enum pgo_kind kind, const struct pgo_row *row)
{
	struct relation *rel = catalog_relation(row->relation);
	const char *table, *shadow;

	if (rel == NULL || fold.last == NULL)
		return true;
	touch_row();
	switch (rel->role) {
	case RELATION_TABLE:
		collect_row(rel, kind, row);
		break;
	case RELATION_SHADOW:
		return kind == PGO_DELETE || collect_shadow(rel, row);
	case RELATION_DDL:
		return kind != PGO_INSERT || collect_ddl(rel, &row->row);
	case RELATION_ELECTRIFIED:
		if (kind != PGO_INSERT)
			break;
		table = column_text(rel, &row->row, "oid");
		shadow = column_text(rel, &row->row, "shadow");
		if (table != NULL && shadow != NULL)
			catalog_add_shadow(
			    (uint32_t)strtoul(table, NULL, 10), (uint32_t)strtoul(shadow, NULL, 10));
		break;
	case RELATION_OTHER:
		break;
	}
	return true;
}

bool
fold_mark(const struct pgo_message *message)
{
	ClientTransaction *mark =
	    client_transaction__unpack(arena_pb(&fold.arena), message->len, message->content);

	if (mark == NULL || fold.last == NULL) {
		log_error("mark-unreadable", "bytes=%" PRIu32, message->len);
		return false;
	}
	fold.last = fold_add_section(mark);
	fold.repair = NULL;
	return true;
}

void
fold_was_told(void)
{
	if (fold.last == NULL || fold.last->was_told)
		return;
	fold.last = fold_add_section(NULL);
	fold.last->was_told = true;
}

void
fold_truncate(const struct pgo_truncate *truncate)
{
	for (uint32_t i = 0; i < truncate->n; i++) {
		const struct relation *rel = catalog_relation(be32_get(truncate->relations + i * 4));

		if (rel != NULL && rel->role == RELATION_TABLE && rel->def != NULL &&
		    rel->truncated != fold.xid)
			log_warning("truncate", "table=%s.%s error=%s", rel->def->table->schema,
			    rel->def->table->name, log_quote("its triggers were off: clients keep the rows"));
	}
}
