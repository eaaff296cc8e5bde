/* Postgres' text forms of what a client's operation is applied with. */
#ifndef PG_PUBLISH_LITERAL_H
#define PG_PUBLISH_LITERAL_H

#include <stdbool.h>

#include "buf.h"
#include "pipeline.pb-c.h"

/* All append to `out`, without a NUL. */

/* A text as an element of an array; `text` is empty afterwards. */
void literal_element(struct buf *out, struct buf *text);
/* bytea as an element of an array. */
void literal_bytes(struct buf *out, const void *p, size_t n);
/* electric.tag: (ms,"origin"); this Postgres itself has no origin there, nor have rows from before the table
 * was electrified, whose time is 0. */
void literal_tag(struct buf *out, uint64_t ms, const char *origin);
/* The same from wire form, origin@ms; false, and nothing is put, when it has not that form. */
bool literal_wire_tag(struct buf *out, const char *wire);
/* electric.tag[] from wire form; a tag that has not that form is left out. */
void literal_tags(struct buf *out, char **tags, size_t n);
/* text[] by attribute number: the values of an operation. */
void literal_values(struct buf *out, const ClientOp *op);
/* The same of the numbers up to width, whichever of them have a value: rows of one width make a text[][]. */
void literal_row(struct buf *out, const ClientOp *op, uint32_t width);
/* boolean[] by attribute number: true the column competes, false it does not, NULL the client did not send
 * it. */
void literal_claims(struct buf *out, const ClientOp *op);
/* The name under which this Postgres' own writes have their tags. */
void literal_set_own_origin(unsigned instance);
const char *literal_own_origin(void);

#endif
