/* How a tool's processes have ended: the last few, with when and why. */
#ifndef LEYDEN_ENDS_H
#define LEYDEN_ENDS_H

#include <time.h>

#include "buf.h"

#define ENDS_KEPT 8

struct ends {
	struct end {
		time_t at;
		int status;   /* as waitpid() tells it */
		double alive; /* seconds that it had lived */
	} kept[ENDS_KEPT];
	unsigned n; /* since the service began; the newest is kept[(n - 1) % ENDS_KEPT] */
};

void ends_add(struct ends *e, int status, double alive);
/* "signal 9 (Killed)" or "status 74 (I/O error)"; static. */
const char *ends_reason(int status);
/* A JSON array, the newest first. */
void ends_put(struct buf *json, const struct ends *e);

#endif
