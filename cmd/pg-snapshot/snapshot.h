/*
 * Snapshots that gateways have asked for: a queue, and as many connections as are allowed. One that has a
 * connection is ready; told to begin it opens its transaction; granted bytes it sends rows, table after
 * table, and no more than granted but for one row that is longer.
 */
#ifndef LEYDEN_SNAPSHOT_H
#define LEYDEN_SNAPSHOT_H

#include "peer.h"

void snapshot_open(const char *url, unsigned connections, unsigned instance);
/* The frames, and the loss of a peer that sent them. */
extern const struct handler snapshot_handlers[];
void snapshot_peer_down(struct peer *peer);
/* Members for the status; allocated. */
char *snapshot_status(void);

#endif
