/* A websocket frame as it goes to a socket. */
#include "chunk.h"

#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "xalloc.h"

static struct chunk *
chunk_new(size_t n)
{
	struct chunk *c = xmalloc(sizeof *c + n);

	c->refs = 1;
	c->len = n;
	return c;
}

struct chunk *
chunk_raw(const void *p, size_t n)
{
	struct chunk *c = chunk_new(n);

	memcpy(c->data, p, n);
	return c;
}

#define FIN    0x80
#define OPCODE 0x0f
#define BINARY 2 /* the opcode of a message's first frame; the others' is 0 */

/* A frame with room for n bytes; *body is where they go. */
static struct chunk *
frame_new(uint8_t first, size_t n, uint8_t **body)
{
	size_t head = n < 126 ? 2 : n < 65536 ? 4 : 10;
	struct chunk *c = chunk_new(head + n);
	uint8_t *p = c->data;

	*p++ = first;
	if (head == 2) {
		*p++ = (uint8_t)n;
	} else if (head == 4) {
		*p++ = 126;
		*p++ = (uint8_t)(n >> 8);
		*p++ = (uint8_t)n;
	} else {
		*p++ = 127;
		be64_set(p, n);
		p += 8;
	}
	*body = p;
	return c;
}

struct chunk *
chunk_fragment(uint8_t code, const void *data, size_t n, bool continues, bool goes_on)
{
	uint8_t *body;
	struct chunk *c = frame_new((goes_on ? 0 : FIN) | (continues ? 0 : BINARY), n + !continues, &body);

	if (!continues)
		*body++ = code;
	if (n > 0)
		memcpy(body, data, n);
	return c;
}

bool
chunk_continues(const struct chunk *c)
{
	return (c->data[0] & OPCODE) == 0;
}

bool
chunk_goes_on(const struct chunk *c)
{
	return !(c->data[0] & FIN);
}

struct chunk *
chunk_frame(uint8_t code, const void *data, size_t n)
{
	return chunk_fragment(code, data, n, false, false);
}

struct chunk *
chunk_message(uint8_t code, const ProtobufCMessage *message)
{
	uint8_t *body;
	struct chunk *c = frame_new(FIN | BINARY, 1 + protobuf_c_message_get_packed_size(message), &body);

	*body++ = code;
	protobuf_c_message_pack(message, body);
	return c;
}

struct chunk *
chunk_ref(struct chunk *c)
{
	c->refs++;
	return c;
}

void
chunk_unref(struct chunk *c)
{
	if (c != NULL && --c->refs == 0)
		free(c);
}
