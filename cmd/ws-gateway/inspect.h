/* What an operator may ask of a gateway, and do to its clients, over its control socket. */
#ifndef WS_GATEWAY_INSPECT_H
#define WS_GATEWAY_INSPECT_H

#include "peer.h"

extern const struct handler inspect_handlers[];
/* Members for the status; allocated. */
char *inspect_status(void);

#endif
