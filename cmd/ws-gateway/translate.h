/*
 * Where there are several Postgres, each has its own numbers for tables, and may have their columns in
 * another order. A transaction of any of them is told in those that clients know.
 */
#ifndef WS_GATEWAY_TRANSLATE_H
#define WS_GATEWAY_TRANSLATE_H

#include "arena.h"
#include "pipeline.pb-c.h"

/* Changes the transaction where it must, in memory of the arena. The schema is known up to its position. */
void translate(struct arena *a, Transaction *t);

#endif
