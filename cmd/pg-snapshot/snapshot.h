/*
 * Snapshots that gateways have asked for. Those who ask for the same take part in one, until it begins; told
 * that a connection is there (ready), each says when it stands in its stream, and all hear what the snapshot
 * sees. Then each gets the rows as fast as it grants bytes, and no more than granted but for one block that
 * is longer. A connection is held while Postgres gives the rows, however long they take to be sent.
 */
#ifndef LEYDEN_SNAPSHOT_H
#define LEYDEN_SNAPSHOT_H

#include "metrics.h"
#include "peer.h"

void snapshot_open(const char *url, unsigned connections, uint64_t max_row, unsigned instance);
/* The frames, and the loss of a peer that sent them. */
extern const struct handler snapshot_handlers[];
void snapshot_peer_down(struct peer *peer);
/* Members for the status; allocated. */
char *snapshot_status(void);
void snapshot_metrics(struct metrics *m);

#endif
