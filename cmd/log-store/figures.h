/* What log-store tells of itself. */
#ifndef LOG_STORE_FIGURES_H
#define LOG_STORE_FIGURES_H

#include <stdint.h>

#include "metrics.h"

/* Begins to reckon the rate. max_file: what the file may grow to, in bytes. */
void figures_open(uint64_t max_file);
char *figures_status(void); /* members, allocated */
void figures_metrics(struct metrics *m);

#endif
