/*
 * Postgres' text forms, pure: arrays and composites, tags, timestamps, lines of COPY.
 * What does not parse is told by false, and what was put in the arena until then stays there.
 */
#ifndef LEYDEN_PGTEXT_H
#define LEYDEN_PGTEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arena.h"
#include "satellite.h"

/* An array of one dimension, `{a,NULL,"b c"}`; its elements are NUL-terminated too, in the arena. */
bool pgtext_array(struct arena *a, const char *text, size_t n, struct sat_value **elements, size_t *count);
/* A composite, `(1,,"b c")`: an empty field is NULL. */
bool pgtext_composite(struct arena *a, const char *text, size_t n, struct sat_value **fields, size_t *count);

/* A value of electric.tag. */
struct pgtext_tag {
	int64_t ms;	    /* -1: the element is NULL */
	const char *source; /* NULL: the Postgres that the text is from */
};

bool pgtext_tags(struct arena *a, const char *text, size_t n, struct pgtext_tag **tags, size_t *count);
/* On the wire: `source@ms`, where this Postgres is `postgres_<instance>`; NULL is empty. In the arena. */
char *pgtext_tag_wire(struct arena *a, const struct pgtext_tag *tag, unsigned instance);

/* `2023-06-06 12:00:00.123456+00`, as a session in UTC writes it: ms since the Unix epoch, rounded down. */
bool pgtext_timestamp_ms(const char *text, size_t n, int64_t *ms);

/*
 * A line of COPY in text format, without or with its line break. Unescapes it in place: the fields point into
 * it. There must be `count` fields.
 */
bool pgtext_copy_line(char *line, size_t n, struct sat_value *fields, size_t count);

#endif
