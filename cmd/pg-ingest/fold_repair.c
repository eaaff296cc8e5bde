/* One transaction of Postgres on its way into the log: rows that a client's refused transaction had touched.
 */
#include "fold.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "fold_state.h"
#include "log.h"

struct sat_value
fold_text(const json_t *text)
{
	size_t n = json_string_length(text);

	return json_is_string(text)
		   ? (struct sat_value){ arena_dup(&fold.arena, json_string_value(text), n), n }
		   : (struct sat_value){ NULL, 0 };
}

/* {"<attnum>": text, …} in the order of the definition. */
static struct sat_value *
row_values(const struct table_def *def, const json_t *row)
{
	struct sat_value *values = arena_zalloc(&fold.arena, def->n_columns * sizeof *values);
	char num[16];

	for (unsigned i = 0; i < def->n_columns; i++) {
		snprintf(num, sizeof num, "%" PRIu32, def->table->columns[i]->num);
		values[i] = fold_text(json_object_get(row, num));
	}
	return values;
}

/* [text, …] by attnum, as the client had sent it: of use are the columns of the key. */
static struct sat_value *
sent_values(const struct table_def *def, const json_t *vals)
{
	struct sat_value *values = arena_zalloc(&fold.arena, def->n_columns * sizeof *values);

	for (unsigned i = 0; i < def->n_keys; i++)
		values[def->keys[i]] =
		    fold_text(json_array_get(vals, def->table->columns[def->keys[i]]->num - 1));
	return values;
}

bool
fold_set_tags(struct row *row, const json_t *message)
{
	const char *tags = json_string_value(json_object_get(message, "tags")),
		   *columns = json_string_value(json_object_get(message, "columns"));

	row->has_tags = true;
	return tags != NULL && fold_wire_tags(tags, strlen(tags), &row->tags, &row->n_tags) &&
	       (columns == NULL || fold_wire_tags(columns, strlen(columns), &row->columns, &row->n_columns));
}

struct section *
fold_section_for(const char *client)
{
	if (fold.repair == NULL || strcmp(fold.repair->only_client, client) != 0) {
		fold.repair = fold_add_section(NULL);
		fold.repair->only_client = arena_strdup(&fold.arena, client);
	}
	return fold.repair;
}

/* False: the message is not as electric.repair() writes it. */
static bool
add_row(const json_t *message)
{
	/* NULL: it is for all. */
	const char *client = json_string_value(json_object_get(message, "client"));
	const json_t *row = json_object_get(message, "row");
	const struct relation *rel =
	    catalog_relation((uint32_t)json_integer_value(json_object_get(message, "relation")));
	struct change *c;

	if (rel == NULL || rel->def == NULL)
		return true;
	c = fold_add_change(client != NULL ? fold_section_for(client) : fold.last,
	    row != NULL ? CHANGE_KIND__INSERT : CHANGE_KIND__DELETE, rel->def);
	c->forced = true;
	c->row = arena_zalloc(&fold.arena, sizeof *c->row);
	c->row->last = c;
	if (row == NULL) {
		c->old = sent_values(rel->def, json_object_get(message, "vals"));
		c->marked = fold_row_of(rel->def, c->old);
		return true;
	}
	c->now = row_values(rel->def, row);
	c->marked = fold_row_of(rel->def, c->now);
	return fold_set_tags(c->row, message);
}

bool
fold_repair(const struct pgo_message *message)
{
	json_t *json = json_loadb((const char *)message->content, message->len, JSON_ALLOW_NUL, NULL);
	bool ok = json != NULL && fold.last != NULL && add_row(json);

	if (!ok)
		log_error("repair-unreadable", "bytes=%" PRIu32, message->len);
	json_decref(json);
	return ok;
}
