/*
 * A client of the Satellite protocol for tests, benchmarks and chaos: connect, authenticate, subscribe,
 * write, await; thousands of them in one event loop.
 *
 * It is driven in two ways. Straight through: call, then await the message that must come. By events: set
 * on_message and run the loop. It answers the server's start request and pings by itself.
 */
#ifndef TESTS_SAT_CLIENT_H
#define TESTS_SAT_CLIENT_H

#include <stdbool.h>
#include <ev.h>

#include "arena.h"
#include "satellite.h"

#define AWAIT_SECONDS 20.0 /* an await that takes longer ends the test */

/* A message from the server; freed by sat_message_free(). */
struct sat_message {
	struct sat_message *next;
	unsigned code;
	struct arena memory;
	const ProtobufCMessage *body;
};

struct sat_relation {
	uint32_t id;
	char name[64];
	size_t n;
	char columns[32][64];
	char types[32][32];
	bool keys[32];
};

struct sat_client {
	char id[64];
	int fd;		 /* -1: closed */
	bool open;	 /* the upgrade is done */
	bool hold_start; /* do not answer the server's start request */
	void *data;	 /* the owner's */
	void (*on_message)(struct sat_client *c, const struct sat_message *m); /* instead of the queue */
	/* A SatOpLog as it came, instead of all else; for those who measure. */
	void (*on_oplog)(struct sat_client *c, const uint8_t *p, size_t n);
	void (*on_closed)(struct sat_client *c);
	struct sat_message *first, **last; /* received and not yet taken */
	struct sat_relation *relations;	   /* as the server announced them */
	size_t n_relations;
	char server_lsn[64]; /* of the last transaction or delivery */
	uint8_t own_lsn[64]; /* what the server's start request said */
	size_t own_lsn_len;
	uint32_t next_lsn; /* for sat_write() */
	/* sat_client.c's own */
	ev_io io;
	struct wslay_event_context *ws;
	struct buf in;
	struct buf message;    /* that has not come whole */
	bool in_control_frame; /* the frame that is coming in is one */
	bool announced;	       /* our relations, in this connection */
};

/* A client that is not connected: sat_reopen() does that. */
struct sat_client *sat_new(const char *id);
/* Connects to 127.0.0.1 and completes the upgrade; ends the test when that fails. */
struct sat_client *sat_connect(unsigned port, const char *id);
void sat_close(struct sat_client *c); /* at once, without a close frame */
/* Connects a closed client again, as the same with what it knows; false when the server does not take it. */
bool sat_reopen(struct sat_client *c, unsigned port);
void sat_free(struct sat_client *c);

void sat_send(struct sat_client *c, unsigned code, const ProtobufCMessage *m);
/* Any websocket frame: opcode 1 text, 2 binary. */
void sat_send_raw(struct sat_client *c, uint8_t opcode, const void *p, size_t n);

/* The next message, of this code: others before it are dropped. Ends the test when it does not come. */
struct sat_message *sat_await(struct sat_client *c, unsigned code);
/* The next message whatever it is; NULL: the server closed. */
struct sat_message *sat_next(struct sat_client *c);
/* Waits for the server to close the socket. */
void sat_await_close(struct sat_client *c);
void sat_message_free(struct sat_message *m);
/* Runs the loop for a moment's events. */
void sat_turn(void);

/* An unsigned token, for AUTH_MODE=insecure. Static. */
const char *sat_token(const char *user_id);
void sat_auth(struct sat_client *c, const char *token);
/* Authenticates and awaits the answer. */
void sat_login(struct sat_client *c, const char *user_id);
/* Asks for replication from server_lsn, or afresh when that is empty. */
void sat_ask_start(struct sat_client *c, char **subscriptions, size_t n);
/* The same, and awaits the answer. */
void sat_start(struct sat_client *c, char **subscriptions, size_t n);
/* A new client, connected as this user, that has begun afresh. `id` NULL: one that no other has. */
struct sat_client *sat_begin(unsigned port, const char *id, const char *user_id);
/* Asks for tables in one request. */
void sat_ask_subscription(
    struct sat_client *c, const char *subscription_id, const char *const *tables, size_t n);
/* Subscribes to tables in one request, awaits the whole delivery: the messages' inserts go to on_row (may be
 * NULL). */
void sat_subscribe(struct sat_client *c, const char *subscription_id, const char *const *tables, size_t n,
    void (*on_row)(struct sat_client *c, const SatOpInsert *row));

const struct sat_relation *sat_relation(const struct sat_client *c, uint32_t id);
const struct sat_relation *sat_relation_named(const struct sat_client *c, const char *name);
/* A column's value in a row: NUL-terminated in a static ring, NULL when it is NULL or there is no such
 * column. */
const char *sat_value(const struct sat_relation *r, const SatOpRow *row, const char *column);

/* One operation of a transaction to be written. */
struct sat_write_op {
	enum sat_op kind;
	const char *table;
	const char *const *row; /* values in the columns' order, NULL: NULL; a delete's old row */
	const char *const *old; /* an update's */
	const char *const *observed;
	size_t n_observed;
};
/* Sends a transaction with the next lsn (4 bytes, big-endian). */
void sat_write(struct sat_client *c, uint64_t timestamp, const struct sat_write_op *ops, size_t n);
/* The same with a given lsn. */
void sat_write_lsn(struct sat_client *c, const void *lsn, size_t lsn_len, uint64_t timestamp,
    const struct sat_write_op *ops, size_t n);

#endif
