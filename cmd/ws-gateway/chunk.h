/*
 * A websocket frame as it goes to a socket, header included: servers do not mask, so the same bytes serve
 * every client, and one encoding is shared until the last socket has taken it.
 */
#ifndef WS_GATEWAY_CHUNK_H
#define WS_GATEWAY_CHUNK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <protobuf-c/protobuf-c.h>

struct chunk {
	unsigned refs;
	size_t len;
	uint8_t data[];
};

/* Bytes as they are (control frames, HTTP answers). One reference, the caller's. */
struct chunk *chunk_raw(const void *p, size_t n);
/* A binary frame: the message's code and its packed body. */
struct chunk *chunk_frame(uint8_t code, const void *body, size_t n);
/* The same of a message in several frames: `continues` one, `goes_on` in another. */
struct chunk *chunk_fragment(uint8_t code, const void *body, size_t n, bool continues, bool goes_on);
/* Which of the two it is; any other frame is neither. */
bool chunk_continues(const struct chunk *c);
bool chunk_goes_on(const struct chunk *c);
struct chunk *chunk_message(uint8_t code, const ProtobufCMessage *message);
struct chunk *chunk_ref(struct chunk *c);
void chunk_unref(struct chunk *c); /* NULL is fine */

#endif
