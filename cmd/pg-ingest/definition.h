/* Reading the JSON of a table's definition (electric.ddl_commands). */
#ifndef LEYDEN_DEFINITION_H
#define LEYDEN_DEFINITION_H

#include <jansson.h>
#include <stdbool.h>
#include <string.h>

static inline const char *
text_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static inline bool
is_true(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}

/* A column's type, or that under its domain. */
static inline const char *
type_of(const json_t *column)
{
	return text_of(column, "base") != NULL ? text_of(column, "base") : text_of(column, "type");
}

/* An array, or a domain over one. */
static inline bool
is_array(const json_t *column)
{
	const char *category = text_of(column, "category");

	return is_true(column, "array") || (category != NULL && category[0] == 'A');
}

static inline bool
has_string(const json_t *list, const char *s)
{
	for (size_t i = 0; i < json_array_size(list); i++)
		if (strcmp(json_string_value(json_array_get(list, i)), s) == 0)
			return true;
	return false;
}

#endif
