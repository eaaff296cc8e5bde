/* Postgres' text forms: arrays, composites, tags, timestamps, lines of COPY. */
#include "pgtext.h"

#include <stdlib.h>
#include <string.h>

#include "xalloc.h"

#define FIELDS 3

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static volatile uint8_t sum;

static void
look(const struct sat_value *values, size_t n)
{
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; values[i].text != NULL && k < values[i].len; k++)
			sum = (uint8_t)(sum + values[i].text[k]);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const char *text = (const char *)data;
	struct arena a = { 0 };
	struct sat_value *values, fields[FIELDS];
	struct pgtext_tag *tags;
	char *line = xmemdup0(data, n);
	size_t count;
	int64_t ms;

	if (pgtext_array(&a, text, n, &values, &count))
		look(values, count);
	if (pgtext_composite(&a, text, n, &values, &count))
		look(values, count);
	if (pgtext_tags(&a, text, n, &tags, &count))
		for (size_t i = 0; i < count; i++)
			if (strchr(pgtext_tag_wire(&a, &tags[i], 1), '@') == NULL)
				abort();
	pgtext_timestamp_ms(text, n, &ms);
	if (pgtext_copy_line(line, n, fields, FIELDS))
		look(fields, FIELDS);
	free(line);
	arena_clear(&a);
	return 0;
}
