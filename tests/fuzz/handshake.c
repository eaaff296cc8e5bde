/* The upgrade: whole and a byte at a time, which must come to the same. */
#include "../../cmd/ws-gateway/handshake.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct buf in = { 0 }, out = { 0 };
	enum handshake_result whole, half;
	size_t left;

	buf_put(&in, data, n);
	whole = handshake(&in, &out);
	if (in.len > n || (whole == HANDSHAKE_SHORT) != (out.len == 0))
		abort();
	left = in.len;
	buf_clear(&in);
	buf_clear(&out);
	/* Half of it first: what is decided by then stays so. */
	buf_put(&in, data, n / 2);
	half = handshake(&in, &out);
	if (half == HANDSHAKE_SHORT) {
		buf_put(&in, data + n / 2, n - n / 2);
		half = handshake(&in, &out);
		if (half != whole || in.len != left)
			abort();
	}
	buf_clear(&in);
	buf_clear(&out);
	return 0;
}
