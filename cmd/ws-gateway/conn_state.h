/* A connection as the files of conn have it; for these only. */
#ifndef WS_GATEWAY_CONN_STATE_H
#define WS_GATEWAY_CONN_STATE_H

#include <ev.h>
#include <netinet/in.h>
#include <wslay/wslay.h>

#include "buf.h"
#include "conn.h"
#include "queue.h"
#include "wire.h"

enum conn_state {
	CONN_HANDSHAKE, /* the HTTP request is being read */
	CONN_OPEN,	/* messages both ways */
	CONN_CLOSING	/* what is queued goes out, then the socket is closed; nothing is read */
};

struct conn {
	struct conn *prev, *next;
	struct conn *older, *younger; /* of the strangers */
	bool is_stranger;	      /* not authenticated yet */
	ev_tstamp since;	      /* loop time of its coming */
	enum conn_state state;
	struct wire wire;
	ev_io io;
	ev_timer deadline;
	wslay_event_context_ptr ws;
	struct buf in;		 /* bytes not yet parsed */
	struct buf message;	 /* of several frames, or of one that has not come whole */
	struct queue out;	 /* to be sent */
	size_t out_offset;	 /* bytes of its first that are */
	size_t out_bytes;	 /* that are not */
	bool in_message;	 /* the last that was queued goes on */
	struct queue after;	 /* messages that wait for the end of that one */
	ev_tstamp untaken_since; /* loop time since which the kernel has taken nothing of that */
	bool paused, parsing;
	bool in_control_frame; /* the frame that is coming in is one */
	struct client *client;
	struct sockaddr_storage peer;
	char address[INET6_ADDRSTRLEN + 8];
};

/* Queues a chunk next, whatever the connection is at: a control frame may go between the frames of a message.
 */
void conn_push(struct conn *c, struct chunk *chunk);
/* What is queued goes out, and nothing more is read. */
void conn_begin_closing(struct conn *c);
/* Handles the bytes that have come. */
void conn_parse(struct conn *c);

#endif
