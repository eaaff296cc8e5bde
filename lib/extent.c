/* What a Postgres snapshot sees. */
#include "extent.h"

#include <stddef.h>

bool
extent_sees(const SnapshotExtent *extent, uint64_t xid)
{
	if (xid < extent->xmin)
		return true;
	if (xid >= extent->xmax)
		return false;
	for (size_t i = 0; i < extent->n_xip; i++)
		if (extent->xip[i] == xid)
			return false;
	return true;
}
