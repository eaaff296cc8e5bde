/*
 * Protobuf assembled and looked at by hand: for messages that carry others which are already packed, so that
 * what was encoded once is copied and never encoded again.
 */
#ifndef LEYDEN_PBWIRE_H
#define LEYDEN_PBWIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"

/* A varint alone: its size. */
static inline size_t
pb_varint_size(uint64_t v)
{
	size_t n = 1;

	while (v >>= 7)
		n++;
	return n;
}

/* Where it ends after it was written to p. */
static inline uint8_t *
pb_write_varint(uint8_t *p, uint64_t v)
{
	for (; v > 0x7f; v >>= 7)
		*p++ = (uint8_t)(v | 0x80);
	*p++ = (uint8_t)v;
	return p;
}

/* A varint field; zero, the default, is left out. */
void pb_put_uint(struct buf *b, unsigned field, uint64_t value);
/* A length-delimited field: string, bytes or packed message. */
void pb_put_bytes(struct buf *b, unsigned field, const void *p, size_t n);
/* What comes before those bytes; and the size of both. */
void pb_put_head(struct buf *b, unsigned field, size_t n);
size_t pb_bytes_size(unsigned field, size_t n);

/* A field of a packed message, of one of the two kinds above. */
struct pb_field {
	unsigned number;
	uint64_t value;	      /* a varint's */
	const uint8_t *bytes; /* of a length-delimited field, in the message; NULL: it is a varint */
	size_t len;
};
/* Takes the next field off *p. False at the end, or with *p = NULL where the message is none. */
bool pb_next(const uint8_t **p, const uint8_t *end, struct pb_field *field);

#endif
