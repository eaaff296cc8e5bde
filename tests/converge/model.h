/*
 * Convergence: a client as the npm client of 0.5 merges (its merge and oplog modules; PROTOCOL.md, the
 * client-side rules), with its rows in memory. It sends what has not come back again on every connection.
 */
#ifndef TESTS_CONVERGE_MODEL_H
#define TESTS_CONVERGE_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "schema.h"

struct model;

/* `skew`: ms by which its clock is ahead. */
struct model *model_new(const char *id, const struct schema *schema, int64_t skew);
void model_free(struct model *m);

void model_connect(struct model *m, unsigned port);
void model_cut(struct model *m);

enum write_kind { WRITE_UPSERT, WRITE_UPDATE, WRITE_DELETE };
/* One operation: what an UPDATE or UPSERT sets is chosen by `dice`. Ignored where it makes no sense. */
struct write {
	enum write_kind kind;
	unsigned table, key;
	uint32_t dice;
};
/* A local transaction; it is sent at once when connected, else later. */
void model_write(struct model *m, const struct write *writes, unsigned n);

/* All that it wrote has come back, and the rows of its subscription are there. */
bool model_is_quiet(const struct model *m);
/* The rows of a table as "key,key|value|value;" in the order of their keys; static. */
const char *model_rows(const struct model *m, unsigned table);
/* The same with the tags of each. */
void model_print(const struct model *m);

/* The value that a write with this dice gives to a column; NULL: SQL's NULL. Static. */
const char *write_value(const struct schema *s, const struct table *t, unsigned column, uint32_t dice);
/* Does a write with this dice set this column? An upsert of a new row sets all. */
bool write_sets(unsigned column, uint32_t dice);

#endif
