/* The instances of Postgres, each with its pg-ingest and pg-publish: what these say, and what they are told.
 */
#ifndef LOG_STORE_INSTANCES_H
#define LOG_STORE_INSTANCES_H

#include "peer.h"

/* `lead_time`: seconds that a leading Postgres may be away, where there are several; 0: for ever. */
void instances_open(uint64_t lead_time);

/* From pg-ingest. */
void instances_open_log(struct peer *peer, const Frame *frame);
void instances_close_log(struct peer *peer, const Frame *frame);
void instances_start_life(struct peer *peer, const Frame *frame);
void instances_append_log(struct peer *peer, const Frame *frame);
void instances_wal_passed(struct peer *peer, const Frame *frame);
/* From pg-publish. */
void instances_open_writes(struct peer *peer, const Frame *frame);
void instances_writes_applied(struct peer *peer, const Frame *frame);

void instances_peer_down(struct peer *peer);

#endif
