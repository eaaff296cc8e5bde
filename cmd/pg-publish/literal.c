/* Postgres' text forms of what a client's operation is applied with. */
#include "literal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "satellite.h"
#include "xalloc.h"

static char own_origin[32];

void
literal_set_own_origin(unsigned instance)
{
	snprintf(own_origin, sizeof own_origin, SAT_POSTGRES_ORIGIN, instance);
}

const char *
literal_own_origin(void)
{
	return own_origin;
}

/* Quoted as a field of a composite: its quotes and backslashes are doubled. */
void
literal_tag(struct buf *out, uint64_t ms, const char *origin)
{
	buf_printf(out, "(%" PRIu64 ",", ms);
	if (ms != 0 && strcmp(origin, own_origin) != 0) {
		buf_puts(out, "\"");
		for (const char *p = origin; *p != '\0'; p++) {
			if (*p == '"' || *p == '\\')
				buf_put(out, p, 1);
			buf_put(out, p, 1);
		}
		buf_puts(out, "\"");
	}
	buf_puts(out, ")");
}

/* Quoted as an element of an array: quotes and backslashes get a backslash. */
static void
element(struct buf *out, const uint8_t *p, size_t n)
{
	size_t special = 0;
	uint8_t *at;

	for (size_t i = 0; i < n; i++)
		special += p[i] == '"' || p[i] == '\\';
	at = buf_room(out, n + special + 2);
	*at++ = '"';
	for (size_t i = 0; i < n; i++) {
		if (p[i] == '"' || p[i] == '\\')
			*at++ = '\\';
		*at++ = p[i];
	}
	*at = '"';
	buf_added(out, n + special + 2);
}

void
literal_element(struct buf *out, struct buf *text)
{
	element(out, buf_data(text), text->len);
	buf_take(text, text->len);
}

void
literal_bytes(struct buf *out, const void *p, size_t n)
{
	const uint8_t *bytes = p;

	buf_puts(out, "\"\\\\x");
	for (size_t i = 0; i < n; i++)
		buf_printf(out, "%02x", bytes[i]);
	buf_puts(out, "\"");
}

bool
literal_wire_tag(struct buf *out, const char *wire)
{
	const char *at = strchr(wire, '@');
	char *end, *origin;
	uint64_t ms = at != NULL ? strtoull(at + 1, &end, 10) : 0;

	if (at == NULL || at[1] < '0' || at[1] > '9' || *end != '\0' || ms > INT64_MAX)
		return false;
	origin = xmemdup0(wire, (size_t)(at - wire));
	literal_tag(out, ms, origin);
	free(origin);
	return true;
}

void
literal_tags(struct buf *out, char **tags, size_t n)
{
	struct buf tag = { 0 };
	bool any = false;

	buf_puts(out, "{");
	for (size_t i = 0; i < n; i++) {
		if (!literal_wire_tag(&tag, tags[i]))
			continue;
		if (any)
			buf_puts(out, ",");
		element(out, buf_data(&tag), tag.len);
		buf_take(&tag, tag.len);
		any = true;
	}
	buf_puts(out, "}");
	buf_clear(&tag);
}

static uint32_t
greatest_num(const ClientOp *op)
{
	uint32_t max = 0;

	for (size_t i = 0; i < op->n_values; i++)
		if (op->values[i]->num > max)
			max = op->values[i]->num;
	return max;
}

static const Value *
value_of(const ClientOp *op, uint32_t num)
{
	for (size_t i = 0; i < op->n_values; i++)
		if (op->values[i]->num == num)
			return op->values[i];
	return NULL;
}

void
literal_row(struct buf *out, const ClientOp *op, uint32_t width)
{
	size_t next = 0; /* the values mostly come in the order of their numbers */

	for (uint32_t num = 1; num <= width; num++) {
		const Value *v;

		if (next < op->n_values && op->values[next]->num == num)
			v = op->values[next++];
		else
			v = value_of(op, num);
		buf_put(out, num > 1 ? "," : "{", 1);
		if (v == NULL || v->null)
			buf_put(out, "NULL", 4);
		else
			element(out, v->text.data, v->text.len);
	}
	buf_puts(out, width > 0 ? "}" : "{}");
}

void
literal_values(struct buf *out, const ClientOp *op)
{
	literal_row(out, op, greatest_num(op));
}

void
literal_claims(struct buf *out, const ClientOp *op)
{
	uint32_t max = greatest_num(op);

	buf_puts(out, "{");
	for (uint32_t num = 1; num <= max; num++) {
		const Value *v = value_of(op, num);

		buf_printf(out, "%s%s", num > 1 ? "," : "", v == NULL ? "NULL" : v->claimed ? "t" : "f");
	}
	buf_puts(out, "}");
}
