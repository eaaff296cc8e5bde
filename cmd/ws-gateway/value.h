/*
 * What can be said of a client's value without Postgres. Never stricter than Postgres is: where a type's
 * syntax is not simple, Postgres says it.
 */
#ifndef WS_GATEWAY_VALUE_H
#define WS_GATEWAY_VALUE_H

#include <stdbool.h>
#include <stddef.h>

/* Is it what Postgres can take for text at all: UTF-8 without NUL? */
bool value_is_text(const void *p, size_t n);
/* NULL, or the SQLSTATE with which a column of this type (Postgres' internal name) refuses it: 22P02, 22003.
 */
const char *value_fault(const char *type, const void *p, size_t n);

#endif
