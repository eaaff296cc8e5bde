/* What the files of translog share; for these only. */
#ifndef LOG_STORE_TRANSLOG_STATE_H
#define LOG_STORE_TRANSLOG_STATE_H

#include "peer.h"
#include "service.h"
#include "translog.h"

#define TRANSLOG_KEY 12 /* bytes of a record's key */

/* Numbers that every append needs; all of them are in meta too, written in the transaction that changed them.
 */
struct translog_state {
	uint64_t life, first, last; /* last: closed by its Postgres commit */
	uint64_t max_xid;
	uint64_t bytes;		/* of the records kept, whole commits' and a tail's */
	uint64_t next;		/* position of the transaction that is being appended */
	uint64_t leader, leads; /* which instance leads; how often another began to */
	uint64_t lead_began;	/* the first position of its own */
	struct source {
		uint64_t commit_lsn; /* of the last commit that is here */
		uint64_t passed_lsn; /* the WAL up to here is dealt with */
	} sources[DATABASES_MAX + 1];
};

/* As of this turn; as of the last that was stored, which readers may see. */
extern struct translog_state translog_now, translog_durable;

/* The key of this part of the transaction at this position. */
void translog_key(uint8_t key[TRANSLOG_KEY], uint64_t position, uint32_t part);

#endif
