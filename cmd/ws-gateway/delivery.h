/* The delivery of a subscription's initial rows: one at a time for a client. */
#ifndef WS_GATEWAY_DELIVERY_H
#define WS_GATEWAY_DELIVERY_H

#include "subscribe.h"

/* Begins the delivery of the client's oldest subscription that waits for one, if one may begin now. */
void delivery_next(struct client *c);
/* Ends the delivery, if it is this subscription's. */
void delivery_stop(struct client *c, const struct subscription *s);
/* The stream stands: may rows, or their snapshot, come here? Called by the pump between transactions. True:
 * the stream is to stand. */
bool delivery_at(struct client *c);
/* The socket has taken much of what was queued: more rows may come. */
void delivery_grant(struct client *c);
/* Answers of pg-snapshot. */
void delivery_snapshot_frame(const Frame *frame);
/* This pg-snapshot was away. */
void delivery_snapshot_lost(struct client *c, const struct peer *peer);
/* Snapshots are taken at another Postgres; one that has met the stream is as good as before. */
void delivery_leader_moved(struct client *c);

#endif
