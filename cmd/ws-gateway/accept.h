/* Taking a client's own transactions: from its relations and rows to the log of writes. */
#ifndef WS_GATEWAY_ACCEPT_H
#define WS_GATEWAY_ACCEPT_H

#include "client.h"

void accept_relation(struct client *c, const SatRelation *relation);
void accept_oplog(struct client *c, const SatOpLog *log);
/* A transaction of its own was sent to it: acknowledges it if it came on this connection. */
void accept_echoed(struct client *c, const ProtobufCBinaryData *lsn);
/* The stream has moved: empty echoes that waited for it are sent. */
void accept_moved(struct client *c);
/* How many of its transactions have not come back. */
size_t accept_pending(const struct client *c);
void accept_clear(struct client *c);

#endif
