/* Subscriptions of a client. The delivery of their initial rows is delivery.h's. */
#ifndef WS_GATEWAY_SUBSCRIBE_H
#define WS_GATEWAY_SUBSCRIBE_H

#include "client.h"

struct subscription {
	struct subscription *next;
	Subscription *saved; /* as log-store keeps it; in memory */
	struct arena memory;
	bool answered; /* the client knows of it: rows may come */
	bool active;   /* its rows were delivered: the stream carries its tables */
	bool owes;     /* and still: known rows, that came after the others and may not have arrived */
};

void subscribe_request(struct client *c, const SatSubsReq *request);
void subscribe_cancel(struct client *c, const SatUnsubsReq *request);
/*
 * Re-activates saved subscriptions of a client that has the log up to `position`; NULL, or the first id that
 * is not saved. A client names what it has had the rows of; where they came after that position it cannot
 * have had them, and gets them anew. `known`: it has had the known rows that came at that position, too.
 */
const char *subscribe_resume(struct client *c, char **ids, size_t n, uint64_t position, bool known);
/*
 * The audience that the client is for this transaction, where that is not c->audience: without the tables
 * whose initial rows showed it already. A reference for the caller; NULL: it is c->audience.
 */
struct audience *subscribe_audience(const struct client *c, const Transaction *transaction);
void subscribe_clear(struct client *c);
size_t subscribe_count(const struct client *c);

/* Has log-store write it down as it is now, and calls fn(c, answer) then. */
void subscription_save(struct client *c, struct subscription *s, ask_fn *fn);
/* Its rows of these tables are of a snapshot that sees transactions after the place where they are sent. */
void subscription_keep_extent(struct subscription *s, const SnapshotExtent *extent,
    const struct table_version *const *tables, size_t n);
/* Its rows have been delivered. */
void subscription_activate(struct client *c, struct subscription *s);
/* It is no more, neither here nor in log-store. */
void subscription_drop(struct client *c, struct subscription *s);

#endif
