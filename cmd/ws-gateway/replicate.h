/* Sending a client the log: start, stop, migrations, transactions, echoes. */
#ifndef WS_GATEWAY_REPLICATE_H
#define WS_GATEWAY_REPLICATE_H

#include "client.h"

void replicate_start(struct client *c, const SatInStartReplicationReq *request);
void replicate_stop(struct client *c);
/* Sends what the log holds for the client, as far as its socket and its limits allow. */
void replicate_pump(struct client *c);
/* Announces a table unless this version of it was announced on this stream. */
void replicate_announce(struct client *c, const struct table_version *table);
/* An empty transaction of the client's own: the log holds nothing of it that this stream has still to send.
 */
void replicate_echo_empty(struct client *c, uint64_t timestamp);
/* The client with these tables; a reference for the caller. */
struct audience *replicate_audience(const struct client *c, const uint32_t *relations, size_t n);

#endif
