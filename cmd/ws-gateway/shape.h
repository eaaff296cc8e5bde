/* What a subscription may ask for: the checks of SatSubsReq, and their answers. */
#ifndef WS_GATEWAY_SHAPE_H
#define WS_GATEWAY_SHAPE_H

#include "arena.h"
#include "satellite.h"

/*
 * Checks a request; `taken` says that the id is in use on this connection. NULL: it is sound. Otherwise the
 * answer, in the arena.
 */
SatSubsResp *shape_check(struct arena *a, const SatSubsReq *request, bool taken);

#endif
