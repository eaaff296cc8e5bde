/*
 * The schema as the log tells it: every migration, and every electrified table as it was at each position.
 * A client that catches up is told the table as it was then.
 */
#ifndef WS_GATEWAY_SCHEMA_H
#define WS_GATEWAY_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>

#include "chunk.h"
#include "pipeline.pb-c.h"

struct table_version {
	struct table_version *older;
	uint64_t position; /* of the migration that made it */
	const Table *def;
	bool owned;		/* has a column electric_user_id */
	struct chunk *relation; /* its SatRelation */
};

struct migration {
	Migration *def;
};

void schema_clear(void);
/*
 * Adds a copy. A migration that is there already (same position and version) is ignored. A table keeps the
 * number that it was first told with, whichever Postgres tells of it later.
 */
void schema_add(const Migration *migration);
/* The copy of what the log has at this position, with these numbers; the same when there is none. */
Migration *schema_own(Migration *told, uint64_t position);
/* Several Postgres have made tables: their numbers mean something to none of them. */
bool schema_is_mixed(void);

/* All migrations in order. */
const struct migration *schema_migrations(size_t *n);
/* Index of a version among them, or -1. */
long schema_version_index(const char *version);

/* The table as it was at `position`; NULL: not electrified then. */
const struct table_version *schema_table_at(uint32_t relation, uint64_t position);
const struct table_version *schema_table(uint32_t relation);
/* The same by name. */
const struct table_version *schema_named_at(const char *schema, const char *name, uint64_t position);
/* An electrified table of schema public by name; NULL: none. */
const struct table_version *schema_find(const char *name);
/* The same, or one that was electrified and has no columns any more. */
const struct table_version *schema_find_ever(const char *name);

#endif
