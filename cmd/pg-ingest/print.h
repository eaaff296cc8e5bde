/* Transactions as text, for --stdout. */
#ifndef LEYDEN_PRINT_H
#define LEYDEN_PRINT_H

#include "buf.h"

/*
 * One line a change: xid, origin, timestamp, kind, table, tags, values as a JSON array; separated by tabs. A
 * migration's line has its version and the SQL as values. A transaction without changes is one line with kind
 * ECHO.
 */
void print_transaction(const struct buf *packed);

#endif
