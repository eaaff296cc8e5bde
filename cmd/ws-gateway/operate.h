/* ws-gateway --clients and --disconnect: what an operator does from the command line, on all gateways there
 * are. */
#ifndef WS_GATEWAY_OPERATE_H
#define WS_GATEWAY_OPERATE_H

#include <stdbool.h>

/* Prints every client that is connected, one a line, or as a JSON array. The exit code: EX_UNAVAILABLE when a
 * gateway, or all of them, did not answer. */
int operate_list(bool as_json);
/* The exit code: EX_DATAERR when no gateway has this client. */
int operate_disconnect(const char *client_id);

#endif
