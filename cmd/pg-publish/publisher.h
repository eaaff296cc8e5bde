/*
 * The publisher's side of logical replication: what Postgres' CREATE and ALTER SUBSCRIPTION and its apply
 * worker ask (PostgreSQL's libpqwalreceiver.c, subscriptioncmds.c and worker.c; protocol.sgml, "Streaming
 * Replication Protocol").
 *
 * It publishes one table, electric.incoming, to whoever knows the password. One worker at a time gets the
 * stream: a later one is the same worker come back.
 */
#ifndef PG_PUBLISH_PUBLISHER_H
#define PG_PUBLISH_PUBLISHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pipeline.pb-c.h"

#define PUBLISHER_USER "leyden"

struct publisher_hooks {
	void (*start)(void); /* the worker asks for the stream: publisher_begin() when it can be given */
	void (*flushed)(uint64_t lsn); /* the worker has committed, durably, all up to here */
	void (*drained)(void);	       /* what was sent has gone out */
	void (*stopped)(void);	       /* the worker is gone */
};

/*
 * Listens on address (NULL: all interfaces) and port (0: any); returns the port. What is wrong with them ends
 * the process with EX_CONFIG. The password must outlive it.
 */
unsigned publisher_open(
    const char *address, unsigned port, const char *password, const struct publisher_hooks *hooks);
/* Begins the stream after this position. */
void publisher_begin(uint64_t position);
/* Sends a transaction; its LSN is its position. `life`: of the log of writes. */
void publisher_send(const char *life, const ClientTransaction *t);
/* Bytes that the worker's connection has not taken. */
size_t publisher_pending(void);
/* Cuts the worker's connection; it comes back by itself. */
void publisher_drop(const char *why);

#endif
