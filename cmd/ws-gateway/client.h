/*
 * One client: from its first message to its last. client.c has its life and the messages' table; replicate.c
 * sends it the log; subscribe.c gives it subscriptions, delivery.c their initial rows; accept.c takes its own
 * transactions.
 */
#ifndef WS_GATEWAY_CLIENT_H
#define WS_GATEWAY_CLIENT_H

#include <stdbool.h>
#include <ev.h>

#include "arena.h"
#include "ask.h"
#include "audience.h"
#include "conn.h"
#include "satellite.h"
#include "stream.h"

enum client_state {
	CLIENT_NEW,	  /* nothing but SatAuthReq is allowed */
	CLIENT_VERIFYING, /* auth-check, then log-store are asked about it */
	CLIENT_IN,	  /* authenticated */
	CLIENT_GONE	  /* an error was sent, or the socket has closed; nothing is done for it any more */
};

/* A message that waits until the one before it is answered. */
struct waiting_message {
	struct waiting_message *next;
	size_t len;
	uint8_t data[];
};

struct client {
	struct client *prev, *next;
	struct conn *conn;
	enum client_state state;
	char *id, *user_id;
	double since;	/* loop time (Unix) of its token; once it is in, of that */
	bool answering; /* a request of its is being answered: no other is begun, no ping is sent */
	struct waiting_message *inbox, **inbox_end;
	struct ask_owner asks;
	ev_timer tick;	    /* every PING_EVERY seconds */
	ev_periodic expiry; /* of its token */
	double heard;	    /* loop time of its last message */
	bool pinged;	    /* and nothing was heard since */
	unsigned attach_tries;
	uint32_t attached; /* the request by which it holds, or may hold, its id; 0: none */
	ev_timer attach_again;

	/* replicate.c: from the log to the client */
	bool streaming;	     /* its start request was answered */
	bool held;	     /* the stream stands while a snapshot is taken */
	bool in_transaction; /* a begin was sent, its commit not yet */
	struct cursor cursor;
	size_t kept_back; /* bytes of what comes next, which had no room; 0: it was not kept back */
	bool echoed;	  /* it was sent a transaction of its own, and nothing since */
	ev_timer after_echo;
	struct audience *audience;
	const struct table_version **announced; /* relations sent since the stream started */
	size_t n_announced;

	/* subscribe.c, delivery.c */
	struct subscription *subscriptions;
	struct delivery *delivery; /* of initial rows, under way */
	Subscription **saved;	   /* from log-store at the time of attaching */
	size_t n_saved;
	struct arena memory;		  /* of saved */
	uint64_t log_first, log_position; /* what the log held then */

	/* accept.c: from the client to the log */
	bool accepting; /* it has answered our start request */
	struct client_relation *relations;
	size_t n_relations;
	struct open_write *open_write; /* the transaction that is coming in */
	struct write *writes;	       /* appended or on their way, not yet echoed; oldest first */
	struct write **writes_end;
	size_t write_bytes;	      /* of those on their way */
	ev_timer append_again;	      /* the log could not be written: they are sent again */
	ProtobufCBinaryData sent_lsn; /* of the last in `writes`; malloc'ed */
	ProtobufCBinaryData own_lsn;  /* the last of its own that is safe; malloc'ed */
};

struct client *client_new(struct conn *conn);
/* The socket is closing or closed: frees the client. */
void client_closed(struct client *c);
void client_message(struct client *c, const uint8_t *data, size_t len);
void client_text(struct client *c);
/* It has not authenticated in time. */
void client_late(struct client *c);
/* The socket takes more. */
void client_writable(struct client *c);

void client_send(struct client *c, uint8_t code, const ProtobufCMessage *message);
/* "client_id=… address=…" for the log; good until the fourth next call. */
const char *client_name(const struct client *c);
/* Sends SatErrorResp and closes; `why` goes to the log. */
void client_fail(struct client *c, SatErrorResp__ErrorCode code, const char *why);
/* Closes after an answer that said what was wrong. */
void client_close(struct client *c, const char *why);
/* The request is answered: pings, and the next message, may go on. */
void client_answered(struct client *c);

/* Reads from its socket, or not, as what waits in memory for it allows. */
void client_reading(struct client *c);

/* All clients. */
void clients_pump(void);
/* log-store is back: it must know again who is here. */
void clients_attach_again(void);
void clients_close_all(const char *why);
struct client *clients_first(void);

#endif
