/*
 * Who sees the same: clients that subscribe to the same tables, and, where tables have owners, are the same
 * user. What is made of a record is made once for each audience.
 */
#ifndef WS_GATEWAY_AUDIENCE_H
#define WS_GATEWAY_AUDIENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chunk.h"
#include "pipeline.pb-c.h"

struct audience {
	unsigned refs;
	struct audience *next;
	char *user_id; /* NULL: none of the tables has owners */
	size_t n;
	uint32_t relations[]; /* ascending */
};

/* The audience of a user with these relations (copied, any order). One reference, the caller's. */
struct audience *audience_get(const char *user_id, const uint32_t *relations, size_t n);
void audience_unref(struct audience *a); /* NULL is fine */
bool audience_has(const struct audience *a, uint32_t relation);

struct record;

/* How a change looks to an audience: an update of the owner takes the row away from one and gives it to
 * another. In a repair, a row of another owner is taken away. */
enum view { VIEW_NONE, VIEW_AS_IS, VIEW_INSERT, VIEW_DELETE };
enum view audience_view(const struct audience *a, const Transaction *transaction, const Change *change);

enum encode {
	ENCODE_BEGIN = 1,  /* the transaction's begin comes with it */
	ENCODE_COMMIT = 2, /* its commit: the record is the last part */
	ENCODE_FORCE = 4,  /* these come even when there is nothing else */
	/*
	 * For the author. It still has its own values beside those of its echo, and takes those columns from
	 * the echo that this says were changed; but Postgres has decided about all of them. So updates go as
	 * inserts.
	 */
	ENCODE_ECHO = 8
};
/* The SatOpLog of a record for an audience, a reference for the caller; NULL: it shows nothing of it. */
struct chunk *audience_encode(struct record *record, struct audience *a, unsigned flags);
/* Frees what was made of a record. */
void audience_forget(struct record *record);

#endif
