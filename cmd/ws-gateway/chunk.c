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

/* A frame with room for n bytes after the code; *body is where they go. */
static struct chunk *
frame_new(uint8_t code, size_t n, uint8_t **body)
{
	size_t payload = n + 1, head = payload < 126 ? 2 : payload < 65536 ? 4 : 10;
	struct chunk *c = chunk_new(head + payload);
	uint8_t *p = c->data;

	*p++ = 0x82; /* FIN, binary */
	if (head == 2) {
		*p++ = (uint8_t)payload;
	} else if (head == 4) {
		*p++ = 126;
		*p++ = (uint8_t)(payload >> 8);
		*p++ = (uint8_t)payload;
	} else {
		*p++ = 127;
		be64_set(p, payload);
		p += 8;
	}
	*p++ = code;
	*body = p;
	return c;
}

struct chunk *
chunk_frame(uint8_t code, const void *data, size_t n)
{
	uint8_t *body;
	struct chunk *c = frame_new(code, n, &body);

	if (n > 0)
		memcpy(body, data, n);
	return c;
}

struct chunk *
chunk_message(uint8_t code, const ProtobufCMessage *message)
{
	uint8_t *body;
	struct chunk *c = frame_new(code, protobuf_c_message_get_packed_size(message), &body);

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
