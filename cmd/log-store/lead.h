/*
 * Which Postgres leads, where there are several: the one whose WAL is the log that clients and the other
 * instances are told. When it has been away for a while, the first of the others leads that is there and has
 * taken everything that the log has told. A leader that comes back follows.
 */
#ifndef LOG_STORE_LEAD_H
#define LOG_STORE_LEAD_H

#include <stdbool.h>
#include <stdint.h>

/* Begins. `seconds` that the leader may be away, 0: for ever. moved() is called once another leads, durably.
 */
void lead_open(uint64_t seconds, void (*moved)(void));
/* Another is about to, until lead_settled(). */
bool lead_is_moving(void);
void lead_settled(void);
/* The instance's changes stream in (wal_lsn: its WAL ended there), or do no longer. */
void lead_came(unsigned instance, uint64_t wal_lsn);
void lead_went(unsigned instance);
/* The instance has taken all that the log tells, up to this position; what it did for clients when it led is
 * in its WAL before wal_end. */
void lead_followed(unsigned instance, uint64_t position, uint64_t wal_end);
/* More of an instance's WAL has been read. */
void lead_read_on(void);
/* Nobody knows how far it is. */
void lead_lost_sight(unsigned instance);

#endif
