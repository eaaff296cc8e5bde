/*
 * Where there are several Postgres: the electrified tables as this one has them. Others name tables and
 * columns; here they are numbers.
 */
#ifndef PG_PUBLISH_TABLES_H
#define PG_PUBLISH_TABLES_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "pipeline.pb-c.h"

/* Asks for them. */
extern const char TABLES_QUERY[];

/* What the answer says replaces what was known. */
void tables_load(const PGresult *answer);

struct table {
	char *schema, *name;
	uint32_t oid;
	bool exists; /* electrified; false: only known to differ */
	char *apart; /* NULL, or instances whose table of that name differs, " origin origin " */
	struct table_column {
		char *name;
		uint32_t num;
	} * columns;
	size_t n_columns;
};

/* NULL: there is none. */
const struct table *tables_find(const Table *described);
/* Are all of them here, with all columns? Of one that is apart, these need not be. */
bool tables_are_known(Table *const *described, size_t n);
/*
 * The operations of a client's transaction, which are told in the numbers of its tables as clients know them,
 * in the numbers of here. What cannot be told so becomes the transaction's fault.
 */
void tables_localize(ClientTransaction *t);
/* The attribute number of the column; 0: there is none. */
uint32_t tables_column(const struct table *table, const char *name);
/* Do no rows travel between it and the table of that name in the other instance (NULL: in any other)? */
bool tables_is_apart(const struct table *table, const char *origin);

#endif
