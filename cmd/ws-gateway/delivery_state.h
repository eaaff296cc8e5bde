/* A delivery, as delivery.c and delivery_ask.c share it. */
#ifndef WS_GATEWAY_DELIVERY_STATE_H
#define WS_GATEWAY_DELIVERY_STATE_H

#include "delivery.h"
#include "initial.h"

#define DELIVERY_PAUSE 0.25 /* seconds before the first retry after a failure; each next waits longer */

enum delivery_state {
	DELIVERY_OWED,	  /* known rows alone: log-store is told that the client lacks them */
	DELIVERY_ASKED,	  /* pg-snapshot has it in its queue */
	DELIVERY_READY,	  /* pg-snapshot waits for us; the stream is to stand at the next boundary */
	DELIVERY_MEETING, /* the stream stands; the snapshot is taken and its place in the log looked up */
	DELIVERY_MET,	  /* the stream runs to that place */
	DELIVERY_SENDING, /* the stream stands; rows are sent */
	DELIVERY_SAVING,  /* all rows are sent; log-store is told before the client is */
	DELIVERY_KNOWN	  /* the client has been told; rows that it has had a part in follow */
};

struct delivery {
	struct delivery *bucket_next;
	struct client *client;
	struct subscription *subscription; /* NULL: it was given up within a row, of which the rest is sent */
	enum delivery_state state;
	struct peer *peer; /* the pg-snapshot that is asked */
	uint32_t snapshot;
	unsigned failures, behind, prefixes; /* snapshots that were of no use */
	struct arena memory;		     /* of the extent */
	SnapshotExtent *extent;
	bool exact;			     /* it is a prefix of the log */
	bool only_known;		     /* the others the client has */
	uint64_t position;		     /* DELIVERY_MET: where the rows belong */
	const struct table_version **tables; /* to be sent, in order */
	size_t *request_of;		     /* which request each table belongs to */
	size_t n_tables;
	struct initial initial;
	uint64_t granted;     /* bytes that pg-snapshot may still send */
	bool whole;	      /* it knows that nothing waits for the socket */
	bool ended;	      /* it has sent all */
	struct chunk **known; /* DELIVERY_SAVING: rows that have come already and are to follow */
	size_t n_known;
	ev_timer gap;
	bool gap_over;
	ev_timer retry;
};

/* Asks pg-snapshot for the rows that the client lacks. */
void delivery_ask(struct delivery *d);
/* Takes another snapshot, after `pause` seconds; the stream goes on. */
void delivery_ask_again(struct delivery *d, const char *why, double pause);
/* The delivery that this snapshot is for; NULL: it was given up. */
struct delivery *delivery_of_snapshot(uint32_t snapshot);
void delivery_forget_snapshot(struct delivery *d);
void delivery_cancel_snapshot(struct delivery *d);
/* The snapshot was taken: looks up where in the log it stands, and has the stream go there. */
void delivery_begun(struct delivery *d, const SnapshotBegun *begun);
/* Grants more bytes, or none for now: the rows are wanted. */
void delivery_grant_bytes(struct delivery *d, uint64_t bytes);

#endif
