/* The tools on which it depends whether the service is ready: log-store, and the pg-ingest of each Postgres.
 */
#ifndef HTTP_API_UPSTREAM_H
#define HTTP_API_UPSTREAM_H

#include <stdbool.h>

#include "pipeline.pb-c.h"

/* Connects to them. on_schema is called for each schema that log-store answers with. */
void upstream_open(unsigned databases, void (*on_schema)(const SchemaRead *schema));

unsigned upstream_databases(void);
/* Is the pg-ingest of this instance (from 1) streaming? As of a second ago at most. */
bool upstream_streaming(unsigned instance);
bool upstream_log_is_there(void);
/* Asks log-store for the schema, now or as soon as it is there. */
void upstream_want_schema(void);

#endif
