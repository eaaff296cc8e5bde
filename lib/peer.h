/*
 * A connection between two tools: frames both ways over a Unix socket, in the loop of the process.
 *
 * Both sides say Hello first; a peer that speaks another version of the catalogue is dropped with a log line.
 * What is sent in one turn of the loop leaves in one system call at its end. A frame that is too long, does
 * not parse, or that the handlers do not list ends the connection; the other side connects again and resumes
 * from its position.
 */
#ifndef LEYDEN_PEER_H
#define LEYDEN_PEER_H

#include <stdbool.h>
#include <ev.h>

#include "frame.h"

#define PIPELINE_VERSION 8

struct peer;

/* What a tool answers. Ended by a NULL fn. */
struct handler {
	Frame__BodyCase body_case;
	const char *from; /* the tool that may send it, another in an entry of its own; NULL: any */
	/* The frame and all that hangs on it is gone after the call. May close the peer. */
	void (*fn)(struct peer *peer, const Frame *frame);
};

struct peer_hooks {
	const struct handler *handlers;
	void (*up)(struct peer *peer);	    /* Hello was exchanged; may be NULL */
	void (*down)(struct peer *peer);    /* the connection is lost, data is still set; may be NULL */
	void (*drained)(struct peer *peer); /* what waited to be written has all gone out; may be NULL */
};

struct peer {
	const char *tool; /* the other side's name; of an accepted peer known after its Hello */
	void *data;	  /* the owner's */
	bool is_up;	  /* Hello was exchanged */
	/* the rest is peer.c's own */
	const struct peer_hooks *hooks;
	char *path; /* to connect to; NULL: accepted */
	char *said; /* the name in the Hello of an accepted peer */
	int fd;
	ev_io io;
	ev_timer retry;
	double delay; /* seconds until the next attempt to connect */
	struct buf in, out;
	bool paused, dirty, closing, said_waiting;
	struct peer *next_dirty;
};

/*
 * Connects to the tool's socket in the run directory, and again whenever the connection is lost, for ever.
 * The peer is never freed. `tool` must outlive it.
 */
struct peer *peer_connect(const char *tool, const struct peer_hooks *hooks, void *data);
/* Takes over a connected socket. The peer frees itself when it closes, after hooks->down. */
struct peer *peer_accept(int fd, const struct peer_hooks *hooks);

/* Queues a frame; does nothing unless the peer is up. `message` is copied. */
void peer_send(struct peer *peer, Frame__BodyCase body_case, const void *message);
/* The same for a body that is packed already (pbwire.h). */
void peer_send_packed(struct peer *peer, Frame__BodyCase body_case, const struct buf *body);
/* The same, with n bytes as its last field: of much, no copy more than needed. */
void peer_send_with(struct peer *peer, Frame__BodyCase body_case, const struct buf *body, unsigned field,
    const void *bytes, size_t n);
/* Bytes queued that the kernel has not taken: senders of much hold back while this is high. */
size_t peer_pending(const struct peer *peer);
/* Stops and starts reading: what the other side sends stays in the socket. */
void peer_pause(struct peer *peer);
void peer_resume(struct peer *peer);
/* Drops the connection, with a log line saying why. */
void peer_close(struct peer *peer, const char *why);

/* The path of a tool's socket: allocated. */
char *peer_path(const char *tool);
/* The run directory that peer_path() uses. */
void peer_set_run_dir(const char *dir);

/* The loop of the process. */
struct ev_loop *loop(void);

#endif
