/* The paths that are served. api_get() is declared in http.h, which calls it. */
#ifndef HTTP_API_API_H
#define HTTP_API_API_H

#include "metrics.h"
#include "pipeline.pb-c.h"

/* log-store has answered: so are the requests that wait for it. */
void api_schema_came(const SchemaRead *schema);
/* Answers whoever still waits. */
void api_stop(void);
/* The member "connectors" of the status; allocated. */
char *api_connectors(void);
void api_metrics(struct metrics *m);

#endif
