/* Listening TCP sockets: those that leyden opens for its tools and keeps while they restart, and tools' own.
 */
#ifndef LEYDEN_LISTEN_H
#define LEYDEN_LISTEN_H

/*
 * Opens n listening sockets on one port (the kernel spreads the connections over them), on `address`, or on
 * all interfaces when it is NULL. Port 0: the kernel picks. Returns "ADDRESS:PORT", allocated. Failing ends
 * the process with a line that names the variable.
 */
char *listen_open(const char *variable, const char *address, unsigned port, int *fds, unsigned n);
/* "ADDRESS:PORT" of a socket, allocated. */
char *listen_name(int fd);

#endif
