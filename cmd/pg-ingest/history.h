/* What Postgres holds of the tables and their migrations, into the catalog. */
#ifndef LEYDEN_HISTORY_H
#define LEYDEN_HISTORY_H

#include <libpq-fe.h>

/* Asks for all rows of electric.ddl_commands and electric.electrified. */
extern const char HISTORY[];

/* The answer replaces what the catalog knew; no migration is known to lie behind yet. */
void history_load(const PGresult *result);

#endif
