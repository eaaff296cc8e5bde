/* The tools that the gateway depends on, and what happens when one of them comes and goes. */
#ifndef WS_GATEWAY_UPSTREAM_H
#define WS_GATEWAY_UPSTREAM_H

#include "peer.h"

void upstream_open(void);
struct peer *upstream_log(void);
struct peer *upstream_auth(void);
/* Where snapshots are taken: the leading Postgres'. */
struct peer *upstream_snapshot(void);
unsigned upstream_leader(void);
/* Asks log-store again what it holds. */
void upstream_read_schema(void);

#endif
