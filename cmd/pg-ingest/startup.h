/*
 * From nothing to streaming, and again after every loss: connect, check the server, install the schema, agree
 * with log-store on where to go on, make the slot if there is none, start. One step follows the other's
 * answer; when either side is lost it begins anew, after a pause that doubles up to five seconds.
 */
#ifndef LEYDEN_STARTUP_H
#define LEYDEN_STARTUP_H

#include <stdbool.h>

/* `slot` NULL: one of our own that goes with the connection, from now on, to stdout. */
void startup_open(const char *url, const char *slot, unsigned instance, unsigned instances);
/* Closes the connection and tries no more. */
void startup_close(void);

#endif
