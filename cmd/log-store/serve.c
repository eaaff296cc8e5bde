/*
 * What log-store answers.
 *
 * An answer that promises durability leaves after the commit of its turn (store_after_commit). A read that
 * finds nothing waits in a list until a commit brings something. Every list is of peers' requests, so it is
 * bounded by what the few tools have under way; when a peer goes, its entries go.
 */
#include "serve.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lead.h"
#include "log.h"
#include "pbwire.h"
#include "registry.h"
#include "service.h"
#include "store.h"
#include "translog.h"
#include "writes.h"
#include "xalloc.h"

#define PROBE_EVERY 0.5		  /* seconds between attempts to write after a failure */
#define PAGE_MAX    (1024 * 1024) /* bytes in one answer to a read, but for a longer record */

/* A request that is answered later. */
struct waiting {
	struct waiting *next;
	struct peer *peer; /* NULL: it has gone */
	enum { WAIT_LOG, WAIT_WRITES, WAIT_MEET, WAIT_COMMIT } kind;
	Frame__BodyCase answer; /* WAIT_COMMIT: what to answer */
	uint32_t id, part, max_bytes;
	unsigned instance; /* WAIT_MEET: where the snapshot was taken; WAIT_LOG: who is taken to lead */
	uint64_t life, after, lsn, echo;
	bool duplicate;
	uint64_t xmin, xmax;
	uint64_t *xip;
	size_t n_xip;
};

static struct waiting *waiting_list; /* for something to read */
static struct waiting *commit_list;  /* for the commit of this turn */
static ev_timer probe;
static ev_timer take_own_again;
/* What the new leader wrote while it followed goes into the log first. */
static enum { OWN_SETTLED, OWN_TO_TAKE, OWN_TAKEN } own;

/* An instance of Postgres. */
static struct instance {
	struct peer *ingest;	     /* the pg-ingest that may append */
	bool wants_opening, goes_on; /* it waits until the file can be written; what it is told then */
	bool streams;		     /* its Postgres is there */
	uint64_t wal_lsn;	     /* where its WAL ended then */
	struct peer *publish;
} instances[DATABASES_MAX + 1];

#define EACH_INSTANCE(n) for (unsigned n = 1; n <= DATABASES_MAX; n++)

static void
free_waiting(struct waiting *w)
{
	free(w->xip);
	free(w);
}

// ---- readers of the log

static void
send_log(struct peer *peer, uint32_t id, uint64_t after, uint32_t part, uint32_t max_bytes, bool gone)
{
	struct buf body = { 0 };

	pb_put_uint(&body, 1, id);
	if (gone || !translog_read(after, part, max_bytes < PAGE_MAX ? max_bytes : PAGE_MAX, &body, 2)) {
		pb_put_uint(&body, 3, 1);
		pb_put_uint(&body, 4, translog_visible());
	}
	peer_send_packed(peer, FRAME__BODY_LOG_READ, &body);
	buf_clear(&body);
}

static void
send_writes(struct peer *peer, uint64_t after, uint32_t max_bytes)
{
	struct buf body = { 0 };

	writes_read(after, max_bytes < PAGE_MAX ? max_bytes : PAGE_MAX, &body, 1);
	pb_put_uint(&body, 2, after);
	peer_send_packed(peer, FRAME__BODY_WRITES_READ, &body);
	buf_clear(&body);
}

static void
send_met(struct peer *peer, uint32_t id, const SnapshotExtent *extent, bool astray)
{
	SnapshotMet met = SNAPSHOT_MET__INIT;
	bool exact;

	met.id = id;
	met.astray = astray;
	met.position = translog_meet(extent, &exact);
	met.exact = exact;
	peer_send(peer, FRAME__BODY_SNAPSHOT_MET, &met);
}

/* Does another Postgres lead than the reader takes to? 0: it does not care. */
static bool
is_another(unsigned leader)
{
	return leader != 0 && leader != translog_leader();
}

/* Answers a waiting request if it can be answered now. */
static bool
answer_waiting(struct waiting *w)
{
	bool gone;
	SnapshotExtent extent = SNAPSHOT_EXTENT__INIT;

	switch (w->kind) {
	case WAIT_LOG:
		gone = w->life != translog_life() || is_another(w->instance);
		if (!gone && translog_visible() <= w->after)
			return false;
		send_log(w->peer, w->id, w->after, w->part, w->max_bytes, gone);
		return true;
	case WAIT_WRITES:
		if (writes_last() <= w->after)
			return false;
		send_writes(w->peer, w->after, w->max_bytes);
		return true;
	case WAIT_MEET:
		if (w->instance == translog_leader() && translog_passed_lsn(w->instance) < w->lsn)
			return false;
		extent.xmin = w->xmin;
		extent.xmax = w->xmax;
		extent.xip = w->xip;
		extent.n_xip = w->n_xip;
		send_met(w->peer, w->id, &extent, w->instance != translog_leader());
		return true;
	case WAIT_COMMIT:
		break;
	}
	return false;
}

/* Answers it now, or puts it in the list. Takes it over. */
static void
wait_for(struct waiting *w)
{
	if (answer_waiting(w)) {
		free_waiting(w);
		return;
	}
	w->next = waiting_list;
	waiting_list = w;
}

static void
serve_waiting(void)
{
	for (struct waiting **at = &waiting_list; *at != NULL;) {
		struct waiting *w = *at;

		if (w->peer == NULL || answer_waiting(w)) {
			*at = w->next;
			free_waiting(w);
		} else {
			at = &w->next;
		}
	}
}

static struct waiting *
waiting_new(struct peer *peer, int kind)
{
	struct waiting *w = xcalloc(1, sizeof *w);

	w->peer = peer;
	w->kind = kind;
	return w;
}

static void
read_log(struct peer *peer, const Frame *f)
{
	const ReadLog *r = f->read_log;
	struct waiting *w;

	if (r->life != translog_life() || r->after > translog_visible() || r->after + 1 < translog_first() ||
	    is_another(r->leader)) {
		send_log(peer, r->id, 0, 0, 0, true);
		return;
	}
	w = waiting_new(peer, WAIT_LOG);
	w->id = r->id;
	w->instance = r->leader;
	w->life = r->life;
	w->after = r->after;
	w->part = r->part;
	w->max_bytes = r->max_bytes;
	wait_for(w);
}

static void
read_schema(struct peer *peer, const Frame *f)
{
	struct buf body = { 0 };

	pb_put_uint(&body, 1, f->read_schema->id);
	pb_put_uint(&body, 2, translog_life());
	pb_put_uint(&body, 3, translog_first());
	pb_put_uint(&body, 4, translog_visible());
	translog_read_schema(&body, 5);
	pb_put_uint(&body, 6, translog_life() != 0);
	pb_put_uint(&body, 7, translog_leader());
	pb_put_uint(&body, 8, translog_bytes());
	peer_send_packed(peer, FRAME__BODY_SCHEMA_READ, &body);
	buf_clear(&body);
}

static void
meet_snapshot(struct peer *peer, const Frame *f)
{
	const MeetSnapshot *m = f->meet_snapshot;
	struct waiting *w;

	if (m->extent == NULL) {
		peer_close(peer, "MeetSnapshot without an extent");
		return;
	}
	w = waiting_new(peer, WAIT_MEET);
	w->id = m->id;
	w->instance = m->extent->instance;
	w->lsn = m->lsn;
	w->xmin = m->extent->xmin;
	w->xmax = m->extent->xmax;
	w->n_xip = m->extent->n_xip;
	w->xip = xmalloc(w->n_xip * sizeof *w->xip);
	if (w->n_xip > 0)
		memcpy(w->xip, m->extent->xip, w->n_xip * sizeof *w->xip);
	wait_for(w);
}

// ---- answers that wait for the commit of the turn

/* Whose pg-ingest it is; 0: nobody's. */
static unsigned
instance_of(const struct peer *ingest)
{
	EACH_INSTANCE(n)
	if (instances[n].ingest == ingest)
		return n;
	return 0;
}

static void
after_commit(void *data, bool ok)
{
	struct waiting *w = data;

	for (struct waiting **at = &commit_list; *at != NULL; at = &(*at)->next) {
		if (*at == w) {
			*at = w->next;
			break;
		}
	}
	if (w->peer != NULL && w->answer == FRAME__BODY_WRITE_APPENDED) {
		WriteAppended done = WRITE_APPENDED__INIT;

		done.id = w->id;
		done.duplicate = w->duplicate;
		done.echo_position = w->echo;
		done.failed = !ok;
		peer_send(w->peer, w->answer, &done);
	} else if (w->peer != NULL && w->answer == FRAME__BODY_LOG_APPENDED) {
		LogAppended done = LOG_APPENDED__INIT;

		lead_read_on();
		done.commit_lsn = translog_passed_lsn(instance_of(w->peer));
		if (ok)
			peer_send(w->peer, w->answer, &done);
		else
			peer_close(w->peer, "what it appended could not be stored; it will send it again");
	} else if (w->peer != NULL && w->answer == FRAME__BODY_SUBSCRIPTION_SAVED) {
		SubscriptionSaved done = SUBSCRIPTION_SAVED__INIT;

		done.id = w->id;
		if (ok)
			peer_send(w->peer, w->answer, &done);
		else
			peer_close(w->peer, "a subscription could not be stored");
	}
	free_waiting(w);
}

static struct waiting *
answer_after_commit(struct peer *peer, Frame__BodyCase answer, uint32_t id)
{
	struct waiting *w = waiting_new(peer, WAIT_COMMIT);

	w->answer = answer;
	w->id = id;
	w->next = commit_list;
	commit_list = w;
	store_after_commit(after_commit, w);
	return w;
}

/* One LogAppended a turn is enough. */
static void
answer_ingest_after_commit(struct peer *peer)
{
	for (struct waiting *w = commit_list; w != NULL; w = w->next)
		if (w->peer == peer && w->answer == FRAME__BODY_LOG_APPENDED)
			return;
	answer_after_commit(peer, FRAME__BODY_LOG_APPENDED, 0);
}

static void
on_commit(bool ok)
{
	translog_committed(ok);
	writes_committed(ok);
	serve_waiting();
}

// ---- what a pg-publish is to know first

static void
tell_publisher(unsigned instance)
{
	WritesOpened opened = WRITES_OPENED__INIT;
	char life[64];

	lead_lost_sight(instance);
	if (instances[instance].publish == NULL || (own != OWN_SETTLED && instance == translog_leader()))
		return;
	/* One that leads again takes what is left of the log of writes, whatever it took the last time. */
	snprintf(life, sizeof life, "%s", writes_life());
	if (translog_leads() > 0)
		snprintf(life, sizeof life, "%s %" PRIu32, writes_life(), translog_leads());
	opened.life = life;
	opened.last = writes_last();
	opened.follows = instance != translog_leader();
	opened.log_life = translog_life();
	opened.log_last = translog_visible();
	opened.log_since = translog_led_until(instance);
	opened.introductions = translog_introductions(instance);
	peer_send(instances[instance].publish, FRAME__BODY_WRITES_OPENED, &opened);
}

/* What they read from may be another log now. */
static void
tell_publishers(void *data, bool ok)
{
	(void)data;
	EACH_INSTANCE(n)
	if (ok)
		tell_publisher(n);
}

static void
open_writes(struct peer *peer, const Frame *f)
{
	unsigned instance = f->open_writes->instance;

	if (instance < 1 || instance > DATABASES_MAX) {
		peer_close(peer, "OpenWrites of no instance");
		return;
	}
	instances[instance].publish = peer;
	tell_publisher(instance);
}

// ---- pg-ingest

static void
tell_opened(unsigned instance, bool new_life)
{
	struct buf body = { 0 };

	pb_put_uint(&body, 1, new_life);
	pb_put_uint(&body, 2, translog_passed_lsn(instance));
	if (!new_life)
		translog_read_schema(&body, 3);
	peer_send_packed(instances[instance].ingest, FRAME__BODY_LOG_OPENED, &body);
	buf_clear(&body);
}

/* What this turn still holds is stored: pg-ingest can be told where the log ends. */
static void
opened(void *data, bool ok)
{
	struct instance *i = data;
	unsigned instance = (unsigned)(i - instances);

	if (i->ingest == NULL)
		return;
	if (!ok) {
		peer_close(i->ingest, "the log cannot be written");
		return;
	}
	tell_opened(instance, !i->goes_on);
	if (i->goes_on && i->streams)
		lead_came(instance, i->wal_lsn);
}

static void
answer_ingest(unsigned instance)
{
	translog_drop_tail(instance);
	store_after_commit(opened, &instances[instance]);
}

/* While the file cannot be written, pg-ingest waits for its answer, rather than to append in vain. */
static void
on_probed(bool ok)
{
	bool waits = false;

	EACH_INSTANCE(n)
	{
		if (ok && instances[n].ingest != NULL && instances[n].wants_opening)
			answer_ingest(n);
		instances[n].wants_opening &= !ok;
		waits |= instances[n].wants_opening;
	}
	if (waits) {
		ev_timer_set(&probe, PROBE_EVERY, 0.);
		ev_timer_start(loop(), &probe);
	}
}

static void
on_probe(struct ev_loop *l, ev_timer *w, int events)
{
	(void)l;
	(void)w;
	(void)events;
	store_probe(on_probed);
}

static void
open_log(struct peer *peer, const Frame *f)
{
	const char *why = "";
	unsigned instance = f->open_log->instance;
	struct instance *i = &instances[instance];

	if (instance < 1 || instance > DATABASES_MAX) {
		peer_close(peer, "OpenLog of no instance");
		return;
	}
	i->goes_on = translog_continues(f->open_log, &why);
	i->ingest = peer;
	i->streams = true;
	i->wal_lsn = f->open_log->wal_lsn;
	lead_went(instance);
	if (!i->goes_on)
		log_event(translog_life() == 0 ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING, "log-cannot-continue",
		    "instance=%u why=%s", instance, log_quote(why));
	i->wants_opening = store_failing();
	if (own != OWN_SETTLED && instance == translog_leader())
		return;
	if (!i->wants_opening)
		answer_ingest(instance);
	else if (!ev_is_active(&probe))
		on_probe(loop(), &probe, 0);
}

static void
start_life(struct peer *peer, const Frame *f)
{
	unsigned instance = instance_of(peer);

	if (instance == 0 || f->start_life->instance != instance) {
		peer_close(peer, "StartLife without OpenLog");
		return;
	}
	if (instance == translog_leader())
		translog_start_life(f->start_life);
	else
		translog_start_source(f->start_life);
	instances[instance].goes_on = true;
	store_after_commit(opened, &instances[instance]);
	store_after_commit(tell_publishers, NULL);
}

static void
close_log(struct peer *peer, const Frame *f)
{
	unsigned instance = instance_of(peer);

	(void)f;
	instances[instance].streams = false;
	lead_went(instance);
}

static void
append_log(struct peer *peer, const Frame *f)
{
	const AppendLog *a = f->append_log;
	unsigned instance = instance_of(peer);

	if (instance == 0 || (instance == translog_leader() && translog_life() == 0)) {
		peer_close(peer, "AppendLog without OpenLog");
		return;
	}
	if (instance == translog_leader() && lead_is_moving()) {
		peer_close(peer, "it leads from now on");
		return;
	}
	for (size_t i = 0; i < a->n_transactions; i++) {
		if (!translog_append(instance, &a->transactions[i])) {
			peer_close(peer, "the log cannot be written");
			return;
		}
	}
	answer_ingest_after_commit(peer);
}

static void
wal_passed(struct peer *peer, const Frame *f)
{
	if (instance_of(peer) == 0)
		return;
	translog_wal_passed(instance_of(peer), f->wal_passed->lsn);
	answer_ingest_after_commit(peer);
}

// ---- gateways, for their clients

static void
save_subscription(struct peer *peer, const Frame *f)
{
	registry_save_subscription(f->save_subscription->client_id, f->save_subscription->subscription);
	answer_after_commit(peer, FRAME__BODY_SUBSCRIPTION_SAVED, f->save_subscription->id);
}

static void
append_write(struct peer *peer, const Frame *f)
{
	bool duplicate;
	uint64_t echo;
	struct waiting *w;

	if (f->append_write->transaction == NULL) {
		peer_close(peer, "AppendWrite without a transaction");
		return;
	}
	if (!writes_append(f->append_write->transaction, &f->append_write->follows, &duplicate, &echo)) {
		WriteAppended done = WRITE_APPENDED__INIT;

		done.id = f->append_write->id;
		done.failed = true;
		peer_send(peer, FRAME__BODY_WRITE_APPENDED, &done);
		return;
	}
	w = answer_after_commit(peer, FRAME__BODY_WRITE_APPENDED, f->append_write->id);
	w->duplicate = duplicate;
	w->echo = echo;
}

// ---- pg-publish, reading

static void
read_writes(struct peer *peer, const Frame *f)
{
	struct waiting *w = waiting_new(peer, WAIT_WRITES);

	w->after = f->read_writes->after;
	w->max_bytes = f->read_writes->max_bytes;
	wait_for(w);
}

static void
writes_were_applied(struct peer *peer, const Frame *f)
{
	unsigned instance = 0;

	EACH_INSTANCE(n)
	if (instances[n].publish == peer)
		instance = n;
	if (f->writes_applied->log_life == 0 && instance == translog_leader())
		writes_set_applied(f->writes_applied->position);
	else if (f->writes_applied->log_life == translog_life() && instance != translog_leader())
		lead_followed(instance, f->writes_applied->position, f->writes_applied->wal_end);
}

const struct handler serve_handlers[] = {
	{ FRAME__BODY_OPEN_LOG, "pg-ingest", open_log },
	{ FRAME__BODY_CLOSE_LOG, "pg-ingest", close_log },
	{ FRAME__BODY_START_LIFE, "pg-ingest", start_life },
	{ FRAME__BODY_APPEND_LOG, "pg-ingest", append_log },
	{ FRAME__BODY_WAL_PASSED, "pg-ingest", wal_passed },
	{ FRAME__BODY_READ_LOG, "ws-gateway", read_log },
	{ FRAME__BODY_READ_LOG, "pg-publish", read_log },
	{ FRAME__BODY_READ_SCHEMA, NULL, read_schema },
	{ FRAME__BODY_MEET_SNAPSHOT, "ws-gateway", meet_snapshot },
	{ FRAME__BODY_ATTACH_CLIENT, "ws-gateway", registry_attach },
	{ FRAME__BODY_DETACH_CLIENT, "ws-gateway", registry_detach },
	{ FRAME__BODY_SAVE_SUBSCRIPTION, "ws-gateway", save_subscription },
	{ FRAME__BODY_FORGET_SUBSCRIPTIONS, "ws-gateway", registry_forget_subscriptions },
	{ FRAME__BODY_APPEND_WRITE, "ws-gateway", append_write },
	{ FRAME__BODY_APPEND_WRITE, "pg-publish", append_write },
	{ FRAME__BODY_OPEN_WRITES, "pg-publish", open_writes },
	{ FRAME__BODY_READ_WRITES, "pg-publish", read_writes },
	{ FRAME__BODY_WRITES_APPLIED, "pg-publish", writes_were_applied },
	{ 0 },
};

/* All are told that another Postgres leads. */
static void
tell_of_leader(void)
{
	struct instance *leader = &instances[translog_leader()];

	lead_settled();
	if (leader->ingest != NULL && leader->streams)
		answer_ingest(translog_leader());
	tell_publishers(NULL, true);
	serve_waiting();
}

/* What is not yet durable could be read once more where it came from: nobody is told before. */
static void
take_own(void *data, bool ok)
{
	(void)data;
	if (ok && own == OWN_TAKEN) {
		own = OWN_SETTLED;
		tell_of_leader();
		return;
	}
	own = OWN_TO_TAKE;
	if (!ok || store_write() == NULL) {
		ev_timer_start(loop(), &take_own_again);
		return;
	}
	if (!translog_take_own())
		own = OWN_TAKEN;
	store_after_commit(take_own, NULL);
}

static void
on_take_own_again(struct ev_loop *l, ev_timer *w, int events)
{
	(void)l;
	(void)w;
	(void)events;
	take_own(NULL, true);
}

/* Another Postgres leads: its pg-ingest begins anew. */
static void
lead_moved(void)
{
	struct peer *ingest = instances[translog_leader()].ingest;

	if (ingest != NULL)
		peer_close(ingest, "it leads from now on");
	take_own(NULL, true);
}

void
serve_open(uint64_t lead_time)
{
	translog_open();
	writes_open();
	ev_timer_init(&take_own_again, on_take_own_again, PROBE_EVERY, 0.);
	lead_open(lead_time, lead_moved);
	if (translog_leads() > 0)
		lead_moved(); /* it may have been under way */
	store_on_commit(translog_commit, on_commit);
	ev_init(&probe, on_probe);
}

void
serve_peer_down(struct peer *peer)
{
	for (struct waiting *w = waiting_list; w != NULL; w = w->next)
		if (w->peer == peer)
			w->peer = NULL;
	for (struct waiting *w = commit_list; w != NULL; w = w->next)
		if (w->peer == peer)
			w->peer = NULL;
	EACH_INSTANCE(n)
	{
		if (instances[n].ingest == peer) {
			lead_went(n);
			instances[n].ingest = NULL;
			instances[n].wants_opening = false;
		}
		if (instances[n].publish == peer) {
			instances[n].publish = NULL;
			lead_lost_sight(n);
		}
	}
	registry_peer_down(peer);
}

size_t
serve_waiting_readers(void)
{
	size_t n = 0;

	for (const struct waiting *w = waiting_list; w != NULL; w = w->next)
		n++;
	return n;
}
