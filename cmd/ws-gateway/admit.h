/*
 * Who may connect: accepting connections, within limits. All limits are of one process.
 *
 * Over the limit of all connections, or of one address, a connection is closed at once. Over that of
 * strangers (who have not authenticated) the one that has waited longest gives way; while even that has just
 * come, the others wait in the backlog, as they do while there are no more file descriptors.
 */
#ifndef WS_GATEWAY_ADMIT_H
#define WS_GATEWAY_ADMIT_H

#include <sys/socket.h>

struct admit_limits {
	unsigned connections;
	unsigned per_address; /* 0: no limit. An IPv6 network of 64 bits counts as one address */
	unsigned strangers;
};
extern struct admit_limits admit_limits;

/* Begins to accept on a listening socket, and stops for good. */
void admit_listen(int fd);
void admit_stop(void);
/* A connection from this address has ended. */
void admit_gone(const struct sockaddr_storage *addr);
/* There may be room for who waits. */
void admit_room(void);

#endif
