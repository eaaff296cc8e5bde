/* What log-store answers: to pg-ingest, to readers of the log, to gateways for their clients, to pg-publish.
 */
#ifndef LOG_STORE_SERVE_H
#define LOG_STORE_SERVE_H

#include "peer.h"

extern const struct handler serve_handlers[];

/* `lead_time`: seconds that a leading Postgres may be away, where there are several; 0: for ever. */
void serve_open(uint64_t lead_time);
void serve_peer_down(struct peer *peer);

#endif
