/* The tools that http-api asks: log-store, and the pg-ingest and pg-publish of each Postgres. */
#ifndef HTTP_API_UPSTREAM_H
#define HTTP_API_UPSTREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "pipeline.pb-c.h"

/* Connects to them. on_schema is called for each schema that log-store answers with. */
void upstream_open(unsigned databases, void (*on_schema)(const SchemaRead *schema));

unsigned upstream_databases(void);
/* Is the pg-ingest of this instance (from 1) streaming? As of a second ago at most. */
bool upstream_streaming(unsigned instance);
/* The version of the schema that the instance has reached, NULL: none; how many tables are electrified. */
const char *upstream_schema(unsigned instance, uint64_t *tables);
/* Client transactions that the instance's pg-publish has applied, and that Postgres refused, since it
 * started. */
void upstream_writes(unsigned instance, uint64_t *applied, uint64_t *rejected);
/* Is log-store there? What it last said of its positions and size. */
bool upstream_log(uint64_t *first, uint64_t *last, uint64_t *bytes);
/* Asks log-store for the schema, now or as soon as it is there. */
void upstream_want_schema(void);

#endif
