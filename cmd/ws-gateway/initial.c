/* Initial rows on the wire. */
#include "initial.h"

#include <stdio.h>
#include <string.h>

#include "position.h"

/* A zero in front: the same number to who reads it, and clients give back what they got. */
#define KNOWN_MARK '0'

/* The client's place in the stream as the protocol writes it, with or without the mark; static. */
static ProtobufCBinaryData
lsn_of(const struct client *c, bool known)
{
	static char lsn[1 + POSITION_TEXT] = { KNOWN_MARK };
	char *text = known ? lsn : lsn + 1;

	position_format(lsn + 1, stream_life(), c->cursor.position);
	return (ProtobufCBinaryData){ strlen(text), (uint8_t *)text };
}

bool
initial_is_known(const ProtobufCBinaryData *lsn)
{
	return lsn->len > 0 && lsn->data[0] == KNOWN_MARK;
}

void
initial_begin(struct client *c, const Subscription *saved)
{
	SatSubsDataBegin begin = SAT_SUBS_DATA_BEGIN__INIT;

	begin.subscription_id = saved->subscription_id;
	begin.lsn = lsn_of(c, false);
	client_send(c, SAT_SUBS_DATA_BEGIN, &begin.base);
}

static void
close_shape(struct initial *i, struct client *c)
{
	SatShapeDataEnd end = SAT_SHAPE_DATA_END__INIT;
	SatOpLog none = SAT_OP_LOG__INIT;

	if (i->shape_empty)
		client_send(c, SAT_OP_LOG, &none.base);
	client_send(c, SAT_SHAPE_DATA_END, &end.base);
	i->shape_open = false;
}

/* Opens the shape of a request, and with it all before it that have no rows. */
static void
go_to_shape(struct initial *i, struct client *c, const Subscription *saved, size_t request)
{
	while (i->next_request <= request) {
		SatShapeDataBegin begin = SAT_SHAPE_DATA_BEGIN__INIT;

		if (i->shape_open)
			close_shape(i, c);
		begin.request_id = saved->requests[i->next_request++]->request_id;
		client_send(c, SAT_SHAPE_DATA_BEGIN, &begin.base);
		i->shape_open = i->shape_empty = true;
	}
}

void
initial_rows(
    struct initial *i, struct client *c, const Subscription *saved, size_t request, struct chunk *rows)
{
	go_to_shape(i, c, saved, request);
	i->shape_empty = false;
	conn_send(c->conn, rows);
}

void
initial_end(struct initial *i, struct client *c, const Subscription *saved)
{
	go_to_shape(i, c, saved, saved->n_requests - 1);
	close_shape(i, c);
}

static void
send_op(struct client *c, SatTransOp *op)
{
	SatOpLog log = SAT_OP_LOG__INIT;

	log.ops = &op;
	log.n_ops = 1;
	client_send(c, SAT_OP_LOG, &log.base);
}

void
initial_known(struct initial *i, struct client *c, struct chunk *rows)
{
	char origin[32];
	SatTransOp op = SAT_TRANS_OP__INIT;
	SatOpBegin begin = SAT_OP_BEGIN__INIT;

	if (!i->in_known) {
		snprintf(origin, sizeof origin, SAT_POSTGRES_ORIGIN, 1u);
		begin.origin = origin;
		begin.lsn = lsn_of(c, true);
		op.op_case = SAT_TRANS_OP__OP_BEGIN;
		op.begin = &begin;
		send_op(c, &op);
		i->in_known = true;
	}
	conn_send(c->conn, rows);
}

void
initial_known_end(struct initial *i, struct client *c)
{
	SatTransOp op = SAT_TRANS_OP__INIT;
	SatOpCommit commit = SAT_OP_COMMIT__INIT;

	if (!i->in_known)
		return;
	commit.lsn = lsn_of(c, true);
	op.op_case = SAT_TRANS_OP__OP_COMMIT;
	op.commit = &commit;
	send_op(c, &op);
}
