/*
 * Framing between tools, pure: bytes in, frames out. A frame is a 4-byte big-endian length and that many
 * bytes, a protobuf Frame (proto/pipeline.proto).
 */
#ifndef LEYDEN_FRAME_H
#define LEYDEN_FRAME_H

#include <stdint.h>

#include "arena.h"
#include "buf.h"
#include "pipeline.pb-c.h"

/* No frame is longer: a row of the largest value that Postgres holds still fits with its old row's tags. */
#define FRAME_MAX (1024u * 1024 * 1024)

enum frame_result { FRAME_WHOLE, FRAME_SHORT, FRAME_TOO_LONG, FRAME_BAD };

/*
 * Takes one frame off the front of b. FRAME_WHOLE: *frame lives in the arena. FRAME_SHORT: more bytes are
 * needed, nothing was taken. FRAME_TOO_LONG, FRAME_BAD: the stream is beyond repair.
 */
enum frame_result frame_take(struct buf *b, uint32_t max, struct arena *a, Frame **frame);

/* Appends a frame whose body is `message`, of the kind that `body_case` says. */
void frame_put(struct buf *b, Frame__BodyCase body_case, const void *message);

/* The same, of a body that is packed already (pbwire.h); its last field may stand apart: n bytes, unless
 * `field` is 0. */
void frame_put_packed(struct buf *b, Frame__BodyCase body_case, const struct buf *body, unsigned field,
    const void *bytes, size_t n);

#endif
