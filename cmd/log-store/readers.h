/*
 * Who reads the log, and the log of writes.
 *
 * A read that finds nothing waits in a list until a commit brings something. It is a list of peers' requests,
 * so it is bounded by what the few tools have under way; when a peer goes, its entries go.
 */
#ifndef LOG_STORE_READERS_H
#define LOG_STORE_READERS_H

#include "peer.h"

void readers_read_log(struct peer *peer, const Frame *frame);
void readers_read_schema(struct peer *peer, const Frame *frame);
void readers_meet_snapshot(struct peer *peer, const Frame *frame);
void readers_read_writes(struct peer *peer, const Frame *frame);

/* Answers whoever can be answered now: something was stored, or another Postgres leads. */
void readers_serve(void);
void readers_peer_down(struct peer *peer);
/* Requests that wait for something to come. */
size_t readers_waiting(void);

#endif
