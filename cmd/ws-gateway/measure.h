/*
 * How much of the log lies after a position, in bytes: exact at the ends of what was read, in between and
 * before that as if all transactions were of one size.
 */
#ifndef WS_GATEWAY_MEASURE_H
#define WS_GATEWAY_MEASURE_H

#include <stdint.h>

/* Begins with the log as log-store tells it: so many bytes from the position `first` to `last`. */
void measure_begin(uint64_t first, uint64_t last, uint64_t bytes);
/* The log has grown by so many bytes, up to and with this position. */
void measure_add(uint64_t position, uint64_t bytes);
uint64_t measure_after(uint64_t position);

#endif
