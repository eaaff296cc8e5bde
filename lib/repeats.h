/*
 * Which lines of the log are written, and which are counted only, so that what happens again and again
 * neither hides the rest nor fills a disk: of equal lines the first in REPEATS_WINDOW seconds, and of an
 * event no more than REPEATS_MAX lines in that time.
 */
#ifndef LEYDEN_REPEATS_H
#define LEYDEN_REPEATS_H

#include <stdbool.h>
#include <stdint.h>

#define REPEATS_WINDOW 10
#define REPEATS_MAX    500

/* A line that stands for those that were counted. `level` is what repeats_admit() was told. */
typedef void repeats_fn(int level, const char *event, const char *text);

/* May the line be written now? `event` is a literal. Lines that stand for others may go to fn before. */
bool repeats_admit(int level, const char *event, const char *text, repeats_fn *fn);
/* Writes what was counted in the time that is over, or, at the end, in all. True: some is left for later. */
bool repeats_tell(bool at_the_end, repeats_fn *fn);

/* Calls fn for each event of this level that was ever logged, with how often. */
void repeats_totals(int level, void (*fn)(void *data, const char *event, uint64_t n), void *data);

#endif
