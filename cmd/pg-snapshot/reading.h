/*
 * One snapshot of Postgres: a read-only transaction whose rows are read once for all who asked for the same,
 * as fast as Postgres gives them, and put into blocks that each of those takes at its own pace.
 */
#ifndef PG_SNAPSHOT_READING_H
#define PG_SNAPSHOT_READING_H

#include <stdbool.h>
#include <stdint.h>

#include "arena.h"
#include "pipeline.pb-c.h"
#include "rows.h"
#include "spool.h"

enum reading_state {
	READING_QUEUED,	   /* waits for a connection, then for the tables' locks */
	READING_READY,	   /* has them */
	READING_BEGINNING, /* the snapshot is being taken */
	READING_BEGUN,	   /* and was; extent and lsn are there */
	READING_ROWS,	   /* rows come */
	READING_WHOLE	   /* all of them have; the connection is another's */
};

struct reading {
	struct reading *next; /* in the order in which they were asked for */
	enum reading_state state;
	const TakeSnapshot *take;
	struct buf key;	  /* what those who may share it have in common */
	unsigned takers;  /* how many will take each block from now on; the owner's */
	void *owner_data; /* the owner's */
	SnapshotExtent extent;
	uint64_t lsn;
	struct block *first, *last; /* that not all have taken */
	/* the rest is reading.c's own */
	struct arena memory;
	struct worker *worker;
	size_t table;	     /* which is being read, or is next */
	bool known, waiting; /* the client's own rows are being read; there is no room for more blocks */
	size_t held;	     /* bytes of its blocks in memory */
	struct buf rows;     /* of the table that are in no block yet */
	uint32_t count;	     /* how many */
	bool continues;	     /* they go on with the row that the last block began */
	struct buf wide;     /* the COPY of the table's long rows, if it may have any */
	bool in_wide;	     /* and it is under way */
	struct wide_row row; /* which it is at */
};

struct reading_hooks {
	void (*ready)(struct reading *r);
	void (*begun)(struct reading *r);
	void (*grown)(struct reading *r, struct block *b); /* another block, the last now */
	void (*whole)(struct reading *r);		   /* that was the last one */
	/* It is freed after that. too_long: the relation of which a row is over the limit; 0: something else.
	 */
	void (*failed)(struct reading *r, const char *why, uint32_t too_long);
};

/* max_row: bytes of a row, as COPY writes it. */
void reading_open(const char *url, unsigned connections, uint64_t max_row, unsigned instance,
    const struct reading_hooks *hooks);
/* One that has not begun and that who asks for this may share; NULL: there is none. */
struct reading *reading_find(const TakeSnapshot *take);
/* Another one, at the end of the queue. `take` is copied. */
struct reading *reading_new(const TakeSnapshot *take);
/* Gives the free connections to the oldest that wait. */
void reading_dispatch(void);
/* Takes the snapshot; it is ready. */
void reading_begin(struct reading *r);
/* It is wanted: reads the rows, unless that is under way. */
void reading_go(struct reading *r);
/* The first block has been taken by all. */
void reading_drop_block(struct reading *r);
/* Nobody wants it any more: frees it. */
void reading_free(struct reading *r);

/* For the status: readings, of them without a connection, and connections. */
void reading_count(unsigned *readings, unsigned *queued, unsigned *connections);
struct reading *reading_first(void);

#endif
