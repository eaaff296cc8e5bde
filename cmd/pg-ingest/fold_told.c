/* One transaction of Postgres on its way into the log: rows that are told in messages, since the WAL has no
 * change of them (electric.tell_rows). */
#include "fold.h"

#include <inttypes.h>
#include <stdlib.h>

#include "fold_state.h"
#include "log.h"

/* [text by attnum] in the order of the definition; those of `left_out` are NULL. */
static struct sat_value *
values_of(const struct table_def *def, const json_t *vals, const json_t *left_out)
{
	struct sat_value *values = arena_zalloc(&fold.arena, def->n_columns * sizeof *values);

	for (unsigned i = 0; i < def->n_columns; i++) {
		uint32_t num = def->table->columns[i]->num;
		bool left = false;

		for (size_t k = 0; k < json_array_size(left_out); k++)
			left |= json_integer_value(json_array_get(left_out, k)) == num;
		if (!left)
			values[i] = fold_text(json_array_get(vals, num - 1));
	}
	return values;
}

/* Where rows go that other instances are to know: one of them alone, or all. What was told here is told again
 * by nobody, but that this Postgres has rows of its own is its own news. */
static struct section *
section_of(const json_t *message)
{
	const char *client = json_string_value(json_object_get(message, "client"));

	if (client != NULL)
		return fold_section_for(client);
	return fold.last->was_told ? fold.first : fold.last;
}

/* A row as electric.retell() tells it. */
static bool
add_state(const json_t *message, const struct relation *rel)
{
	struct change *c = fold_add_change(section_of(message), CHANGE_KIND__INSERT, rel->def);

	c->now = values_of(rel->def, json_object_get(message, "vals"), NULL);
	c->row = arena_zalloc(&fold.arena, sizeof *c->row);
	c->row->last = c;
	c->for_instances = true;
	return fold_set_tags(c->row, message);
}

/* False: the message is not as electric.tell_rows() writes it. */
static bool
add_told(const json_t *message)
{
	const json_t *vals = json_object_get(message, "vals"), *filled = json_object_get(message, "filled");
	struct relation *rel =
	    catalog_relation((uint32_t)json_integer_value(json_object_get(message, "relation")));
	struct change *c;

	if (rel == NULL || rel->def == NULL)
		return true;
	if (json_is_true(json_object_get(message, "state")))
		return add_state(message, rel);
	if (vals == NULL) {
		rel->truncated = fold.xid;
		return true;
	}
	c = fold_add_change(fold.last, filled != NULL ? CHANGE_KIND__UPDATE : CHANGE_KIND__DELETE, rel->def);
	c->old = values_of(rel->def, vals, filled);
	c->row = fold_row_of(rel->def, c->old);
	c->row->changed = true;
	c->row->last = c;
	if (filled == NULL)
		return true;
	c->now = values_of(rel->def, vals, NULL);
	return fold_set_tags(c->row, message);
}

bool
fold_told(const struct pgo_message *message)
{
	json_t *json = json_loadb((const char *)message->content, message->len, JSON_ALLOW_NUL, NULL);
	bool ok = json != NULL && fold.last != NULL && add_told(json);

	if (!ok)
		log_error("row-unreadable", "bytes=%" PRIu32, message->len);
	json_decref(json);
	return ok;
}

static bool
add_tables(const json_t *message)
{
	const char *version = json_string_value(json_object_get(message, "version"));
	char *tables = json_dumps(json_object_get(message, "tables"), JSON_COMPACT);
	struct change *c;

	if (version == NULL || tables == NULL)
		return false;
	c = fold_add_change(section_of(message), CHANGE_KIND__MIGRATE, NULL);
	c->for_instances = true;
	c->version = arena_strdup(&fold.arena, version);
	c->carry = arena_strdup(&fold.arena, tables);
	free(tables);
	return true;
}

bool
fold_tables(const struct pgo_message *message)
{
	json_t *json = json_loadb((const char *)message->content, message->len, JSON_ALLOW_NUL, NULL);
	bool ok = json != NULL && fold.last != NULL && add_tables(json);

	if (!ok)
		log_error("tables-unreadable", "bytes=%" PRIu32, message->len);
	json_decref(json);
	return ok;
}
