/* What a person does about transactions that Postgres refused: electric.rejected_writes. */
#ifndef PG_PUBLISH_REJECTED_H
#define PG_PUBLISH_REJECTED_H

#include <stdbool.h>

/* Prints each on one line, key=value. The exit code. */
int rejected_list(const char *url);
/* Applies it again, or drops it; either way it leaves the list. One line says what came of it. The exit code:
 * EX_DATAERR when there is none with this id, or Postgres refuses it still (it then stays). */
int rejected_settle(const char *url, unsigned id, bool retry);

#endif
