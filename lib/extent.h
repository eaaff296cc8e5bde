/* What a Postgres snapshot sees, pure. */
#ifndef LEYDEN_EXTENT_H
#define LEYDEN_EXTENT_H

#include <stdbool.h>
#include <stdint.h>

#include "pipeline.pb-c.h"

/* A transaction, by its xid with epoch, that has committed by now: did the snapshot see it? */
bool extent_sees(const SnapshotExtent *extent, uint64_t xid);

#endif
