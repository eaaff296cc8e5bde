/* Prepared statements. */
#include "statement.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "xalloc.h"

static char **prepared; /* their SQL; the name is "s" and the index */
static size_t n_prepared;
static bool unsure; /* whether they are */

void
statement_new_connection(void)
{
	while (n_prepared > 0)
		free(prepared[--n_prepared]);
	unsure = false;
}

void
statement_failed(void)
{
	unsure = true;
}

static bool
begin_anew(PGconn *conn)
{
	statement_new_connection();
	return PQsendQueryParams(conn, "DEALLOCATE ALL", 0, NULL, NULL, NULL, NULL, 0) == 1;
}

bool
statement_send(
    PGconn *conn, const char *sql, int n, const char *const *params, const int *lengths, const int *formats)
{
	char name[24];
	size_t i = 0;

	if (unsure && !begin_anew(conn))
		return false;
	while (i < n_prepared && strcmp(prepared[i], sql) != 0)
		i++;
	snprintf(name, sizeof name, "s%zu", i);
	if (i == n_prepared) {
		prepared = xrealloc(prepared, (n_prepared + 1) * sizeof *prepared);
		prepared[n_prepared++] = xstrdup(sql);
		if (PQsendPrepare(conn, name, sql, 0, NULL) != 1)
			return false;
	}
	return PQsendQueryPrepared(conn, name, n, params, lengths, formats, 0) == 1;
}
