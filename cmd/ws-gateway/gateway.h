/* What the operator configured for this gateway. */
#ifndef WS_GATEWAY_GATEWAY_H
#define WS_GATEWAY_GATEWAY_H

#include <stdint.h>

char *gateway_instance_id(void);
/* Bytes that may wait for one client's socket before the stream to it stands. */
uint64_t gateway_client_buffer(void);
/* How many Postgres there are. */
unsigned gateway_databases(void);
/* The listening socket. */
int gateway_port(void);

#endif
