/* The instances of Postgres: what their pg-ingest and pg-publish say and are told. */
#include "instances.h"

#include <inttypes.h>
#include <stdio.h>

#include "lead.h"
#include "log.h"
#include "pbwire.h"
#include "readers.h"
#include "service.h"
#include "store.h"
#include "translog.h"
#include "writes.h"

#define PROBE_EVERY 0.5 /* seconds between attempts to write after a failure */

static ev_timer probe;
static ev_timer take_own_again;
/* What the new leader wrote while it followed goes into the log first. */
static enum { OWN_SETTLED, OWN_TO_TAKE, OWN_TAKEN } own;

static struct instance {
	struct peer *ingest;	     /* the pg-ingest that may append */
	struct peer *owed;	     /* the same, while it is to hear of what this turn stores */
	bool wants_opening, goes_on; /* it waits until the file can be written; what it is told then */
	bool streams;		     /* its Postgres is there */
	uint64_t wal_lsn;	     /* where its WAL ended then */
	struct peer *publish;
} instances[DATABASES_MAX + 1];

#define EACH_INSTANCE(n) for (unsigned n = 1; n <= DATABASES_MAX; n++)

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

void
instances_open_writes(struct peer *peer, const Frame *f)
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

void
instances_open_log(struct peer *peer, const Frame *f)
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

void
instances_start_life(struct peer *peer, const Frame *f)
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

void
instances_close_log(struct peer *peer, const Frame *f)
{
	unsigned instance = instance_of(peer);

	(void)f;
	instances[instance].streams = false;
	lead_went(instance);
}

static void
appended(void *data, bool ok)
{
	LogAppended done = LOG_APPENDED__INIT;
	struct instance *i = data;
	struct peer *peer = i->owed;

	i->owed = NULL;
	if (peer == NULL)
		return;
	lead_read_on();
	done.commit_lsn = translog_passed_lsn((unsigned)(i - instances));
	if (ok)
		peer_send(peer, FRAME__BODY_LOG_APPENDED, &done);
	else
		peer_close(peer, "what it appended could not be stored; it will send it again");
}

/* One LogAppended a turn is enough. */
static void
answer_ingest_after_commit(struct peer *peer)
{
	struct instance *i = &instances[instance_of(peer)];

	if (i->owed == NULL)
		store_after_commit(appended, i);
	i->owed = peer;
}

void
instances_append_log(struct peer *peer, const Frame *f)
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

void
instances_wal_passed(struct peer *peer, const Frame *f)
{
	if (instance_of(peer) == 0)
		return;
	translog_wal_passed(instance_of(peer), f->wal_passed->lsn);
	answer_ingest_after_commit(peer);
}

// ---- how far a pg-publish is

void
instances_writes_applied(struct peer *peer, const Frame *f)
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

// ---- another leads

/* All are told that another Postgres leads. */
static void
tell_of_leader(void)
{
	struct instance *leader = &instances[translog_leader()];

	lead_settled();
	if (leader->ingest != NULL && leader->streams)
		answer_ingest(translog_leader());
	tell_publishers(NULL, true);
	readers_serve();
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
instances_open(uint64_t lead_time)
{
	ev_timer_init(&take_own_again, on_take_own_again, PROBE_EVERY, 0.);
	ev_init(&probe, on_probe);
	lead_open(lead_time, lead_moved);
	if (translog_leads() > 0)
		lead_moved(); /* it may have been under way */
}

void
instances_peer_down(struct peer *peer)
{
	EACH_INSTANCE(n)
	{
		if (instances[n].owed == peer)
			instances[n].owed = NULL;
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
}
