/*
 * Positions as clients and Postgres write them.
 *
 * A client's lsn names a place in one life of the log: one decimal number, life * 2^41 + position, so that it
 * stays within 63 bits. A log that was lost or replaced begins another life, and no old lsn is taken for a
 * place in it.
 */
#ifndef LEYDEN_POSITION_H
#define LEYDEN_POSITION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define POSITION_BITS 41
#define POSITION_MAX  ((UINT64_C(1) << POSITION_BITS) - 1)
#define LIFE_MAX      ((UINT64_C(1) << 22) - 1)

#define POSITION_TEXT 24 /* room for any lsn with its NUL */

void position_format(char out[POSITION_TEXT], uint64_t life, uint64_t position);
/*
 * False: not a decimal number (a sign is allowed, as in the original). A number that fits no life or no
 * position is told as life 0, which no log has.
 */
bool position_parse(const uint8_t *text, size_t n, uint64_t *life, uint64_t *position);

/* Postgres' form of a WAL position, "16/B374D848". */
bool pg_lsn_parse(const char *text, uint64_t *lsn);
void pg_lsn_format(char out[POSITION_TEXT], uint64_t lsn);

#endif
