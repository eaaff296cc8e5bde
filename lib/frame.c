/* Framing between tools. */
#include "frame.h"

#include "pbwire.h"

enum frame_result
frame_take(struct buf *b, uint32_t max, struct arena *a, Frame **frame)
{
	uint32_t n;

	if (b->len < 4)
		return FRAME_SHORT;
	n = be32_get(buf_data(b));
	if (n > max)
		return FRAME_TOO_LONG;
	if (b->len - 4 < n)
		return FRAME_SHORT;
	*frame = frame__unpack(arena_pb(a), n, buf_data(b) + 4);
	if (*frame == NULL || (*frame)->body_case == FRAME__BODY__NOT_SET)
		return FRAME_BAD;
	buf_take(b, n + 4);
	return FRAME_WHOLE;
}

void
frame_put(struct buf *b, Frame__BodyCase body_case, const void *message)
{
	Frame frame = FRAME__INIT;
	size_t n;

	/* Every member of the union is a pointer to a message: one of them stands for all. */
	frame.body_case = body_case;
	frame.hello = (Hello *)(uintptr_t)message;
	n = frame__get_packed_size(&frame);
	buf_put_be32(b, (uint32_t)n);
	buf_added(b, frame__pack(&frame, buf_room(b, n)));
}

void
frame_put_packed(struct buf *b, Frame__BodyCase body_case, const struct buf *body, unsigned field,
    const void *bytes, size_t n)
{
	size_t last = field != 0 ? pb_bytes_size(field, n) : 0, len = body->len + last;

	buf_put_be32(b, (uint32_t)pb_bytes_size(body_case, len));
	pb_put_head(b, body_case, len);
	buf_put(b, buf_data(body), body->len);
	if (field != 0)
		pb_put_bytes(b, field, bytes, n);
}
