/* Asking for a delivery's snapshot, and where in the log it stands. */
#include <stdlib.h>

#include "delivery_state.h"
#include "log.h"
#include "replicate.h"
#include "schema.h"
#include "upstream.h"
#include "xalloc.h"

#define PREFIXES    4	 /* snapshots tried for one that is a prefix of the log */
#define SOON	    0.01 /* seconds before another where the snapshot came too early; doubles */
#define LATEST	    1.0
#define BEHIND_LOUD 8 /* such snapshots before the log tells of them */

#define BUCKETS 1024
static struct delivery *by_snapshot[BUCKETS];

struct delivery *
delivery_of_snapshot(uint32_t snapshot)
{
	struct delivery *d = by_snapshot[snapshot % BUCKETS];

	while (d != NULL && d->snapshot != snapshot)
		d = d->bucket_next;
	return d;
}

void
delivery_forget_snapshot(struct delivery *d)
{
	struct delivery **at = &by_snapshot[d->snapshot % BUCKETS];

	while (*at != NULL && *at != d)
		at = &(*at)->bucket_next;
	if (*at == d)
		*at = d->bucket_next;
}

void
delivery_cancel_snapshot(struct delivery *d)
{
	CancelSnapshot cancel = CANCEL_SNAPSHOT__INIT;

	if (d->n_tables == 0)
		return;
	cancel.id = d->snapshot;
	peer_send(d->peer, FRAME__BODY_CANCEL_SNAPSHOT, &cancel);
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
			if (t == NULL || listed || (!d->only_known && is_active(d->client, relation)))
				continue;
			d->tables = xrealloc(d->tables, (d->n_tables + 1) * sizeof *d->tables);
			d->request_of = xrealloc(d->request_of, (d->n_tables + 1) * sizeof *d->request_of);
			d->tables[d->n_tables] = t;
			d->request_of[d->n_tables++] = i;
		}
	}
}

void
delivery_ask(struct delivery *d)
{
	TakeSnapshot take = TAKE_SNAPSHOT__INIT;

	delivery_forget_snapshot(d);
	choose_tables(d);
	d->snapshot = ask_id();
	d->bucket_next = by_snapshot[d->snapshot % BUCKETS];
	by_snapshot[d->snapshot % BUCKETS] = d;
	d->exact = true;
	if (d->n_tables == 0) {
		d->state = DELIVERY_MET;
		d->position = 0; /* anywhere */
		return;
	}
	d->state = DELIVERY_ASKED;
	d->peer = upstream_snapshot();
	take.id = d->snapshot;
	take.user_id = d->client->user_id;
	if (d->client->own_lsn.len > 0 || d->client->sent_lsn.len > 0)
		take.client_id = d->client->id;
	take.only_known = d->only_known;
	take.n_tables = d->n_tables;
	take.tables = xmalloc(d->n_tables * sizeof *take.tables);
	for (size_t i = 0; i < d->n_tables; i++)
		take.tables[i] = (Table *)(uintptr_t)d->tables[i]->def;
	peer_send(d->peer, FRAME__BODY_TAKE_SNAPSHOT, &take);
	free(take.tables);
}

void
delivery_ask_again(struct delivery *d, const char *why, double pause)
{
	log_debug("snapshot-again", "%s why=%s", client_name(d->client), log_quote(why));
	delivery_cancel_snapshot(d);
	delivery_forget_snapshot(d);
	d->state = DELIVERY_ASKED;
	d->client->held = false;
	ev_timer_set(&d->retry, pause, 0.);
	ev_timer_start(loop(), &d->retry);
	replicate_pump(d->client);
}

// ---- meeting the stream

void
delivery_grant_bytes(struct delivery *d, uint64_t bytes)
{
	SendRows send = SEND_ROWS__INIT;

	send.id = d->snapshot;
	send.bytes = (uint32_t)bytes;
	send.whole = d->whole;
	d->granted += bytes;
	peer_send(d->peer, FRAME__BODY_SEND_ROWS, &send);
}

/* It does not hold all that the client was sent: Postgres may show a commit later than the log does, for as
 * long as it waits for a standby. */
static void
wait_for_visibility(struct delivery *d)
{
	double pause = SOON * (double)(1u << (d->behind < 10 ? d->behind : 10));

	if (++d->behind == BEHIND_LOUD)
		log_warning("snapshot-waits", "%s note=%s", client_name(d->client),
		    log_quote(
			"Postgres does not show yet what is in its WAL; is a synchronous standby away?"));
	delivery_ask_again(d, "a transaction that was sent already is not visible in the snapshot",
	    d->behind == 1   ? 0.
	    : pause < LATEST ? pause
			     : LATEST);
}

static void
on_met(void *data, const Frame *f)
{
	struct client *c = data;
	struct delivery *d = c->delivery;
	const SnapshotMet *met = f->snapshot_met;

	/* The answer may be about a snapshot that was given up since. */
	if (d == NULL || d->state != DELIVERY_MEETING || met->id != d->snapshot)
		return;
	if (met->astray) {
		delivery_ask_again(d, "another Postgres leads", DELIVERY_PAUSE);
		return;
	}
	if (met->position < c->cursor.position) {
		wait_for_visibility(d);
		return;
	}
	/* Where the client has other tables, one that is no prefix of the log would show half a transaction
	 * for a moment: try for one that is. */
	if (!met->exact && c->audience->n > 0 && ++d->prefixes < PREFIXES) {
		delivery_ask_again(d, "the snapshot is no prefix of the log", 0.);
		return;
	}
	d->exact = met->exact;
	d->position = met->position;
	d->state = DELIVERY_MET;
	d->whole = false;
	delivery_grant_bytes(d, 0);
	c->held = false;
	replicate_pump(c);
}

void
delivery_begun(struct delivery *d, const SnapshotBegun *begun)
{
	MeetSnapshot meet = MEET_SNAPSHOT__INIT;
	uint8_t *packed;
	size_t n;

	if (d->state != DELIVERY_MEETING || begun->extent == NULL)
		return;
	n = snapshot_extent__get_packed_size(begun->extent);
	arena_reset(&d->memory);
	packed = arena_alloc(&d->memory, n);
	snapshot_extent__pack(begun->extent, packed);
	d->extent = snapshot_extent__unpack(arena_pb(&d->memory), n, packed);
	meet.id = d->snapshot;
	meet.extent = begun->extent;
	meet.lsn = begun->lsn;
	ask(upstream_log(), &d->client->asks, meet.id, FRAME__BODY_MEET_SNAPSHOT, &meet.base, on_met,
	    d->client);
}
