/* The first error among what was sent together: what came after it was not done, and says nothing. */
#ifndef PG_PUBLISH_TROUBLE_H
#define PG_PUBLISH_TROUBLE_H

#include <libpq-fe.h>
#include <stdbool.h>

struct trouble {
	char sqlstate[8]; /* "" where there is none */
	char *message;
};

/* Keeps it, if it is the first. */
void trouble_note(const PGresult *error);
/* NULL: there was none. */
const struct trouble *trouble_first(void);
void trouble_forget(void);
/* Will it pass? Then it is no fault of the transaction. */
bool trouble_is_passing(void);
/* Either pg-ingest is still installing this version of the schema, or a table is gone. */
bool trouble_is_outdated(void);

#endif
