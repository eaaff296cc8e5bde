/* The Satellite protocol's codes, rows and operations. */
#include "satellite.h"

#include <string.h>

#include "pbwire.h"

const ProtobufCMessageDescriptor *
sat_descriptor(unsigned code)
{
	static const ProtobufCMessageDescriptor *const by_code[SAT_CODES] = {
		[SAT_ERROR_RESP] = &sat_error_resp__descriptor,
		[SAT_AUTH_REQ] = &sat_auth_req__descriptor,
		[SAT_AUTH_RESP] = &sat_auth_resp__descriptor,
		[SAT_PING_REQ] = &sat_ping_req__descriptor,
		[SAT_PING_RESP] = &sat_ping_resp__descriptor,
		[SAT_START_REQ] = &sat_in_start_replication_req__descriptor,
		[SAT_START_RESP] = &sat_in_start_replication_resp__descriptor,
		[SAT_STOP_REQ] = &sat_in_stop_replication_req__descriptor,
		[SAT_STOP_RESP] = &sat_in_stop_replication_resp__descriptor,
		[SAT_OP_LOG] = &sat_op_log__descriptor,
		[SAT_RELATION] = &sat_relation__descriptor,
		[SAT_MIGRATION_NOTIFICATION] = &sat_migration_notification__descriptor,
		[SAT_SUBS_REQ] = &sat_subs_req__descriptor,
		[SAT_SUBS_RESP] = &sat_subs_resp__descriptor,
		[SAT_SUBS_DATA_ERROR] = &sat_subs_data_error__descriptor,
		[SAT_SUBS_DATA_BEGIN] = &sat_subs_data_begin__descriptor,
		[SAT_SUBS_DATA_END] = &sat_subs_data_end__descriptor,
		[SAT_SHAPE_DATA_BEGIN] = &sat_shape_data_begin__descriptor,
		[SAT_SHAPE_DATA_END] = &sat_shape_data_end__descriptor,
		[SAT_UNSUBS_REQ] = &sat_unsubs_req__descriptor,
		[SAT_UNSUBS_RESP] = &sat_unsubs_resp__descriptor,
	};

	return code < SAT_CODES ? by_code[code] : NULL;
}

SatOpRow *
sat_row(struct arena *a, const struct sat_value *values, size_t n)
{
	SatOpRow *row = arena_alloc(a, sizeof *row);
	size_t mask = (n + 7) / 8;

	sat_op_row__init(row);
	row->nulls_bitmask.data = arena_zalloc(a, mask);
	row->nulls_bitmask.len = mask;
	row->values = arena_zalloc(a, n * sizeof *row->values);
	row->n_values = n;
	for (size_t i = 0; i < n; i++) {
		if (values[i].text == NULL) {
			row->nulls_bitmask.data[i / 8] |= (uint8_t)(0x80 >> i % 8);
		} else {
			row->values[i].data = (uint8_t *)(uintptr_t)values[i].text;
			row->values[i].len = values[i].len;
		}
	}
	return row;
}

ProtobufCBinaryData
sat_op_pack(struct arena *a, enum sat_op kind, uint32_t relation, const struct sat_value *row,
    const struct sat_value *old, size_t n, char **tags, size_t n_tags)
{
	SatTransOp op = SAT_TRANS_OP__INIT;
	SatOpInsert insert = SAT_OP_INSERT__INIT;
	SatOpUpdate update = SAT_OP_UPDATE__INIT;
	SatOpDelete delete = SAT_OP_DELETE__INIT;
	ProtobufCBinaryData out;

	switch (kind) {
	case SAT_INSERT:
		insert.relation_id = relation;
		insert.row_data = sat_row(a, row, n);
		insert.tags = tags;
		insert.n_tags = n_tags;
		op.op_case = SAT_TRANS_OP__OP_INSERT;
		op.insert = &insert;
		break;
	case SAT_UPDATE:
		update.relation_id = relation;
		update.row_data = sat_row(a, row, n);
		update.old_row_data = old != NULL ? sat_row(a, old, n) : NULL;
		update.tags = tags;
		update.n_tags = n_tags;
		op.op_case = SAT_TRANS_OP__OP_UPDATE;
		op.update = &update;
		break;
	case SAT_DELETE:
		delete.relation_id = relation;
		delete.old_row_data = sat_row(a, old, n);
		delete.tags = tags;
		delete.n_tags = n_tags;
		op.op_case = SAT_TRANS_OP__OP_DELETE;
		op.delete_ = &delete;
		break;
	}
	out.len = sat_trans_op__get_packed_size(&op);
	out.data = arena_alloc(a, out.len);
	sat_trans_op__pack(&op, out.data);
	return out;
}

void
sat_oplog_add(struct buf *body, const uint8_t *op, size_t n)
{
	pb_put_bytes(body, 1, op, n);
}

bool
sat_is_null(const SatOpRow *row, size_t i)
{
	return i / 8 < row->nulls_bitmask.len && (row->nulls_bitmask.data[i / 8] & 0x80 >> i % 8) != 0;
}

/* Bytes of a length-delimited field whose number is below 16. */
static size_t
field_size(size_t n)
{
	return 1 + pb_varint_size(n) + n;
}

static uint8_t *
put_head(uint8_t *p, unsigned field, size_t n)
{
	*p++ = (uint8_t)(field << 3 | 2);
	return pb_write_varint(p, n);
}

static uint8_t *
put_field(uint8_t *p, unsigned field, const struct sat_value *v)
{
	p = put_head(p, field, v->len);
	if (v->text != NULL)
		memcpy(p, v->text, v->len);
	return p + v->len;
}

struct insert_size {
	size_t mask, row, insert, op;
};

static struct insert_size
insert_size(
    uint32_t relation, const struct sat_value *values, size_t n, const struct sat_value *tags, size_t n_tags)
{
	struct insert_size s = { .mask = (n + 7) / 8 };

	s.row = field_size(s.mask);
	for (size_t i = 0; i < n; i++)
		s.row += field_size(values[i].len);
	s.insert = 1 + pb_varint_size(relation) + field_size(s.row);
	for (size_t i = 0; i < n_tags; i++)
		s.insert += field_size(tags[i].len);
	s.op = field_size(s.insert);
	return s;
}

/* All before the values. By hand, since initial rows are many; the numbers are proto/satellite.proto's. */
static uint8_t *
put_insert_head(
    uint8_t *p, const struct insert_size *s, uint32_t relation, const struct sat_value *values, size_t n)
{
	p = put_head(p, 1, s->op);     /* SatOpLog.ops */
	p = put_head(p, 4, s->insert); /* SatTransOp.insert */
	*p++ = 1 << 3;		       /* SatOpInsert.relation_id, a varint */
	p = pb_write_varint(p, relation);
	p = put_head(p, 2, s->row);  /* SatOpInsert.row_data */
	p = put_head(p, 1, s->mask); /* SatOpRow.nulls_bitmask */
	memset(p, 0, s->mask);
	for (size_t i = 0; i < n; i++)
		if (values[i].text == NULL)
			p[i / 8] |= (uint8_t)(0x80 >> i % 8);
	return p + s->mask;
}

#define SATOPROW_VALUES	 2
#define SATOPINSERT_TAGS 3

void
sat_oplog_add_insert(struct buf *body, uint32_t relation, const struct sat_value *values, size_t n,
    const struct sat_value *tags, size_t n_tags)
{
	struct insert_size size = insert_size(relation, values, n, tags, n_tags);
	uint8_t *p = buf_room(body, field_size(size.op));

	p = put_insert_head(p, &size, relation, values, n);
	for (size_t i = 0; i < n; i++)
		p = put_field(p, SATOPROW_VALUES, &values[i]);
	for (size_t i = 0; i < n_tags; i++)
		p = put_field(p, SATOPINSERT_TAGS, &tags[i]);
	buf_added(body, field_size(size.op));
}

size_t
sat_oplog_begin_insert(struct buf *body, uint32_t relation, const struct sat_value *values, size_t n,
    const struct sat_value *tags, size_t n_tags)
{
	struct insert_size size = insert_size(relation, values, n, tags, n_tags);
	uint8_t *p =
	    buf_room(body, 5 * sizeof(uint64_t) * 2 + size.mask); /* keys, lengths and the relation */

	buf_added(body, (size_t)(put_insert_head(p, &size, relation, values, n) - p));
	return field_size(size.op);
}

void
sat_oplog_begin_value(struct buf *body, size_t n)
{
	pb_put_head(body, SATOPROW_VALUES, n);
}

void
sat_oplog_end_insert(struct buf *body, const struct sat_value *tags, size_t n_tags)
{
	for (size_t i = 0; i < n_tags; i++)
		pb_put_bytes(body, SATOPINSERT_TAGS, tags[i].text, tags[i].len);
}
