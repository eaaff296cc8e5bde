/* What gateways ask for: who takes part in which snapshot, and the rows on their way to them. */
#include "snapshot.h"

#include <inttypes.h>
#include <stdlib.h>

#include "log.h"
#include "pbwire.h"
#include "reading.h"
#include "xalloc.h"

#define PATIENCE 0.05 /* seconds that a snapshot waits for the last of those who take part in it */

/* Who takes part in a reading. */
struct taker {
	struct taker *next;
	struct peer *peer;
	uint32_t id;
	double asked;	  /* loop time */
	bool stands;	  /* asked to begin */
	bool open, whole; /* has granted bytes; the next block may be longer than those */
	uint64_t credit;  /* bytes */
	struct block *at; /* which is next; NULL: none yet */
};

/* What snapshot.c keeps of a reading. */
struct party {
	struct reading *reading;
	struct taker *takers;
	ev_timer patience;
	bool fed; /* it is in no need of feeding */
	struct party *next_hungry;
};

static struct party *hungry;
static ev_prepare feeder;
static struct histogram waits, lengths; /* for a connection; from asking until the last row is sent */
static uint64_t n_failed;

// ---- takers

static struct party *
party_of(const struct reading *r)
{
	return r->owner_data;
}

static struct taker *
find(const struct peer *peer, uint32_t id, struct party **party)
{
	for (struct reading *r = reading_first(); r != NULL; r = r->next) {
		*party = party_of(r);
		for (struct taker *t = (*party)->takers; t != NULL; t = t->next)
			if (t->peer == peer && t->id == id)
				return t;
	}
	return NULL;
}

static void
party_free(struct party *p)
{
	while (p->takers != NULL) {
		struct taker *t = p->takers;

		p->takers = t->next;
		free(t);
	}
	for (struct party **at = &hungry; *at != NULL; at = &(*at)->next_hungry) {
		if (*at == p) {
			*at = p->next_hungry;
			break;
		}
	}
	ev_timer_stop(loop(), &p->patience);
	free(p);
}

/* The taker has its next block, or wants it no more. */
static void
pass_block(struct party *p, struct taker *t)
{
	struct block *b = t->at;

	t->at = b->next;
	if (--b->left == 0)
		reading_drop_block(p->reading);
}

/* Takes it out; false: the reading is gone with its last. */
static bool
leave(struct party *p, struct taker *t)
{
	struct taker **at = &p->takers;

	while (t->at != NULL)
		pass_block(p, t);
	while (*at != t)
		at = &(*at)->next;
	*at = t->next;
	free(t);
	if (--p->reading->takers > 0)
		return true;
	reading_free(p->reading);
	party_free(p);
	return false;
}

// ---- beginning

static void
tell_ready(const struct taker *t)
{
	SnapshotReady ready = SNAPSHOT_READY__INIT;

	histogram_observe(&waits, ev_now(loop()) - t->asked);
	ready.id = t->id;
	peer_send(t->peer, FRAME__BODY_SNAPSHOT_READY, &ready);
}

static void
tell_begun(struct reading *r, const struct taker *t)
{
	SnapshotBegun begun = SNAPSHOT_BEGUN__INIT;

	begun.id = t->id;
	begun.extent = &r->extent;
	begun.lsn = r->lsn;
	peer_send(t->peer, FRAME__BODY_SNAPSHOT_BEGUN, &begun);
}

static void
on_begun(struct reading *r)
{
	for (struct taker *t = party_of(r)->takers; t != NULL; t = t->next)
		if (t->stands)
			tell_begun(r, t);
}

/* Begins once all who take part stand at their place in the stream. */
static void
begin_if_all_stand(struct party *p)
{
	bool all = true;

	for (const struct taker *t = p->takers; t != NULL; t = t->next)
		all &= t->stands;
	if (!all || p->reading->state != READING_READY)
		return;
	ev_timer_stop(loop(), &p->patience);
	reading_begin(p->reading);
}

static void
on_ready(struct reading *r)
{
	for (struct taker *t = party_of(r)->takers; t != NULL; t = t->next)
		if (!t->stands)
			tell_ready(t);
	begin_if_all_stand(party_of(r));
}

static void
on_patience(struct ev_loop *l, ev_timer *w, int events)
{
	struct party *p = w->data;

	(void)l;
	(void)events;
	if (p->reading->state == READING_READY)
		reading_begin(p->reading);
}

// ---- rows

static bool
may_take(const struct taker *t)
{
	return t->at != NULL && t->open && (t->at->len <= t->credit || t->whole);
}

/* One frame for all of the taker's peer that can take this block now. False: the reading is gone. */
static bool
send_block(struct party *p, struct taker *first)
{
	const struct block *b = first->at;
	const uint8_t *rows = block_data(b);
	const struct peer *peer = first->peer;
	struct buf body = { 0 };

	if (rows == NULL) {
		SnapshotFailed failed = SNAPSHOT_FAILED__INIT;

		failed.id = first->id;
		failed.message = (char *)(uintptr_t) "what was read of the rows is lost";
		peer_send(first->peer, FRAME__BODY_SNAPSHOT_FAILED, &failed);
		return leave(p, first);
	}
	for (struct taker *t = first; t != NULL; t = t->next)
		if (t->peer == peer && t->at == b && may_take(t))
			pb_put_uint(&body, 1, t->id);
	pb_put_uint(&body, 2, b->relation);
	pb_put_uint(&body, 3, b->count);
	pb_put_uint(&body, 5, b->known);
	pb_put_uint(&body, 6, b->continues);
	pb_put_uint(&body, 7, b->goes_on);
	peer_send_with(first->peer, FRAME__BODY_ROWS_READ, &body, 4, rows, b->len);
	buf_clear(&body);
	for (struct taker *t = first; t != NULL; t = t->next) {
		bool last = b->left == 1;

		if (t->peer != peer || t->at != b || !may_take(t))
			continue;
		t->credit -= b->len < t->credit ? b->len : t->credit;
		t->whole = false;
		pass_block(p, t);
		if (last)
			break; /* and the block is gone */
	}
	return true;
}

/* Sends what can be sent. False: the reading is gone. */
static bool
feed(struct party *p)
{
	for (struct taker *t = p->takers, *next; t != NULL; t = next) {
		next = t->next;
		while (may_take(t)) {
			struct block *b = t->at;

			if (!send_block(p, t))
				return false;
			if (t->at == b)
				break;
		}
		if (t->at == NULL && t->open && p->reading->state == READING_WHOLE) {
			SnapshotEnded ended = SNAPSHOT_ENDED__INIT;

			histogram_observe(&lengths, ev_now(loop()) - t->asked);
			ended.id = t->id;
			peer_send(t->peer, FRAME__BODY_SNAPSHOT_ENDED, &ended);
			if (!leave(p, t))
				return false;
		}
	}
	return true;
}

/* At the end of each turn: then those who keep step can be served by one frame. */
static void
on_turn_end(struct ev_loop *l, ev_prepare *w, int events)
{
	(void)l;
	(void)w;
	(void)events;
	while (hungry != NULL) {
		struct party *p = hungry;

		hungry = p->next_hungry;
		p->fed = true;
		feed(p);
	}
}

static void
mark_hungry(struct party *p)
{
	if (!p->fed)
		return;
	p->fed = false;
	p->next_hungry = hungry;
	hungry = p;
}

static void
on_grown(struct reading *r, struct block *b)
{
	for (struct taker *t = party_of(r)->takers; t != NULL; t = t->next)
		if (t->at == NULL)
			t->at = b;
	mark_hungry(party_of(r));
}

static void
on_whole(struct reading *r)
{
	mark_hungry(party_of(r));
}

static void
on_failed(struct reading *r, const char *why, uint32_t too_long)
{
	struct party *p = party_of(r);
	SnapshotFailed failed = SNAPSHOT_FAILED__INIT;

	n_failed++;
	failed.message = (char *)(uintptr_t)why;
	failed.too_long = too_long;
	for (struct taker *t = p->takers; t != NULL; t = t->next) {
		failed.id = t->id;
		peer_send(t->peer, FRAME__BODY_SNAPSHOT_FAILED, &failed);
	}
	party_free(p);
}

// ---- what gateways ask

static void
on_take(struct peer *peer, const Frame *f)
{
	struct reading *r = reading_find(f->take_snapshot);
	struct taker *t = xcalloc(1, sizeof *t), **at;
	struct party *p;

	t->peer = peer;
	t->id = f->take_snapshot->id;
	t->asked = ev_now(loop());
	if (r == NULL) {
		r = reading_new(f->take_snapshot);
		p = xcalloc(1, sizeof *p);
		p->reading = r;
		p->fed = true;
		ev_init(&p->patience, on_patience);
		p->patience.data = p;
		r->owner_data = p;
	}
	p = party_of(r);
	for (at = &p->takers; *at != NULL; at = &(*at)->next)
		;
	*at = t;
	r->takers++;
	if (r->state == READING_READY)
		tell_ready(t);
	else
		reading_dispatch();
}

static void
on_begin(struct peer *peer, const Frame *f)
{
	struct party *p;
	struct taker *t = find(peer, f->begin_snapshot->id, &p);

	if (t == NULL || t->stands)
		return;
	t->stands = true;
	if (p->reading->state >= READING_BEGUN) {
		tell_begun(p->reading, t);
	} else if (p->reading->state == READING_READY) {
		if (!ev_is_active(&p->patience)) {
			ev_timer_set(&p->patience, PATIENCE, 0.);
			ev_timer_start(loop(), &p->patience);
		}
		begin_if_all_stand(p);
	}
}

static void
on_send(struct peer *peer, const Frame *f)
{
	struct party *p;
	struct taker *t = find(peer, f->send_rows->id, &p);

	if (t == NULL)
		return;
	t->credit += f->send_rows->bytes;
	t->open |= f->send_rows->bytes > 0;
	t->whole |= f->send_rows->whole;
	reading_go(p->reading);
	mark_hungry(p);
}

static void
on_cancel(struct peer *peer, const Frame *f)
{
	struct party *p;
	struct taker *t = find(peer, f->cancel_snapshot->id, &p);

	if (t != NULL && leave(p, t))
		begin_if_all_stand(p);
}

const struct handler snapshot_handlers[] = {
	{ FRAME__BODY_TAKE_SNAPSHOT, "ws-gateway", on_take },
	{ FRAME__BODY_BEGIN_SNAPSHOT, "ws-gateway", on_begin },
	{ FRAME__BODY_SEND_ROWS, "ws-gateway", on_send },
	{ FRAME__BODY_CANCEL_SNAPSHOT, "ws-gateway", on_cancel },
	{ 0 },
};

/* Takes one that is the peer's out of its reading; false: there is none. */
static bool
leave_one(const struct peer *peer)
{
	for (struct reading *r = reading_first(); r != NULL; r = r->next) {
		struct party *p = party_of(r);

		for (struct taker *t = p->takers; t != NULL; t = t->next) {
			if (t->peer != peer)
				continue;
			if (leave(p, t))
				begin_if_all_stand(p);
			return true;
		}
	}
	return false;
}

void
snapshot_peer_down(struct peer *peer)
{
	while (leave_one(peer))
		;
}

void
snapshot_open(const char *url, unsigned connections, uint64_t max_row, unsigned instance)
{
	static const struct reading_hooks hooks = { on_ready, on_begun, on_grown, on_whole, on_failed };

	reading_open(url, connections, max_row, instance, &hooks);
	ev_prepare_init(&feeder, on_turn_end);
	ev_set_priority(&feeder, 1); /* before the frames of the turn go out */
	ev_prepare_start(loop(), &feeder);
	ev_unref(loop());
}

char *
snapshot_status(void)
{
	unsigned readings, queued, connections, takers = 0;

	reading_count(&readings, &queued, &connections);
	for (const struct reading *r = reading_first(); r != NULL; r = r->next)
		takers += r->takers;
	return xasprintf(
	    "\"snapshots\":%u,\"queued\":%u,\"takers\":%u,\"connections\":%u,\"spooled\":%" PRIu64, readings,
	    queued, takers, connections, spool_in_file());
}

void
snapshot_metrics(struct metrics *m)
{
	unsigned readings, queued, connections;

	reading_count(&readings, &queued, &connections);
	metrics_gauge(m, "leyden_snapshots", "Snapshots that are wanted.", readings);
	metrics_gauge(m, "leyden_snapshots_queued", "Of them, those that wait for a connection.", queued);
	metrics_counter(
	    m, "leyden_failed_snapshots_total", "Snapshots that were given up.", (double)n_failed);
	metrics_gauge(
	    m, "leyden_snapshots_spooled_bytes", "Rows that wait in a file.", (double)spool_in_file());
	metrics_histogram(m, "leyden_snapshot_queued_seconds",
	    "Time that a client waits for a snapshot to begin.", "", &waits);
	metrics_histogram(m, "leyden_snapshot_seconds",
	    "Time from asking for a snapshot until its last row is sent.", "", &lengths);
}
