/*
 * Protobuf assembled by hand: for messages that carry others which are already packed, so that what was
 * encoded once is copied and never encoded again.
 */
#ifndef LEYDEN_PBWIRE_H
#define LEYDEN_PBWIRE_H

#include <stdint.h>

#include "buf.h"

/* A varint field; zero, the default, is left out. */
void pb_put_uint(struct buf *b, unsigned field, uint64_t value);
/* A length-delimited field: string, bytes or packed message. */
void pb_put_bytes(struct buf *b, unsigned field, const void *p, size_t n);

#endif
