/*
 * The delivery of a subscription's initial rows.
 *
 * A snapshot is asked for; when pg-snapshot can take it the stream to the client stands for a moment; the
 * snapshot is taken; log-store says where in the log it stands (everything up to there is visible in it, the
 * next transaction is not); the stream goes on to that place, and there the rows are sent. So what the client
 * has after them is exactly what the log holds up to there, and the stream goes on with what follows.
 */
#include "delivery_state.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "gateway.h"
#include "log.h"
#include "replicate.h"
#include "schema.h"
#include "upstream.h"
#include "xalloc.h"

#define GAP                                                                                                  \
	0.05	/* seconds between SatSubsResp and the rows: clients cannot take both in one turn of theirs */
#define TRIES 8 /* snapshots that may fail for one delivery before the client is told */

/* Ends the client's delivery, whatever its state; the stream may go on. */
static void
delivery_end(struct client *c)
{
	struct delivery *d = c->delivery;

	delivery_forget_snapshot(d);
	ev_timer_stop(loop(), &d->gap);
	ev_timer_stop(loop(), &d->retry);
	for (size_t i = 0; i < d->n_known; i++)
		chunk_unref(d->known[i]);
	free(d->known);
	free(d->tables);
	free(d->request_of);
	arena_clear(&d->memory);
	free(d);
	c->delivery = NULL;
	c->held = false;
}

void
delivery_stop(struct client *c, const struct subscription *s)
{
	if (c->delivery == NULL || c->delivery->subscription != s)
		return;
	if (c->state != CLIENT_GONE && conn_in_message(c->conn)) {
		c->delivery->subscription = NULL; /* the row is still sent to its end */
		return;
	}
	delivery_cancel_snapshot(c->delivery);
	delivery_end(c);
}

/* Which request a table belongs to; n_requests: none. */
static size_t
request_of(const struct delivery *d, uint32_t relation)
{
	for (size_t i = 0; i < d->n_tables; i++)
		if (d->tables[i]->def->relation == relation)
			return d->request_of[i];
	return d->subscription->saved->n_requests;
}

/* The rows cannot be had: the client is told, and its subscription is no more. too_long: the relation of
 * which a row is over the limit; 0: something else is wrong. */
static void
delivery_fail(struct delivery *d, const char *why, uint32_t too_long)
{
	struct client *c = d->client;
	struct subscription *s = d->subscription;
	SatSubsDataError error = SAT_SUBS_DATA_ERROR__INIT;
	SatSubsDataError__ShapeReqError limit = SAT_SUBS_DATA_ERROR__SHAPE_REQ_ERROR__INIT,
					*limits[] = { &limit };
	size_t request;

	log_warning("delivery-failed", "%s subscription=%s error=%s", client_name(c),
	    s != NULL ? s->saved->subscription_id : "", log_quote(why));
	if (d->state >= DELIVERY_SAVING || d->only_known || conn_in_message(c->conn)) {
		/* The client would take what it has for all, or what is said now for the row's end. */
		client_close(c, "its initial rows could not be read to the end");
		return;
	}
	request = request_of(d, too_long);
	error.message = (char *)(uintptr_t) "Could not retrieve initial data for subscription";
	error.subscription_id = s->saved->subscription_id;
	if (request < s->saved->n_requests) {
		error.code = SAT_SUBS_DATA_ERROR__CODE__SHAPE_DELIVERY_ERROR;
		error.shape_request_error = limits;
		error.n_shape_request_error = 1;
		limit.code = SAT_SUBS_DATA_ERROR__SHAPE_REQ_ERROR__CODE__SHAPE_SIZE_LIMIT_EXCEEDED;
		limit.message = (char *)(uintptr_t)why;
		limit.request_id = s->saved->requests[request]->request_id;
	}
	client_send(c, SAT_SUBS_DATA_ERROR, &error.base);
	subscription_drop(c, s);
	delivery_next(c);
	replicate_pump(c);
}

// ---- beginning

static void
on_retry(struct ev_loop *l, ev_timer *w, int events)
{
	struct delivery *d = w->data;

	(void)l;
	(void)events;
	delivery_ask(d);
	replicate_pump(d->client);
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

/* log-store knows that the client lacks known rows, however far the stream goes until they are sent. */
static void
on_owed(void *data, const Frame *f)
{
	struct client *c = data;

	(void)f;
	if (c->delivery == NULL || c->delivery->state != DELIVERY_OWED)
		return;
	c->held = false;
	delivery_ask(c->delivery);
	replicate_pump(c);
}

void
delivery_next(struct client *c)
{
	struct subscription *s = c->subscriptions;
	struct delivery *d;

	while (s != NULL && ((s->active && !s->owes) || !s->answered))
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
	ev_init(&d->retry, on_retry);
	d->retry.data = d;
	d->only_known = s->owes;
	if (s->owes) {
		c->held = true;
		s->saved->known_at = UINT64_MAX;
		subscription_save(c, s, on_owed);
	} else {
		delivery_ask(d);
	}
}

// ---- rows

/* All is sent. */
static void
deliver(struct delivery *d)
{
	struct client *c = d->client;
	struct subscription *s = d->subscription;

	initial_known_end(&d->initial, c);
	log_debug("delivered", "%s subscription=%s position=%" PRIu64, client_name(c),
	    s->saved->subscription_id, s->saved->position);
	delivery_end(c);
	subscription_activate(c, s);
	delivery_next(c);
	replicate_pump(c);
}

static void
on_saved(void *data, const Frame *f)
{
	struct client *c = data;
	struct delivery *d = c->delivery;
	SatSubsDataEnd end = SAT_SUBS_DATA_END__INIT;

	(void)f;
	if (d == NULL || d->state != DELIVERY_SAVING)
		return;
	if (!d->only_known)
		client_send(c, SAT_SUBS_DATA_END, &end.base);
	d->state = DELIVERY_KNOWN;
	for (size_t i = 0; i < d->n_known; i++)
		initial_known(&d->initial, c, d->known[i]);
	d->n_known = 0;
	if (d->ended)
		deliver(d);
	else
		delivery_grant(c);
}

/* All rows but known ones are sent. It is written down that the client has them before it is told that these
 * were all. */
static void
finish(struct delivery *d, bool known_follow)
{
	struct subscription *s = d->subscription;

	initial_end(&d->initial, d->client, s->saved);
	s->saved->delivered = true;
	s->saved->position = d->client->cursor.position;
	s->saved->known_at = known_follow ? s->saved->position : 0;
	if (!d->exact)
		subscription_keep_extent(s, d->extent, d->tables, d->n_tables);
	d->state = DELIVERY_SAVING;
	subscription_save(d->client, s, on_saved);
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

	if (tables_have_changed(d)) {
		delivery_ask_again(d, "a table was altered meanwhile", 0.);
		return;
	}
	for (size_t i = 0; i < d->n_tables; i++)
		replicate_announce(c, d->tables[i]);
	c->held = true;
	if (d->only_known) {
		d->subscription->saved->known_at = c->cursor.position;
		d->state = DELIVERY_SAVING;
		subscription_save(c, d->subscription, on_saved);
		return;
	}
	initial_begin(c, d->subscription->saved);
	d->state = DELIVERY_SENDING;
	if (d->n_tables == 0) {
		d->ended = true;
		finish(d, false);
	} else {
		delivery_grant(c);
	}
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
		peer_send(d->peer, FRAME__BODY_BEGIN_SNAPSHOT, &begin);
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
	uint64_t room = gateway_client_buffer(), waiting = conn_pending(c->conn);
	bool idle = waiting == 0;

	if (d == NULL || (d->state != DELIVERY_SENDING && d->state != DELIVERY_KNOWN) || d->ended ||
	    (waiting + d->granted > room / 2 && (!idle || d->whole)))
		return;
	d->whole = idle;
	delivery_grant_bytes(d, room - (waiting + d->granted < room ? waiting + d->granted : room));
}

/* Of a delivery that was stopped within a row: the row's next frame. */
static void
on_row_rest(struct delivery *d, struct chunk *chunk)
{
	struct client *c = d->client;

	conn_send(c->conn, chunk_ref(chunk));
	if (conn_in_message(c->conn)) {
		delivery_grant(c);
		return;
	}
	delivery_cancel_snapshot(d);
	delivery_end(c);
	delivery_next(c);
	replicate_pump(c);
}

/* Rows have come, which others may share. */
static void
on_rows(struct delivery *d, const RowsRead *rows, struct chunk *chunk)
{
	struct client *c = d->client;
	const Subscription *saved;

	if (d->state < DELIVERY_SENDING)
		return;
	d->granted -= rows->ops.len < d->granted ? rows->ops.len : d->granted;
	d->whole = false;
	if (d->subscription == NULL) {
		on_row_rest(d, chunk);
		return;
	}
	saved = d->subscription->saved;
	if (rows->known && d->state == DELIVERY_SENDING)
		finish(d, true);
	if (d->state == DELIVERY_SENDING) {
		for (size_t i = 0; i < d->n_tables; i++)
			if (d->tables[i]->def->relation == rows->relation)
				initial_rows(&d->initial, c, saved, d->request_of[i], chunk_ref(chunk));
	} else if (d->state == DELIVERY_KNOWN) {
		initial_known(&d->initial, c, chunk_ref(chunk));
	} else {
		d->known = xrealloc(d->known, (d->n_known + 1) * sizeof(struct chunk *));
		d->known[d->n_known++] = chunk_ref(chunk);
	}
	delivery_grant(c);
}

static void
on_ended(struct delivery *d)
{
	d->ended = true;
	if (d->state == DELIVERY_SENDING)
		finish(d, false);
	else if (d->state == DELIVERY_KNOWN)
		deliver(d);
}

static void
on_failed(struct delivery *d, const SnapshotFailed *f)
{
	/* Rows that were sent cannot be taken back. */
	if (d->state >= DELIVERY_SENDING || f->too_long != 0 || ++d->failures >= TRIES)
		delivery_fail(d, f->message, f->too_long);
	else
		delivery_ask_again(d, f->message, DELIVERY_PAUSE * d->failures);
}

static void
share_rows(const RowsRead *rows)
{
	struct chunk *chunk =
	    chunk_fragment(SAT_OP_LOG, rows->ops.data, rows->ops.len, rows->continues, rows->goes_on);
	struct delivery *d;

	for (size_t i = 0; i < rows->n_ids; i++)
		if ((d = delivery_of_snapshot(rows->ids[i])) != NULL)
			on_rows(d, rows, chunk);
	chunk_unref(chunk);
}

void
delivery_snapshot_frame(const Frame *f)
{
	struct delivery *d;

	switch (f->body_case) {
	case FRAME__BODY_SNAPSHOT_READY:
		if ((d = delivery_of_snapshot(f->snapshot_ready->id)) != NULL && d->state == DELIVERY_ASKED) {
			d->state = DELIVERY_READY;
			replicate_pump(d->client);
		}
		break;
	case FRAME__BODY_SNAPSHOT_BEGUN:
		if ((d = delivery_of_snapshot(f->snapshot_begun->id)) != NULL)
			delivery_begun(d, f->snapshot_begun);
		break;
	case FRAME__BODY_ROWS_READ:
		share_rows(f->rows_read);
		break;
	case FRAME__BODY_SNAPSHOT_ENDED:
		if ((d = delivery_of_snapshot(f->snapshot_ended->id)) != NULL)
			on_ended(d);
		break;
	case FRAME__BODY_SNAPSHOT_FAILED:
		if ((d = delivery_of_snapshot(f->snapshot_failed->id)) != NULL)
			on_failed(d, f->snapshot_failed);
		break;
	default:
		break;
	}
}

static void
take_anew(struct delivery *d)
{
	d->client->held = false;
	ev_timer_stop(loop(), &d->retry);
	delivery_ask(d);
	replicate_pump(d->client);
}

void
delivery_snapshot_lost(struct client *c, const struct peer *peer)
{
	struct delivery *d = c->delivery;

	if (d == NULL || d->ended || d->peer != peer)
		return;
	if (d->state >= DELIVERY_SENDING)
		delivery_fail(d, "pg-snapshot was lost while it sent rows", 0);
	else
		take_anew(d);
}

void
delivery_leader_moved(struct client *c)
{
	struct delivery *d = c->delivery;

	if (d == NULL || d->state >= DELIVERY_MET)
		return;
	delivery_cancel_snapshot(d);
	take_anew(d);
}
