/*
 * Memory for a transaction of any size: the first of it is the heap's, the rest is a temporary file that is
 * mapped. Its pages are the kernel's to write out, so the process stays small whatever a transaction holds.
 */
#ifndef LEYDEN_SPOOL_H
#define LEYDEN_SPOOL_H

#include <stdint.h>

#include "arena.h"

/*
 * The file is made in `dir` when it is first needed; its name is gone at once, so it never outlives the
 * process. `max` is the most that is ever asked for, in bytes. When the disk has no room, the process ends
 * with EX_IOERR and a line that says so: whoever starts it again tries again.
 */
void spool_open(const char *dir, uint64_t max);
extern const struct arena_source spool_source;

/* Lets go of the file's pages that are in memory; they come back when they are touched. */
void spool_relax(void);

#endif
