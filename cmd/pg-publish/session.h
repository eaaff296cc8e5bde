/* The connection to Postgres that writes, in pipeline mode: made again whenever it is lost, for ever. */
#ifndef PG_PUBLISH_SESSION_H
#define PG_PUBLISH_SESSION_H

#include <libpq-fe.h>
#include <stdbool.h>

struct session_hooks {
	void (*connected)(PGconn *conn); /* it is good until `lost` */
	void (*lost)(void);
	void (*result)(const PGresult *result); /* of what was sent; gone after the call */
	void (*sent)(void);			/* all that was queued has gone out */
};

/* Begins. */
void session_open(const char *url, const struct session_hooks *hooks);
/* Sends what was queued; not ok: it could not be, and the connection is given up. */
void session_send_off(bool ok);
/* Gives the connection up. */
void session_drop(const char *why);

#endif
