/*
 * One websocket connection: the socket, the upgrade, frames in, chunks out. What the messages mean is
 * client.c's.
 */
#ifndef WS_GATEWAY_CONN_H
#define WS_GATEWAY_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "chunk.h"

struct conn;
struct client;

struct conn_limits {
	uint64_t max_message;	 /* bytes in one message from a client */
	uint64_t max_frame;	 /* bytes in one frame of it */
	uint64_t handshake_time; /* seconds to complete the upgrade */
	uint64_t auth_time;	 /* seconds to authenticate after that */
	uint64_t stall_time;	 /* seconds without taking anything of what waits for it */
};
extern struct conn_limits conn_limits;

/* Takes over an accepted socket; admit_gone() tells of its end. */
void conn_new(int fd, const struct sockaddr_storage *addr);
/* Its client has authenticated: it may take its time, and send longer messages. */
void conn_known(struct conn *c);
/* Seconds since the coming of who has been here longest without authenticating. */
double conn_stranger_age(void);
/* Closes its connection; there is one. */
void conn_dismiss_stranger(void);

/* Queues a chunk and takes over the caller's reference. After a close it only drops it. What comes while a
 * message of several frames is not whole goes out after that. */
void conn_send(struct conn *c, struct chunk *chunk);
/* Is there such a message? */
bool conn_in_message(const struct conn *c);
/* Bytes queued that the kernel has not taken. */
size_t conn_pending(const struct conn *c);
/* Seconds for which it has taken nothing of them; 0: nothing is queued. From STALLED on it counts as stalled.
 */
#define STALLED 1.0
double conn_untaken_for(const struct conn *c);
/* Sends a close frame (0: without a status) once the queue is out, then closes the socket. */
void conn_close(struct conn *c, uint16_t status, const char *reason);
/* Stops and starts reading from the socket. */
void conn_pause(struct conn *c);
void conn_resume(struct conn *c);
/* "address:port" of the other side; the connection's own. */
const char *conn_address(const struct conn *c);
size_t conn_count(void);
/* How many of them have not authenticated. */
size_t conn_strangers(void);
/* Closes every connection with this status. */
void conn_close_all(uint16_t status, const char *reason);

#endif
