/* Telling the supervisor, if there is one, how leyden is. */
#ifndef LEYDEN_NOTIFY_H
#define LEYDEN_NOTIFY_H

/* s6: a newline on --notify-fd. systemd: READY=1 to NOTIFY_SOCKET. */
void notify_ready(unsigned fd);
void notify_stopping(void);

#endif
