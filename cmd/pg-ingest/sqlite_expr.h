/*
 * Expressions of Postgres, as pg_get_expr() writes them, as SQLite has to read them. Pure.
 *
 * Translated: constants, casts of them, current times, random UUIDs, columns, arithmetic and comparisons,
 * AND, OR, NOT, NULL tests, IN, and the few functions that both know alike. Anything else is refused rather
 * than guessed.
 */
#ifndef LEYDEN_SQLITE_EXPR_H
#define LEYDEN_SQLITE_EXPR_H

#include "arena.h"

enum expr_use {
	EXPR_DEFAULT, /* of a column whose type is given, unless it is an array: a constant is written
		       * plainly, as the text that Postgres reads and writes */
	EXPR_CHECK,   /* a check or a generated column: its outcome must be Postgres' own */
	EXPR_INDEX    /* an index or its condition */
};

/* The translation, in the arena; NULL: there is none. `type` is an internal name, or NULL. */
char *sqlite_expression(struct arena *a, const char *expression, enum expr_use use, const char *type);

/* `"name"`, with quotes in it doubled. */
char *sqlite_identifier(struct arena *a, const char *name);
/* What SQLite calls a type of Postgres, without its size: TEXT for what it does not have. */
const char *sqlite_type(const char *type);

#endif
