/*
 * The Satellite protocol's codes, rows and operations: what ws-gateway, pg-ingest, pg-snapshot and the test
 * client build alike. The messages themselves are proto/satellite.proto's.
 */
#ifndef LEYDEN_SATELLITE_H
#define LEYDEN_SATELLITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arena.h"
#include "buf.h"
#include "satellite.pb-c.h"

/* The first byte of a websocket frame. */
enum sat_code {
	SAT_ERROR_RESP = 0,
	SAT_AUTH_REQ = 1,
	SAT_AUTH_RESP = 2,
	SAT_PING_REQ = 3,
	SAT_PING_RESP = 4,
	SAT_START_REQ = 5,
	SAT_START_RESP = 6,
	SAT_STOP_REQ = 7,
	SAT_STOP_RESP = 8,
	SAT_OP_LOG = 9,
	SAT_RELATION = 10,
	SAT_MIGRATION_NOTIFICATION = 11,
	SAT_SUBS_REQ = 12,
	SAT_SUBS_RESP = 13,
	SAT_SUBS_DATA_ERROR = 14,
	SAT_SUBS_DATA_BEGIN = 15,
	SAT_SUBS_DATA_END = 16,
	SAT_SHAPE_DATA_BEGIN = 17,
	SAT_SHAPE_DATA_END = 18,
	SAT_UNSUBS_REQ = 19,
	SAT_UNSUBS_RESP = 20,
	SAT_CODES
};

/* The message type behind a code; NULL for a code that there is not. */
const ProtobufCMessageDescriptor *sat_descriptor(unsigned code);

/* What Postgres' own writes carry as origin and in tags; %u is the instance. */
#define SAT_POSTGRES_ORIGIN "postgres_%u"

/* A column's value: text as Postgres writes it, or NULL. */
struct sat_value {
	const uint8_t *text; /* NULL: the value is NULL, and len 0 */
	size_t len;
};

/* A SatOpRow of n values; it points at the values' text and lives in the arena. */
SatOpRow *sat_row(struct arena *a, const struct sat_value *values, size_t n);

enum sat_op { SAT_INSERT, SAT_UPDATE, SAT_DELETE };

/*
 * A SatTransOp, packed, in the arena. `row` and `old` have n values each; an insert has no `old`, a delete no
 * `row`. `tags` are in wire form.
 */
ProtobufCBinaryData sat_op_pack(struct arena *a, enum sat_op kind, uint32_t relation,
    const struct sat_value *row, const struct sat_value *old, size_t n, char **tags, size_t n_tags);

/* Appends a packed SatTransOp to the body of a SatOpLog: field 1, its length, its bytes. */
void sat_oplog_add(struct buf *body, const uint8_t *op, size_t n);
/* The same of an insert that is not packed yet, of n values. */
void sat_oplog_add_insert(struct buf *body, uint32_t relation, const struct sat_value *values, size_t n,
    const struct sat_value *tags, size_t n_tags);
/*
 * The same in pieces: begins with what comes before the values, of which the lengths count and which are
 * NULL; then each value is begun and its bytes are appended, and the end follows. Returns the bytes of all
 * that.
 */
size_t sat_oplog_begin_insert(struct buf *body, uint32_t relation, const struct sat_value *values, size_t n,
    const struct sat_value *tags, size_t n_tags);
void sat_oplog_begin_value(struct buf *body, size_t n);
void sat_oplog_end_insert(struct buf *body, const struct sat_value *tags, size_t n_tags);

/* The row's value is NULL: its bit in the mask is set, the first the highest of its byte. */
bool sat_is_null(const SatOpRow *row, size_t column);

#endif
