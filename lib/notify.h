/* Telling the supervisor, if there is one, how a tool is: s6 by a descriptor, systemd by NOTIFY_SOCKET. */
#ifndef LEYDEN_NOTIFY_H
#define LEYDEN_NOTIFY_H

#define NOTIFY_NO_FD (~0U)

/* A newline to this descriptor, unless it is NOTIFY_NO_FD; READY=1 to systemd, `details` as its status. */
void notify_ready(unsigned fd, const char *details);
void notify_stopping(void);
/* While the loop turns, systemd hears so twice in the time that it grants (WATCHDOG_USEC). */
void notify_watchdog(void);

#endif
