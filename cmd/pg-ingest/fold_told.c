/* One transaction of Postgres on its way into the log: rows that are told in messages, since the WAL has no
 * change of them (electric.tell_rows). */
#include "fold.h"

#include <inttypes.h>

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
	if (vals == NULL) {
		rel->truncated = fold.xid;
		return true;
	}
	c = fold_add_change(fold.last, filled != NULL ? CHANGE_KIND__UPDATE : CHANGE_KIND__DELETE, rel->def);
	c->old = values_of(rel->def, vals, filled);
	c->row = fold_row_of(rel->def, c->old);
	c->row->changed = true;
	if (filled == NULL)
		return true;
	c->now = values_of(rel->def, vals, NULL);
	return fold_set_tags(c->row, json_string_value(json_object_get(message, "tags")));
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
