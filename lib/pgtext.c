/* Postgres' text forms. */
#include "pgtext.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is being parsed, and how it is delimited. */
struct reader {
	const char *at, *end;
	char *
	    out; /* where the next item goes: as long as the text is enough for all of them with their NULs */
	char close;
	bool quotes_double; /* "" inside quotes is a quote (composites) */
};

/*
 * Reads one item up to the delimiter, which stays. *quoted tells whether any part stood in quotes. False: it
 * ends too early.
 */
static bool
read_item(struct reader *r, struct sat_value *item, bool *quoted)
{
	char *out = r->out;
	size_t n = 0;
	bool inside = false;

	*quoted = false;
	for (; r->at < r->end; r->at++) {
		char c = *r->at;

		if (!inside && (c == ',' || c == r->close))
			break;
		if (c == '"') {
			if (inside && r->quotes_double && r->at + 1 < r->end && r->at[1] == '"')
				out[n++] = *++r->at;
			else
				inside = !inside;
			*quoted = true;
		} else if (c == '\\') {
			if (++r->at == r->end)
				return false;
			out[n++] = *r->at;
		} else {
			out[n++] = c;
		}
	}
	out[n] = '\0';
	item->text = (const uint8_t *)out;
	item->len = n;
	r->out += n + 1;
	return r->at < r->end && !inside;
}

static size_t
most_items(const char *text, size_t n)
{
	size_t count = 1;

	for (size_t i = 0; i < n; i++)
		count += text[i] == ',';
	return count;
}

bool
pgtext_array(struct arena *a, const char *text, size_t n, struct sat_value **elements, size_t *count)
{
	struct reader r = { text + 1, text + n, arena_alloc(a, n + 1), '}', false };

	*count = 0;
	*elements = NULL;
	if (n < 2 || text[0] != '{' || text[n - 1] != '}')
		return false;
	if (n == 2)
		return true;
	*elements = arena_alloc(a, most_items(text, n) * sizeof **elements);
	for (;;) {
		struct sat_value *v = &(*elements)[*count];
		bool quoted;

		if (r.at < r.end && *r.at == '{')
			return false;
		if (!read_item(&r, v, &quoted) || (v->len == 0 && !quoted))
			return false;
		if (!quoted && strcmp((const char *)v->text, "NULL") == 0)
			*v = (struct sat_value){ NULL, 0 };
		(*count)++;
		if (*r.at++ == '}')
			return r.at == r.end;
	}
}

bool
pgtext_composite(struct arena *a, const char *text, size_t n, struct sat_value **fields, size_t *count)
{
	struct reader r = { text + 1, text + n, arena_alloc(a, n + 1), ')', true };

	*count = 0;
	*fields = NULL;
	if (n < 2 || text[0] != '(' || text[n - 1] != ')')
		return false;
	*fields = arena_alloc(a, most_items(text, n) * sizeof **fields);
	for (;;) {
		struct sat_value *v = &(*fields)[*count];
		bool quoted;

		if (!read_item(&r, v, &quoted))
			return false;
		if (v->len == 0 && !quoted)
			v->text = NULL;
		(*count)++;
		if (*r.at++ == ')')
			return r.at == r.end;
	}
}

bool
pgtext_tags(struct arena *a, const char *text, size_t n, struct pgtext_tag **tags, size_t *count)
{
	struct sat_value *elements, *fields;
	size_t n_fields;
	char *end;

	*count = 0;
	if (!pgtext_array(a, text, n, &elements, count))
		return false;
	*tags = arena_alloc(a, *count * sizeof **tags);
	for (size_t i = 0; i < *count; i++) {
		const char *element = (const char *)elements[i].text;

		if (element == NULL) {
			(*tags)[i] = (struct pgtext_tag){ -1, NULL };
			continue;
		}
		if (!pgtext_composite(a, element, elements[i].len, &fields, &n_fields) || n_fields != 2 ||
		    fields[0].text == NULL || fields[0].len == 0)
			return false;
		errno = 0;
		(*tags)[i].ms = strtoll((const char *)fields[0].text, &end, 10);
		if (errno != 0 || *end != '\0')
			return false;
		(*tags)[i].source = (const char *)fields[1].text;
	}
	return true;
}

char *
pgtext_tag_wire(struct arena *a, const struct pgtext_tag *tag, unsigned instance)
{
	if (tag->ms < 0)
		return arena_strdup(a, "");
	if (tag->source == NULL)
		return arena_printf(a, SAT_POSTGRES_ORIGIN "@%" PRId64, instance, tag->ms);
	return arena_printf(a, "%s@%" PRId64, tag->source, tag->ms);
}

/* Days from 1970-01-01 in the Gregorian calendar. */
static int64_t
days_from_civil(int64_t y, unsigned m, unsigned d)
{
	int64_t era;
	unsigned of_era, of_year;

	y -= m <= 2;
	era = (y >= 0 ? y : y - 399) / 400;
	of_era = (unsigned)(y - era * 400);
	of_year = (153 * (m > 2 ? m - 3 : m + 9) + 2) / 5 + d - 1;
	return era * 146097 + (int64_t)(of_era * 365 + of_era / 4 - of_era / 100 + of_year) - 719468;
}

/* Is the text's beginning of this form, in which 0 is any digit? */
static bool
has_form(const char *text, const char *form)
{
	for (; *form != '\0'; text++, form++)
		if (*form == '0' ? *text < '0' || *text > '9' : *text != *form)
			return false;
	return true;
}

bool
pgtext_timestamp_ms(const char *text, size_t n, int64_t *ms)
{
	char copy[64];
	unsigned year, month, day, hour, minute, second, scale = 100, fraction = 0;
	int used = 0;

	if (n >= sizeof copy)
		return false;
	memcpy(copy, text, n);
	copy[n] = '\0';
	/* sscanf() alone would take signs and blanks. */
	if (!has_form(copy, "0000-00-00 00:00:00") ||
	    sscanf(copy, "%4u-%2u-%2u %2u:%2u:%2u%n", &year, &month, &day, &hour, &minute, &second, &used) !=
		6 ||
	    used == 0 || month < 1 || month > 12 || day < 1 || day > 31)
		return false;
	if (copy[used] == '.')
		for (used++; copy[used] >= '0' && copy[used] <= '9'; used++, scale /= 10)
			fraction += (unsigned)(copy[used] - '0') * scale;
	if (strcmp(copy + used, "+00") != 0 && copy[used] != '\0')
		return false;
	*ms = ((days_from_civil(year, month, day) * 24 + hour) * 60 + minute) * 60000 +
	      (int64_t)second * 1000 + fraction;
	return true;
}

static int
octal(const char *s, size_t n, size_t *used)
{
	int v = 0;

	for (*used = 0; *used < 3 && *used < n && s[*used] >= '0' && s[*used] <= '7'; (*used)++)
		v = v * 8 + (s[*used] - '0');
	return v;
}

/* One field, where it stands. Returns its length then. */
static size_t
unescape(char *s, size_t n)
{
	static const char letters[] = "bfnrtv", meanings[] = "\b\f\n\r\t\v";
	const char *first = memchr(s, '\\', n);
	size_t k = first != NULL ? (size_t)(first - s) : n, used;

	for (size_t i = k; i < n; i++) {
		const char *letter;

		if (s[i] != '\\' || i + 1 == n) {
			s[k++] = s[i];
			continue;
		}
		i++;
		if (s[i] >= '0' && s[i] <= '7') {
			s[k++] = (char)octal(s + i, n - i, &used);
			i += used - 1;
		} else {
			letter = strchr(letters, s[i]);
			s[k++] = letter != NULL && s[i] != '\0' ? meanings[letter - letters] : s[i];
		}
	}
	return k;
}

bool
pgtext_copy_line(char *line, size_t n, struct sat_value *fields, size_t count)
{
	size_t k = 0;
	char *at = line, *end;
	bool escapes;

	if (n > 0 && line[n - 1] == '\n')
		n--;
	end = line + n;
	escapes = memchr(line, '\\', n) != NULL;
	for (;;) {
		char *tab = memchr(at, '\t', (size_t)(end - at));
		size_t len = (size_t)((tab != NULL ? tab : end) - at);

		if (k == count)
			return false;
		if (!escapes)
			fields[k] = (struct sat_value){ (const uint8_t *)at, len };
		else if (len == 2 && at[0] == '\\' && at[1] == 'N')
			fields[k] = (struct sat_value){ NULL, 0 };
		else
			fields[k] = (struct sat_value){ (const uint8_t *)at, unescape(at, len) };
		k++;
		if (tab == NULL)
			return k == count;
		at = tab + 1;
	}
}
