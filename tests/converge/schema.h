/* Convergence: the tables that a scenario is about, chosen by a number. */
#ifndef TESTS_CONVERGE_SCHEMA_H
#define TESTS_CONVERGE_SCHEMA_H

#include <stdbool.h>
#include <stdint.h>

#define TABLES_MAX  4
#define COLUMNS_MAX 6
#define KEYS	    5	  /* rows that a table can have: few, so that writers meet */
#define BAD	    "bad" /* a text that Postgres' rules refuse, unknown to clients */

struct table {
	char name[32];
	unsigned n_keys, n_columns; /* the key's columns come first */
	bool is_number[COLUMNS_MAX];
	int parent; /* the table that its last column refers to by key, or -1: that one has a key of one text
		     */
};

struct schema {
	unsigned n_tables;
	struct table tables[TABLES_MAX];
};

/* A small generator of numbers, so that a seed says everything. */
struct random {
	uint64_t state;
};
struct random random_from(uint64_t seed);
unsigned random_below(struct random *r, unsigned n);

/* The schema of this number; its tables are named after it. */
void schema_make(struct schema *s, unsigned number);
/* The SQL that creates and electrifies it; static. */
const char *schema_sql(const struct schema *s, unsigned number);
/* The values of row number `key` in the key's columns. */
void schema_key(const struct table *t, unsigned key, char values[COLUMNS_MAX][16]);

#endif
