/* The upgrade from HTTP to websocket (RFC 6455, section 4.2), pure: bytes in, an answer out. */
#ifndef WS_GATEWAY_HANDSHAKE_H
#define WS_GATEWAY_HANDSHAKE_H

#include "buf.h"

#define HANDSHAKE_MAX (16 * 1024) /* bytes of request line and headers */

enum handshake_result {
	HANDSHAKE_SHORT,    /* more bytes are needed */
	HANDSHAKE_UPGRADED, /* send the answer, then speak websocket */
	HANDSHAKE_REFUSED   /* send the answer, then close */
};

/* Takes the request off the front of `in` once it is whole; the answer is appended to `out`. */
enum handshake_result handshake(struct buf *in, struct buf *out);

#endif
