/* What fold.c collects and fold_out.c takes out; for these two only. */
#ifndef LEYDEN_FOLD_STATE_H
#define LEYDEN_FOLD_STATE_H

#include "arena.h"
#include "buf.h"
#include "catalog.h"
#include "pipeline.pb-c.h"
#include "satellite.h"

/* A row that a section writes, known by its table and primary key. */
struct row {
	uint64_t hash;
	uint32_t table;
	unsigned n_keys;
	const struct sat_value *keys;
	char **tags;
	size_t n_tags;
	bool has_tags; /* its shadow row was written */
	bool changed;  /* the section has a change of it */
	struct row *next;
	/* for other Postgres, where there are several */
	char **before, **columns; /* its tags before; its column tags, NULL: none */
	size_t n_before, n_columns;
	bool is_new;		   /* its shadow row was */
	const struct change *last; /* of it */
};

/* A tag array that was read: those that follow mostly are the same. */
struct tag_set {
	const char *text; /* NULL: none was */
	size_t len;
	char **wire; /* as on the wire; NULL ones are empty */
	size_t n;
	int64_t newest_ms; /* of those that this Postgres gave, -1: none */
};

struct change {
	ChangeKind kind;
	uint32_t relation;
	const struct table_def *def; /* that now and old are in the order of */
	struct row *row;
	const struct row
	    *marked; /* a repair's: the same row in the section before it; what that tells is newer */
	const struct sat_value *now, *old;
	bool for_instances; /* clients have the row, or are no readers of it */
	bool forced;
	const char *version, *carry; /* for other Postgres: a migration's, or of tables that it is told of */
	struct change *next;
};

/* What one author wrote: Postgres itself (no mark), or a client's transaction. */
struct section {
	const ClientTransaction *mark;
	const char *only_client; /* a repair, by Postgres: for this client */
	struct change *first, **end;
	struct row **rows;
	size_t n_rows, n_buckets;
	int64_t newest_ms; /* of the tags that Postgres gave, -1: none */
	bool is_migration;
	bool was_told; /* by another Postgres: goes nowhere */
	struct section *next;
};

struct fold_state {
	struct arena arena; /* of all that follows: on the heap, then in the spool */
	unsigned instance;
	bool several; /* Postgres: others are to know of rows' tags */
	uint64_t xid, end_lsn;
	int64_t commit_ms;
	uint64_t n_changes;
	struct section *first, *last;  /* last: where changes go */
	struct section **end, *repair; /* of the list; repair: the last's, after it in the list, or NULL */
	struct tag_set tags;	       /* read last */
	const char *version;	       /* of its migration; NULL: none */
	struct buf carry;	       /* of that: JSON, without the bracket at its end */
	bool committed;
	/* taking out */
	struct section *at;
	struct change *next;
	uint32_t part;
	bool migrated; /* the migration has been taken out */
};

extern struct fold_state fold;

/* A new section at the end of the list, and a change at the end of a section. */
struct section *fold_add_section(const ClientTransaction *mark);
struct change *fold_add_change(struct section *s, ChangeKind kind, const struct table_def *def);
/* The row with the key that stands in values (in the order of the definition), in the last section. */
struct row *fold_row_of(const struct table_def *def, const struct sat_value *values);

/* The text of a JSON string, in the fold's arena; NULL for anything else. */
struct sat_value fold_text(const json_t *text);
/* The tags of a tag array in wire form, in the fold's arena; NULL ones are empty. fold.tags then is of that
 * array. False: it cannot be read. */
bool fold_wire_tags(const char *text, size_t n, char ***wire, size_t *count);
/* Gives the row the tags, and the column tags, of a message. False: they cannot be read. */
bool fold_set_tags(struct row *row, const json_t *message);
/* What is for this client alone goes there, after the last section. */
struct section *fold_section_for(const char *client);

#endif
