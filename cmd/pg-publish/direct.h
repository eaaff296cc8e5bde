/* Direct writes: clients' transactions go into Postgres over a connection of our own. */
#ifndef PG_PUBLISH_DIRECT_H
#define PG_PUBLISH_DIRECT_H

#include <stdbool.h>

#include "metrics.h"

/* Begins; goes on for ever, whatever becomes of Postgres or log-store. `url`: conninfo. */
void direct_open(const char *url, bool one_of_several);
/* Members of the status object; allocated. */
char *direct_status(void);
void direct_metrics(struct metrics *m);

#endif
