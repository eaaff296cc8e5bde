/* Protobuf assembled by hand. */
#include "pbwire.h"

#define VARINT 0u
#define LENGTH 2u

static void
put_varint(struct buf *b, uint64_t v)
{
	uint8_t p[10];
	size_t n = 0;

	do {
		p[n] = (uint8_t)(v & 0x7f);
		v >>= 7;
		if (v != 0)
			p[n] |= 0x80;
		n++;
	} while (v != 0);
	buf_put(b, p, n);
}

void
pb_put_uint(struct buf *b, unsigned field, uint64_t value)
{
	if (value == 0)
		return;
	put_varint(b, field << 3 | VARINT);
	put_varint(b, value);
}

void
pb_put_bytes(struct buf *b, unsigned field, const void *p, size_t n)
{
	put_varint(b, field << 3 | LENGTH);
	put_varint(b, n);
	buf_put(b, p, n);
}
