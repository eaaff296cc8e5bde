/* What log-store answers: to pg-ingest, to readers of the log, to gateways for their clients, to pg-publish.
 */
#ifndef LOG_STORE_SERVE_H
#define LOG_STORE_SERVE_H

#include "peer.h"

extern const struct handler serve_handlers[];

void serve_open(void);
void serve_peer_down(struct peer *peer);
char *serve_status(void);

#endif
