/* Frames between the tools: a stream of bytes, whole and in pieces, is the same frames. */
#include <stdlib.h>
#include <string.h>

#include "frame.h"

#define MAX 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Takes what is whole; counts it. */
static enum frame_result
take(struct buf *b, struct arena *a, unsigned *count)
{
	enum frame_result r;
	Frame *f;

	while ((r = frame_take(b, MAX, a, &f)) == FRAME_WHOLE) {
		size_t n = frame__get_packed_size(f);

		if (frame__pack(f, arena_alloc(a, n + 1)) != n)
			abort();
		++*count;
	}
	return r;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct buf whole = { 0 }, pieces = { 0 };
	struct arena a = { 0 };
	unsigned in_whole = 0, in_pieces = 0;
	enum frame_result one, other = FRAME_SHORT;

	buf_put(&whole, data, n);
	one = take(&whole, &a, &in_whole);
	for (size_t i = 0; i < n && other == FRAME_SHORT; i++) {
		buf_put(&pieces, data + i, 1);
		other = take(&pieces, &a, &in_pieces);
	}
	if (one != other || in_whole != in_pieces)
		abort();
	buf_clear(&whole);
	buf_clear(&pieces);
	arena_clear(&a);
	return 0;
}
