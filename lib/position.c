/* Positions as clients and Postgres write them. */
#include "position.h"

#include <inttypes.h>
#include <stdio.h>

void
position_format(char out[POSITION_TEXT], uint64_t life, uint64_t position)
{
	snprintf(out, POSITION_TEXT, "%" PRIu64, life << POSITION_BITS | position);
}

bool
position_parse(const uint8_t *text, size_t n, uint64_t *life, uint64_t *position)
{
	size_t i = 0;
	uint64_t v = 0;
	bool beyond = false;

	if (n > 0 && (text[0] == '-' || text[0] == '+'))
		beyond = text[i++] == '-';
	if (i == n)
		return false;
	for (; i < n; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		if (v > (INT64_MAX - 9) / 10)
			beyond = true;
		else
			v = v * 10 + (uint64_t)(text[i] - '0');
	}
	*life = beyond ? 0 : v >> POSITION_BITS;
	*position = v & POSITION_MAX;
	return true;
}

bool
pg_lsn_parse(const char *text, uint64_t *lsn)
{
	uint32_t high, low;
	char rest;

	if (sscanf(text, "%" SCNx32 "/%" SCNx32 "%c", &high, &low, &rest) != 2)
		return false;
	*lsn = (uint64_t)high << 32 | low;
	return true;
}

void
pg_lsn_format(char out[POSITION_TEXT], uint64_t lsn)
{
	snprintf(out, POSITION_TEXT, "%" PRIX32 "/%" PRIX32, (uint32_t)(lsn >> 32), (uint32_t)lsn);
}
