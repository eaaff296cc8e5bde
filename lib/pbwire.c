/* Protobuf assembled and looked at by hand. */
#include "pbwire.h"

#define VARINT 0u
#define LENGTH 2u

static void
put_varint(struct buf *b, uint64_t v)
{
	size_t n = pb_varint_size(v);

	pb_write_varint(buf_room(b, n), v);
	buf_added(b, n);
}

void
pb_put_uint(struct buf *b, unsigned field, uint64_t value)
{
	if (value == 0)
		return;
	put_varint(b, field << 3 | VARINT);
	put_varint(b, value);
}

size_t
pb_bytes_size(unsigned field, size_t n)
{
	return pb_varint_size(field << 3 | LENGTH) + pb_varint_size(n) + n;
}

void
pb_put_head(struct buf *b, unsigned field, size_t n)
{
	put_varint(b, field << 3 | LENGTH);
	put_varint(b, n);
}

void
pb_put_bytes(struct buf *b, unsigned field, const void *p, size_t n)
{
	pb_put_head(b, field, n);
	buf_put(b, p, n);
}

static bool
take_varint(const uint8_t **p, const uint8_t *end, uint64_t *v)
{
	*v = 0;
	for (unsigned shift = 0; *p < end && shift < 64; shift += 7) {
		uint8_t byte = *(*p)++;

		*v |= (uint64_t)(byte & 0x7f) << shift;
		if (byte < 0x80)
			return true;
	}
	return false;
}

bool
pb_next(const uint8_t **p, const uint8_t *end, struct pb_field *f)
{
	uint64_t key;

	if (*p == end)
		return false;
	if (!take_varint(p, end, &key) || !take_varint(p, end, &f->value))
		goto none;
	f->number = (unsigned)(key >> 3);
	f->bytes = NULL;
	f->len = 0;
	if ((key & 7) == VARINT)
		return true;
	if ((key & 7) != LENGTH || f->value > (uint64_t)(end - *p))
		goto none;
	f->bytes = *p;
	f->len = f->value;
	*p += f->len;
	return true;
none:
	*p = NULL;
	return false;
}
