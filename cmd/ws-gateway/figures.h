/* What the gateway counts and measures. Each counter is raised where the thing happens. */
#ifndef WS_GATEWAY_FIGURES_H
#define WS_GATEWAY_FIGURES_H

#include <stddef.h>
#include <stdint.h>

#include "metrics.h"
#include "satellite.h"

#define ERROR_CODES 8 /* of SatErrorResp, and room for more */

extern struct figures {
	uint64_t connections, refused_connections;
	uint64_t logins, refused_tokens;
	uint64_t errors[ERROR_CODES]; /* that clients were told, by code */
	uint64_t stalled, silent; /* clients that were let go: they did not read, or did not answer pings */
	uint64_t disconnected;	  /* by an operator */
	uint64_t messages, transactions;
	uint64_t received_bytes, sent_bytes;
	struct histogram auth, commit_to_sent, write_stored, write_echoed;
} figures;

/* All clients that are here now. */
struct totals {
	size_t clients, subscriptions, stalled, delivering, pending_writes;
	uint64_t longest_lag; /* transactions of the log, as far as it was read here */
	uint64_t queued_bytes;
};
struct totals figures_totals(void);
void figures_metrics(struct metrics *m);

#endif
