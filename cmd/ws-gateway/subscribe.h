/* Subscriptions of a client and the delivery of their initial rows. */
#ifndef WS_GATEWAY_SUBSCRIBE_H
#define WS_GATEWAY_SUBSCRIBE_H

#include "client.h"

void subscribe_request(struct client *c, const SatSubsReq *request);
void subscribe_cancel(struct client *c, const SatUnsubsReq *request);
/* Re-activates saved subscriptions; NULL, or the first id that is not saved. */
const char *subscribe_resume(struct client *c, char **ids, size_t n);
/* The stream stands: may a delivery begin here? Called by the pump between transactions. True: it did. */
bool subscribe_deliver_at(struct client *c);
/* The socket has taken much of what was queued: more rows may come. */
void subscribe_grant(struct client *c);
/* Replication has started: what waits for it may be delivered. */
void subscribe_started(struct client *c);
void subscribe_clear(struct client *c);
size_t subscribe_count(const struct client *c);
/* Answers of pg-snapshot. */
void subscribe_snapshot_frame(const Frame *frame);
void subscribe_snapshot_lost(struct client *c);

#endif
