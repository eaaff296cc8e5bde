/* Initial rows on the wire: SatSubsDataBegin, a shape for each request, SatSubsDataEnd. */
#ifndef WS_GATEWAY_INITIAL_H
#define WS_GATEWAY_INITIAL_H

#include "subscribe.h"

/* How far the shapes of a subscription are sent. All zero before the first. */
struct initial {
	size_t next_request; /* shapes begun so far */
	bool shape_open, shape_empty;
	bool in_known; /* the transaction with known rows is begun */
};

/* At the client's place in the stream. */
void initial_begin(struct client *c, const Subscription *saved);
/* The body of a SatOpLog, for this request. One reference, the caller's. */
void initial_rows(
    struct initial *i, struct client *c, const Subscription *saved, size_t request, struct chunk *rows);
/* There are no more of them. SatSubsDataEnd is sent apart. */
void initial_end(struct initial *i, struct client *c, const Subscription *saved);

/*
 * What the client has written itself it holds already, and a client up to 0.9 loses all when initial rows
 * bring it once more. So these rows come after the others, as a transaction, in which a row that is there is
 * no trouble. It is as old as can be: what the client has written since stays.
 */
void initial_known(struct initial *i, struct client *c, struct chunk *rows);
void initial_known_end(struct initial *i, struct client *c);
/* This lsn is of such a transaction: the client has had it. Its position is no other than that of the rows.
 */
bool initial_is_known(const ProtobufCBinaryData *lsn);

#endif
