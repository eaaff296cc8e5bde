/* Convergence: the tables that a scenario is about. */
#include "schema.h"

#include <stdio.h>
#include <string.h>

struct random
random_from(uint64_t seed)
{
	struct random r = { seed * 0x9e3779b97f4a7c15u + 0x2545f4914f6cdd1du };

	for (int i = 0; i < 8; i++)
		random_below(&r, 2);
	return r;
}

unsigned
random_below(struct random *r, unsigned n)
{
	/* xorshift64 */
	r->state ^= r->state << 13;
	r->state ^= r->state >> 7;
	r->state ^= r->state << 17;
	return (unsigned)(r->state >> 33) % n;
}

void
schema_make(struct schema *s, unsigned number)
{
	struct random r = random_from(number + 1000);

	memset(s, 0, sizeof *s);
	s->n_tables = 2 + random_below(&r, TABLES_MAX - 1);
	for (unsigned i = 0; i < s->n_tables; i++) {
		struct table *t = &s->tables[i];

		snprintf(t->name, sizeof t->name, "t%u_%u", number, i);
		t->parent = i > 0 && random_below(&r, 2) == 0 ? (int)random_below(&r, i) : -1;
		if (t->parent >= 0 && (s->tables[t->parent].n_keys > 1 || s->tables[t->parent].is_number[0]))
			t->parent = -1;
		t->n_keys = 1 + (random_below(&r, 3) == 0);
		t->n_columns = t->n_keys + random_below(&r, 4) + (t->parent >= 0);
		for (unsigned c = 0; c < t->n_columns; c++)
			t->is_number[c] = random_below(&r, 3) == 0;
		if (t->parent >= 0)
			t->is_number[t->n_columns - 1] = false;
	}
}

const char *
schema_sql(const struct schema *s, unsigned number)
{
	static char sql[8192];
	int n = 0;

	for (unsigned i = 0; i < s->n_tables; i++) {
		const struct table *t = &s->tables[i];

		n += snprintf(sql + n, sizeof sql - n, "CREATE TABLE %s (", t->name);
		for (unsigned c = 0; c < t->n_columns; c++)
			n += snprintf(sql + n, sizeof sql - n, "c%u %s%s, ", c,
			    t->is_number[c] ? "int4" : "text",
			    t->parent >= 0 && c == t->n_columns - 1 ? ""
			    : c >= t->n_keys && c % 2		    ? " DEFAULT '7'"
								    : "");
		n += snprintf(sql + n, sizeof sql - n, "PRIMARY KEY (c0%s)", t->n_keys > 1 ? ", c1" : "");
		if (t->parent >= 0)
			n += snprintf(sql + n, sizeof sql - n, ", FOREIGN KEY (c%u) REFERENCES %s",
			    t->n_columns - 1, s->tables[t->parent].name);
		n += snprintf(sql + n, sizeof sql - n, ");");
	}
	n += snprintf(sql + n, sizeof sql - n, "SELECT electric.migration_version('%05u');", number + 1);
	for (unsigned i = 0; i < s->n_tables; i++)
		n += snprintf(sql + n, sizeof sql - n, "CALL electric.electrify('%s');", s->tables[i].name);
	/* A rule that clients do not know. */
	for (unsigned i = 0; i < s->n_tables; i++)
		for (unsigned c = s->tables[i].n_keys; c < s->tables[i].n_columns; c++)
			if (!s->tables[i].is_number[c])
				n += snprintf(sql + n, sizeof sql - n,
				    "ALTER TABLE %s ADD CHECK (c%u <> '" BAD "');", s->tables[i].name, c);
	return sql;
}

void
schema_key(const struct table *t, unsigned key, char values[COLUMNS_MAX][16])
{
	for (unsigned c = 0; c < t->n_keys; c++)
		snprintf(values[c], sizeof values[c], t->is_number[c] ? "%u" : "k%u", c == 0 ? key : key / 2);
}
