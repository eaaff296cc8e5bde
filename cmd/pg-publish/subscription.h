/*
 * Our subscription in Postgres: made, pointed to the publisher, enabled and refreshed as needed, over a
 * connection that stays for questions about progress.
 */
#ifndef PG_PUBLISH_SUBSCRIPTION_H
#define PG_PUBLISH_SUBSCRIPTION_H

#include <stdbool.h>
#include <stdint.h>

struct subscription_hooks {
	void (*ready)(void); /* the subscription is as it is to be; again after each loss of the connection */
	/* The answer to subscription_progress(): the position up to which Postgres has committed. */
	void (*progress)(uint64_t position);
	/* So many of clients' transactions were set aside in Postgres; each has had its line in the log. */
	void (*rejected)(unsigned n);
};

/*
 * Begins; goes on for ever. `url`: of Postgres, which is to find the publisher at host and port. A role that
 * may not subscribe ends the process with EX_CONFIG. Nothing is copied of the strings.
 */
void subscription_open(const char *url, const char *host, unsigned port, const char *password,
    const struct subscription_hooks *hooks);
/* Asks how far Postgres is, durably, in the log of this life; answered once it can be, and once for several
 * calls. */
void subscription_progress(const char *life);
/* Asks what was set aside since the last time. */
void subscription_rejected(void);
bool subscription_is_ready(void);

#endif
