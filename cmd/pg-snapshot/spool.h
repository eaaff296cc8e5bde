/*
 * Blocks of rows that wait to be taken: in memory, and beyond a limit in a temporary file. The file is made
 * when it is first needed and its name is gone at once, so it never outlives the process; what has been taken
 * gives its room on the disk back.
 */
#ifndef PG_SNAPSHOT_SPOOL_H
#define PG_SNAPSHOT_SPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "buf.h"

struct block {
	struct block *next; /* the owner's, and so is all up to len */
	unsigned left;	    /* who have not taken it yet */
	uint32_t relation, count;
	bool known;
	bool goes_on, continues; /* a row that is longer than a block: in the next, from the one before */
	size_t len;
	uint8_t *mem; /* NULL: it is in the file */
	off_t at;
};

/* `memory` and `file`: bytes in each, at most. */
void spool_open(const char *dir, uint64_t memory, uint64_t file);
/* May one more block be put by who holds so many bytes in memory? Everybody has room for a few blocks. */
bool spool_room(size_t held);
/* Takes over the bytes, none of which were consumed. */
struct block *block_put(struct buf *rows);
/* Its bytes, good until the next call; NULL with a log line: the file cannot be read. */
const uint8_t *block_data(const struct block *b);
void block_free(struct block *b);
/* Bytes in the file. */
uint64_t spool_in_file(void);

#endif
