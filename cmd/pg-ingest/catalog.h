/*
 * What pg-ingest knows of the tables: how each was after each migration (electric.ddl_commands), which shadow
 * table belongs to which (electric.electrified), and how pgoutput last described them.
 *
 * A migration is known when it lies behind the place in the stream that has been reached. What was true at
 * that place is rebuilt from Postgres whenever streaming begins, so nothing is kept on disk.
 */
#ifndef LEYDEN_CATALOG_H
#define LEYDEN_CATALOG_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "arena.h"
#include "metrics.h"
#include "pgoutput.h"
#include "pipeline.pb-c.h"

#define NO_COLUMN UINT32_MAX

/* A table as one row of electric.ddl_commands tells it. Lives until catalog_reset(). */
struct table_def {
	int64_t id; /* of the row */
	const char *version;
	uint64_t timestamp; /* of its transaction: ms since the Unix epoch */
	uint32_t oid;
	json_t *json;
	Table *table; /* the same for the catalogue of frames */
	unsigned n_columns;
	unsigned *keys; /* the primary key's columns in its order: indexes into table->columns */
	unsigned n_keys;
	unsigned owner;			  /* the column electric_user_id, or NO_COLUMN */
	const struct table_def *previous; /* the same table before; NULL: there was none */
	bool removed;			  /* electric.unelectrify: it has no columns */
	bool replaces;			  /* clients have another table of its name, which is gone */
	struct table_def *next;
};

enum relation_role {
	RELATION_OTHER, /* of no interest */
	RELATION_TABLE, /* an electrified table; def may still be NULL, or is again */
	RELATION_SHADOW,
	RELATION_DDL,	     /* electric.ddl_commands */
	RELATION_ELECTRIFIED /* electric.electrified */
};

struct relation {
	uint32_t oid;
	enum relation_role role;
	const struct table_def *def; /* a table's: as it is at this place in the stream */
	uint64_t truncated;	     /* the transaction that told the rows which its TRUNCATE removes */
	uint32_t table;		     /* a shadow's: the oid of its table */
	char **columns;		     /* as pgoutput sends them; NULL: not described yet */
	unsigned n_columns;
	const struct table_def *mapped; /* for which definition from_tuple was made */
	unsigned *from_tuple; /* for each column of the definition: its place in a tuple, or NO_COLUMN */
	struct relation *next;
};

/* Forgets everything. */
void catalog_reset(void);

/* Adds a row of electric.ddl_commands, unless it is there. NULL with a log line if the definition cannot be
 * read. */
const struct table_def *catalog_add(int64_t id, const char *version, uint64_t timestamp, const char *json);
/* The migration lies behind: its tables are from now on as it left them. False: no such version. */
bool catalog_know(const char *version);
bool catalog_is_known(const char *version);
/* Everything that was added lies behind. */
void catalog_know_all(void);
/* All versions that were added in the order of their rows; Migrations live in the arena. */
size_t catalog_migrations(struct arena *a, Migration ***migrations);
Migration *catalog_migration(struct arena *a, const char *version);

/* The version that was reached, and the tables that are electrified, as members of a JSON object; allocated.
 */
char *catalog_status(void);
void catalog_metrics(struct metrics *m);

/* A row of electric.electrified. */
void catalog_add_shadow(uint32_t table, uint32_t shadow);

/* pgoutput has described a relation. */
void catalog_describe(const struct pgo_relation *described);
/* NULL: never described and not known. */
struct relation *catalog_relation(uint32_t oid);
/* Where a tuple of the relation has the columns of its definition. */
const unsigned *catalog_map(struct relation *rel);
/* The place of a named column in the relation's tuples, or NO_COLUMN. */
unsigned catalog_tuple_column(const struct relation *rel, const char *name);

#endif
