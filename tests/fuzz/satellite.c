/*
 * Satellite messages: a frame's code and body; what parses is whole, and packs. And the texts in them: the
 * protocol's version, positions.
 */
#include "satellite.h"

#include <stdlib.h>
#include <string.h>

#include "../../cmd/ws-gateway/version.h"
#include "position.h"
#include "xalloc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void
read_texts(const uint8_t *data, size_t n)
{
	char *text = xmemdup0(data, n), formatted[POSITION_TEXT];
	uint64_t life, position, lsn;

	version_check(text);
	if (position_parse(data, n, &life, &position) && life != 0) {
		uint64_t life_again, position_again;

		position_format(formatted, life, position);
		if (!position_parse((uint8_t *)formatted, strlen(formatted), &life_again, &position_again) ||
		    life_again != life || position_again != position)
			abort();
	}
	pg_lsn_parse(text, &lsn);
	free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const ProtobufCMessageDescriptor *type = n > 0 ? sat_descriptor(data[0]) : NULL;
	struct arena a = { 0 };
	ProtobufCMessage *m;
	uint8_t *packed;
	size_t len;

	read_texts(data, n);
	if (type == NULL || (m = protobuf_c_message_unpack(type, arena_pb(&a), n - 1, data + 1)) == NULL) {
		arena_clear(&a);
		return 0;
	}
	len = protobuf_c_message_get_packed_size(m);
	packed = arena_alloc(&a, len + 1);
	if (protobuf_c_message_pack(m, packed) != len)
		abort();
	if (!protobuf_c_message_check(m))
		abort();
	arena_clear(&a);
	return 0;
}
