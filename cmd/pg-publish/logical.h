/* Logical publication: Postgres subscribes to this tool, and its own apply worker writes clients'
 * transactions. */
#ifndef PG_PUBLISH_LOGICAL_H
#define PG_PUBLISH_LOGICAL_H

#include "metrics.h"

/*
 * Begins; goes on for ever. `url`: of Postgres; host: where Postgres reaches the publisher, which listens on
 * address (NULL: all) and port. Nothing is copied.
 */
void logical_open(const char *url, const char *host, const char *address, unsigned port);
/* Members of the status object; allocated. */
char *logical_status(void);
void logical_metrics(struct metrics *m);

#endif
