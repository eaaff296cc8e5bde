/* Statements that are sent again and again: each is prepared when it is sent first on a connection. */
#ifndef PG_PUBLISH_STATEMENT_H
#define PG_PUBLISH_STATEMENT_H

#include <libpq-fe.h>
#include <stdbool.h>

/* Queues it with n parameters; lengths and formats are as for PQsendQueryPrepared(), and may be NULL. False:
 * the connection is unusable. */
bool statement_send(
    PGconn *conn, const char *sql, int n, const char *const *params, const int *lengths, const int *formats);
/* The connection is a new one: nothing is prepared. */
void statement_new_connection(void);
/* Something that was queued has failed, and what came after it was not done: it is not known what is
 * prepared. */
void statement_failed(void);

#endif
