/*
 * The delivery of a subscription's initial rows.
 *
 * A snapshot is asked for; when pg-snapshot can take it the stream to the client stands for a moment; the
 * snapshot is taken; log-store says where in the log it stands (everything up to there is visible in it, the
 * next transaction is not); the stream goes on to that place, and there the rows are sent. So what the client
 * has after them is exactly what the log holds up to there, and the stream goes on with what follows.
 */
#include "delivery.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "gateway.h"
#include "log.h"
#include "position.h"
#include "replicate.h"
#include "schema.h"
#include "upstream.h"
#include "xalloc.h"

#define GAP                                                                                                  \
	0.05 /* seconds between SatSubsResp and the rows: clients cannot take both in one turn of theirs */
#define TRIES	     8		  /* snapshots taken for one delivery before the client is told */
#define KNOWN_ORIGIN "postgres_1" /* of the transaction with rows that the client has had a part in */
#define PAUSE	     0.25	  /* seconds before the first retry after a failure; each next waits longer */

enum delivery_state {
	DELIVERY_ASKED,	  /* pg-snapshot has it in its queue */
	DELIVERY_READY,	  /* pg-snapshot waits for us; the stream is to stand at the next boundary */
	DELIVERY_MEETING, /* the stream stands; the snapshot is taken and its place in the log looked up */
	DELIVERY_MET,	  /* the stream runs to that place */
	DELIVERY_SENDING, /* the stream stands; rows are sent */
	DELIVERY_SAVING	  /* all rows are sent; log-store is told before the client is */
};

struct delivery {
	struct delivery *bucket_next;
	struct client *client;
	struct subscription *subscription;
	enum delivery_state state;
	uint32_t snapshot;
	unsigned tries;
	uint64_t position;		     /* DELIVERY_MET: where the rows belong */
	const struct table_version **tables; /* to be sent, in order */
	size_t *request_of;		     /* which request each table belongs to */
	size_t n_tables;
	size_t next_request; /* shapes begun so far */
	bool shape_open, shape_empty;
	uint64_t granted; /* bytes that pg-snapshot may still send */
	struct buf known; /* ops: rows that the client has had a part in */
	ev_timer gap;
	bool gap_over;
	ev_timer retry;
};

#define BUCKETS 1024
static struct delivery *by_snapshot[BUCKETS];

static struct delivery *
delivery_find(uint32_t snapshot)
{
	struct delivery *d = by_snapshot[snapshot % BUCKETS];

	while (d != NULL && d->snapshot != snapshot)
		d = d->bucket_next;
	return d;
}

static void
delivery_unlist(struct delivery *d)
{
	struct delivery **at = &by_snapshot[d->snapshot % BUCKETS];

	while (*at != NULL && *at != d)
		at = &(*at)->bucket_next;
	if (*at == d)
		*at = d->bucket_next;
}

static void
cancel_snapshot(struct delivery *d)
{
	CancelSnapshot cancel = CANCEL_SNAPSHOT__INIT;

	if (d->n_tables == 0)
		return;
	cancel.id = d->snapshot;
	peer_send(upstream_snapshot(), FRAME__BODY_CANCEL_SNAPSHOT, &cancel);
}

/* Ends the client's delivery, whatever its state; the stream may go on. */
static void
delivery_end(struct client *c)
{
	struct delivery *d = c->delivery;

	delivery_unlist(d);
	ev_timer_stop(loop(), &d->gap);
	ev_timer_stop(loop(), &d->retry);
	free(d->tables);
	free(d->request_of);
	buf_clear(&d->known);
	free(d);
	c->delivery = NULL;
	c->held = false;
}

void
delivery_stop(struct client *c, const struct subscription *s)
{
	if (c->delivery == NULL || c->delivery->subscription != s)
		return;
	cancel_snapshot(c->delivery);
	delivery_end(c);
}

/* The rows cannot be had: the client is told, and its subscription is no more. */
static void
delivery_fail(struct delivery *d, const char *why)
{
	struct client *c = d->client;
	struct subscription *s = d->subscription;
	SatSubsDataError error = SAT_SUBS_DATA_ERROR__INIT;

	log_warning("delivery-failed", "client_id=%s subscription=%s error=%s", log_quote(c->id),
	    s->saved->subscription_id, log_quote(why));
	error.message = (char *)(uintptr_t) "Could not retrieve initial data for subscription";
	error.subscription_id = s->saved->subscription_id;
	client_send(c, SAT_SUBS_DATA_ERROR, &error.base);
	subscription_drop(c, s);
	delivery_next(c);
	replicate_pump(c);
}

/* Takes another snapshot, after `pause` seconds. */
static void
delivery_retry(struct delivery *d, const char *why, double pause)
{
	if (++d->tries >= TRIES) {
		delivery_fail(d, why);
		return;
	}
	log_debug("snapshot-again", "client_id=%s why=%s", log_quote(d->client->id), log_quote(why));
	cancel_snapshot(d);
	d->state = DELIVERY_ASKED;
	d->client->held = false;
	ev_timer_set(&d->retry, pause, 0.);
	ev_timer_start(loop(), &d->retry);
	replicate_pump(d->client);
}

static bool
is_active(const struct client *c, uint32_t relation)
{
	return c->audience != NULL && audience_has(c->audience, relation);
}

/* The tables whose rows the client lacks: those that no active subscription of its has brought already. */
static void
choose_tables(struct delivery *d)
{
	const Subscription *saved = d->subscription->saved;

	d->n_tables = 0;
	for (size_t i = 0; i < saved->n_requests; i++) {
		for (size_t k = 0; k < saved->requests[i]->n_relations; k++) {
			uint32_t relation = saved->requests[i]->relations[k];
			const struct table_version *t = schema_table(relation);
			bool listed = false;

			for (size_t m = 0; m < d->n_tables; m++)
				listed |= d->tables[m]->def->relation == relation;
			if (t == NULL || listed || is_active(d->client, relation))
				continue;
			d->tables = xrealloc(d->tables, (d->n_tables + 1) * sizeof *d->tables);
			d->request_of = xrealloc(d->request_of, (d->n_tables + 1) * sizeof *d->request_of);
			d->tables[d->n_tables] = t;
			d->request_of[d->n_tables++] = i;
		}
	}
}

static void
take_snapshot(struct delivery *d)
{
	TakeSnapshot take = TAKE_SNAPSHOT__INIT;

	delivery_unlist(d);
	choose_tables(d);
	d->snapshot = ask_id();
	d->bucket_next = by_snapshot[d->snapshot % BUCKETS];
	by_snapshot[d->snapshot % BUCKETS] = d;
	if (d->n_tables == 0) {
		d->state = DELIVERY_MET;
		d->position = 0; /* anywhere */
		return;
	}
	d->state = DELIVERY_ASKED;
	take.id = d->snapshot;
	take.user_id = d->client->user_id;
	if (d->client->own_lsn.len > 0 || d->client->sent_lsn.len > 0)
		take.client_id = d->client->id;
	take.n_tables = d->n_tables;
	take.tables = xmalloc(d->n_tables * sizeof *take.tables);
	for (size_t i = 0; i < d->n_tables; i++)
		take.tables[i] = (Table *)(uintptr_t)d->tables[i]->def;
	peer_send(upstream_snapshot(), FRAME__BODY_TAKE_SNAPSHOT, &take);
	free(take.tables);
}

static void
on_gap(struct ev_loop *l, ev_timer *w, int events)
{
	struct delivery *d = w->data;

	(void)l;
	(void)events;
	d->gap_over = true;
	if (d->state == DELIVERY_MET)
		d->client->held = false;
	replicate_pump(d->client);
}

static void
on_retry(struct ev_loop *l, ev_timer *w, int events)
{
	(void)l;
	(void)events;
	take_snapshot(w->data);
}

/* Begins the delivery of the oldest subscription that waits for one. */
void
delivery_next(struct client *c)
{
	struct subscription *s = c->subscriptions;
	struct delivery *d;

	while (s != NULL && (s->active || !s->answered))
		s = s->next;
	if (s == NULL || c->delivery != NULL || !c->streaming || c->state != CLIENT_IN)
		return;
	d = xcalloc(1, sizeof *d);
	d->client = c;
	d->subscription = s;
	c->delivery = d;
	ev_timer_init(&d->gap, on_gap, GAP, 0.);
	d->gap.data = d;
	ev_timer_start(loop(), &d->gap);
	ev_timer_init(&d->retry, on_retry, 0., 0.);
	d->retry.data = d;
	take_snapshot(d);
}

// ---- meeting the stream

static void
on_met(void *data, const Frame *f)
{
	struct client *c = data;
	struct delivery *d = c->delivery;
	const SnapshotMet *met = f->snapshot_met;

	/* The answer may be about a snapshot that was given up since. */
	if (d == NULL || d->state != DELIVERY_MEETING || met->id != d->snapshot)
		return;
	if (met->position < c->cursor.position) {
		delivery_retry(d, "a transaction that was sent already is not visible in the snapshot", 0.);
		return;
	}
	/* A snapshot that is no prefix of the log would show half a transaction for a moment: try for one
	 * that is. */
	if (!met->exact && d->tries < TRIES / 2) {
		delivery_retry(d, "the snapshot is no prefix of the log", 0.);
		return;
	}
	d->position = met->position;
	d->state = DELIVERY_MET;
	c->held = false;
	replicate_pump(c);
}

static void
on_begun(struct delivery *d, const SnapshotBegun *begun)
{
	MeetSnapshot meet = MEET_SNAPSHOT__INIT;

	if (d->state != DELIVERY_MEETING || begun->extent == NULL)
		return;
	meet.id = d->snapshot;
	meet.extent = begun->extent;
	meet.lsn = begun->lsn;
	ask(upstream_log(), &d->client->asks, meet.id, FRAME__BODY_MEET_SNAPSHOT, &meet.base, on_met,
	    d->client);
}

static void
open_shape(struct delivery *d)
{
	SatShapeDataBegin begin = SAT_SHAPE_DATA_BEGIN__INIT;

	begin.request_id = d->subscription->saved->requests[d->next_request++]->request_id;
	client_send(d->client, SAT_SHAPE_DATA_BEGIN, &begin.base);
	d->shape_open = d->shape_empty = true;
}

static void
close_shape(struct delivery *d)
{
	SatShapeDataEnd end = SAT_SHAPE_DATA_END__INIT;
	SatOpLog none = SAT_OP_LOG__INIT;

	if (d->shape_empty)
		client_send(d->client, SAT_OP_LOG, &none.base);
	client_send(d->client, SAT_SHAPE_DATA_END, &end.base);
	d->shape_open = false;
}

/* Opens the shape of a request, and with it all before it that have no rows. */
static void
go_to_shape(struct delivery *d, size_t request)
{
	while (d->next_request <= request) {
		if (d->shape_open)
			close_shape(d);
		open_shape(d);
	}
}

/*
 * What the client has written itself it holds already, and a client up to 0.9 loses all when initial rows
 * bring it once more. So these rows come after the others, as a transaction, in which a row that is there is
 * no trouble. It is as old as can be: what the client has written since stays.
 */
static void
send_known(struct client *c, struct buf *ops)
{
	char lsn[POSITION_TEXT];
	SatOpBegin begin = SAT_OP_BEGIN__INIT;
	SatOpCommit commit = SAT_OP_COMMIT__INIT;
	SatTransOp op = SAT_TRANS_OP__INIT, *all[] = { &op };
	SatOpLog log = SAT_OP_LOG__INIT;
	struct buf body = { 0 };

	position_format(lsn, stream_life(), c->cursor.position);
	log.ops = all;
	log.n_ops = 1;
	op.op_case = SAT_TRANS_OP__OP_BEGIN;
	op.begin = &begin;
	begin.origin = (char *)(uintptr_t)KNOWN_ORIGIN;
	begin.lsn = (ProtobufCBinaryData){ strlen(lsn), (uint8_t *)lsn };
	buf_added(&body, sat_op_log__pack(&log, buf_room(&body, sat_op_log__get_packed_size(&log))));
	buf_put(&body, buf_data(ops), ops->len);
	op.op_case = SAT_TRANS_OP__OP_COMMIT;
	op.commit = &commit;
	commit.lsn = begin.lsn;
	buf_added(&body, sat_op_log__pack(&log, buf_room(&body, sat_op_log__get_packed_size(&log))));
	conn_send(c->conn, chunk_frame(SAT_OP_LOG, buf_data(&body), body.len));
	buf_clear(&body);
}

static void
on_delivered(void *data, const Frame *f)
{
	struct client *c = data;
	struct delivery *d = c->delivery;
	struct subscription *s;
	SatSubsDataEnd end = SAT_SUBS_DATA_END__INIT;

	(void)f;
	if (d == NULL || d->state != DELIVERY_SAVING)
		return;
	client_send(c, SAT_SUBS_DATA_END, &end.base);
	if (d->known.len > 0)
		send_known(c, &d->known);
	log_debug("delivered", "client_id=%s subscription=%s position=%" PRIu64, log_quote(c->id),
	    d->subscription->saved->subscription_id, d->subscription->saved->position);
	s = d->subscription;
	delivery_end(c);
	subscription_activate(c, s);
	delivery_next(c);
	replicate_pump(c);
}

/* All rows are sent. It is written down that the client has them before it is told that these were all. */
static void
finish(struct delivery *d)
{
	Subscription *saved = d->subscription->saved;

	go_to_shape(d, saved->n_requests - 1);
	close_shape(d);
	saved->delivered = true;
	saved->position = d->client->cursor.position;
	d->state = DELIVERY_SAVING;
	subscription_save(d->client, d->subscription, on_delivered);
}

static bool
tables_have_changed(const struct delivery *d)
{
	for (size_t i = 0; i < d->n_tables; i++)
		if (schema_table_at(d->tables[i]->def->relation, d->client->cursor.position) != d->tables[i])
			return true;
	return false;
}

static void
begin_sending(struct delivery *d)
{
	struct client *c = d->client;
	SatSubsDataBegin begin = SAT_SUBS_DATA_BEGIN__INIT;
	char lsn[POSITION_TEXT];

	if (tables_have_changed(d)) {
		delivery_retry(d, "a table was altered meanwhile", 0.);
		return;
	}
	for (size_t i = 0; i < d->n_tables; i++)
		replicate_announce(c, d->tables[i]);
	position_format(lsn, stream_life(), c->cursor.position);
	begin.subscription_id = d->subscription->saved->subscription_id;
	begin.lsn = (ProtobufCBinaryData){ strlen(lsn), (uint8_t *)lsn };
	client_send(c, SAT_SUBS_DATA_BEGIN, &begin.base);
	c->held = true;
	d->state = DELIVERY_SENDING;
	if (d->n_tables == 0)
		finish(d);
	else
		delivery_grant(c);
}

bool
delivery_at(struct client *c)
{
	struct delivery *d = c->delivery;
	BeginSnapshot begin = BEGIN_SNAPSHOT__INIT;

	if (d == NULL || c->cursor.part != WHOLE)
		return false;
	if (d->state == DELIVERY_READY) {
		c->held = true;
		d->state = DELIVERY_MEETING;
		begin.id = d->snapshot;
		peer_send(upstream_snapshot(), FRAME__BODY_BEGIN_SNAPSHOT, &begin);
		return true;
	}
	if (d->state != DELIVERY_MET || c->cursor.position < d->position)
		return false;
	c->held = true;
	if (d->gap_over)
		begin_sending(d);
	return true;
}

void
delivery_grant(struct client *c)
{
	struct delivery *d = c->delivery;
	SendRows send = SEND_ROWS__INIT;
	uint64_t room = gateway_client_buffer();

	if (d == NULL || d->state != DELIVERY_SENDING || d->n_tables == 0 ||
	    conn_pending(c->conn) + d->granted > room / 2)
		return;
	send.id = d->snapshot;
	send.bytes = (uint32_t)(room - conn_pending(c->conn) - d->granted);
	d->granted += send.bytes;
	peer_send(upstream_snapshot(), FRAME__BODY_SEND_ROWS, &send);
}

static void
on_rows(struct delivery *d, const RowsRead *rows)
{
	if (d->state != DELIVERY_SENDING)
		return;
	for (size_t i = 0; i < d->n_tables; i++)
		if (d->tables[i]->def->relation == rows->relation)
			go_to_shape(d, d->request_of[i]);
	d->shape_empty = false;
	conn_send(d->client->conn, chunk_frame(SAT_OP_LOG, rows->ops.data, rows->ops.len));
	d->granted -= rows->ops.len < d->granted ? rows->ops.len : d->granted;
	delivery_grant(d->client);
}

static void
on_failed(struct delivery *d, const char *message)
{
	if (d->state == DELIVERY_SENDING)
		delivery_fail(d, message); /* rows that were sent cannot be taken back */
	else
		delivery_retry(d, message, PAUSE * d->tries);
}

void
delivery_snapshot_frame(const Frame *f)
{
	struct delivery *d;

	switch (f->body_case) {
	case FRAME__BODY_SNAPSHOT_READY:
		if ((d = delivery_find(f->snapshot_ready->id)) != NULL && d->state == DELIVERY_ASKED) {
			d->state = DELIVERY_READY;
			replicate_pump(d->client);
		}
		break;
	case FRAME__BODY_SNAPSHOT_BEGUN:
		if ((d = delivery_find(f->snapshot_begun->id)) != NULL)
			on_begun(d, f->snapshot_begun);
		break;
	case FRAME__BODY_ROWS_READ:
		if ((d = delivery_find(f->rows_read->id)) != NULL)
			on_rows(d, f->rows_read);
		break;
	case FRAME__BODY_SNAPSHOT_ENDED:
		if ((d = delivery_find(f->snapshot_ended->id)) != NULL && d->state == DELIVERY_SENDING) {
			buf_put(&d->known, f->snapshot_ended->known.data, f->snapshot_ended->known.len);
			finish(d);
		}
		break;
	case FRAME__BODY_SNAPSHOT_FAILED:
		if ((d = delivery_find(f->snapshot_failed->id)) != NULL)
			on_failed(d, f->snapshot_failed->message);
		break;
	default:
		break;
	}
}

void
delivery_snapshot_lost(struct client *c)
{
	struct delivery *d = c->delivery;

	if (d == NULL || d->state == DELIVERY_SAVING)
		return;
	if (d->state == DELIVERY_SENDING) {
		delivery_fail(d, "pg-snapshot was lost while it sent rows");
		return;
	}
	c->held = false;
	ev_timer_stop(loop(), &d->retry);
	take_snapshot(d);
	replicate_pump(c);
}
