/* Which Postgres leads, where there are several. */
#include "lead.h"

#include <ev.h>

#include "peer.h"
#include "service.h"
#include "store.h"
#include "translog.h"
#include "writes.h"

static struct {
	bool streams;
	/* The end of its WAL when it came, and when it began to follow: what it holds up to there may be of
	 * its former lead. */
	uint64_t wal_lsn, wal_end;
	uint64_t followed;
} instances[DATABASES_MAX + 1];

static void watch_leader(void);

static ev_timer patience; /* with a leader that is away */
static double seconds;
static bool overdue, moving;
static void (*on_moved)(void);

static void
moved(void *data, bool ok)
{
	(void)data;
	moving = ok;
	watch_leader();
	if (ok)
		on_moved();
}

void
lead_settled(void)
{
	moving = false;
}

bool
lead_is_moving(void)
{
	return moving;
}

/* Another leads if it must and can. */
static void
look(void)
{
	if (!overdue || moving || translog_life() == 0 || instances[translog_leader()].streams)
		return;
	for (unsigned n = 1; n <= DATABASES_MAX; n++) {
		if (!instances[n].streams || translog_passed_lsn(n) < instances[n].wal_lsn ||
		    translog_passed_lsn(n) < instances[n].wal_end ||
		    instances[n].followed != translog_visible() || writes_wishes_all(n))
			continue;
		overdue = false;
		moving = true;
		translog_lead(n);
		store_after_commit(moved, NULL);
		return;
	}
}

static void
on_overdue(struct ev_loop *l, ev_timer *w, int events)
{
	(void)l;
	(void)w;
	(void)events;
	overdue = true;
	look();
}

/* Time runs while the leader is away. */
static void
watch_leader(void)
{
	ev_timer_stop(loop(), &patience);
	overdue = false;
	if (seconds == 0. || instances[translog_leader()].streams)
		return;
	ev_timer_set(&patience, seconds, 0.);
	ev_timer_start(loop(), &patience);
}

void
lead_open(uint64_t patience_seconds, void (*fn)(void))
{
	seconds = (double)patience_seconds;
	on_moved = fn;
	for (unsigned n = 1; n <= DATABASES_MAX; n++)
		lead_lost_sight(n);
	ev_init(&patience, on_overdue);
	watch_leader();
}

void
lead_came(unsigned instance, uint64_t wal_lsn)
{
	instances[instance].streams = true;
	instances[instance].wal_lsn = wal_lsn;
	if (instance == translog_leader())
		watch_leader();
	else
		look();
}

void
lead_went(unsigned instance)
{
	if (!instances[instance].streams)
		return;
	instances[instance].streams = false;
	if (instance == translog_leader())
		watch_leader();
}

void
lead_followed(unsigned instance, uint64_t position, uint64_t wal_end)
{
	instances[instance].wal_end = wal_end;
	instances[instance].followed = position;
	look();
}

void
lead_read_on(void)
{
	look();
}

void
lead_lost_sight(unsigned instance)
{
	instances[instance].followed = UINT64_MAX;
}
