/* Where transactions go. */
#include "sink.h"

#include <stdlib.h>
#include <string.h>

#include "pbwire.h"
#include "peer.h"
#include "print.h"
#include "xalloc.h"

#define FRAME_SIZE (256 * 1024)
#define FULL	   (16 * 1024 * 1024) /* bytes that are not yet safe */
#define ROOM	   (8 * 1024 * 1024)
#define CLOGGED	   (2 * 1024 * 1024) /* bytes that wait to be written */
#define LAZY	   1.0		     /* seconds until a position that nobody waits for is told */

/* A commit that log-store has not yet made safe. */
struct commit {
	uint64_t end_lsn;
	double time;
	size_t bytes;
	struct commit *next;
};

static const struct sink_hooks *hooks;
static bool to_stdout;
static struct peer *log_store;
static struct buf batch; /* the body of the next AppendLog */
static struct commit *oldest, **newest = &oldest;
static size_t in_flight, of_this_commit; /* bytes */
static bool was_full;
static uint64_t passed, told;
static ev_timer lazy;
static struct histogram latency;

static void
forget_all(void)
{
	while (oldest != NULL) {
		struct commit *c = oldest;

		oldest = c->next;
		free(c);
	}
	newest = &oldest;
	in_flight = of_this_commit = 0;
	was_full = false;
	passed = told = 0;
	buf_take(&batch, batch.len);
	ev_timer_stop(loop(), &lazy);
}

static void
on_up(struct peer *peer)
{
	(void)peer;
	hooks->up();
}

static void
on_down(struct peer *peer)
{
	(void)peer;
	forget_all();
	hooks->down();
}

static void
on_opened(struct peer *peer, const Frame *f)
{
	(void)peer;
	hooks->opened(f->log_opened);
}

static void
on_appended(struct peer *peer, const Frame *f)
{
	uint64_t lsn = f->log_appended->commit_lsn;

	(void)peer;
	while (oldest != NULL && oldest->end_lsn <= lsn) {
		struct commit *c = oldest;

		in_flight -= c->bytes;
		histogram_observe(&latency, ev_now(loop()) - c->time);
		oldest = c->next;
		if (oldest == NULL)
			newest = &oldest;
		free(c);
	}
	hooks->stored(lsn);
	if (oldest == NULL || (was_full && in_flight < ROOM)) {
		was_full = false;
		hooks->room();
	}
}

static void
on_drained(struct peer *peer)
{
	(void)peer;
	hooks->room();
}

static void
tell_passed(void)
{
	WalPassed message = WAL_PASSED__INIT;

	if (passed <= told)
		return;
	sink_flush();
	told = message.lsn = passed;
	peer_send(log_store, FRAME__BODY_WAL_PASSED, &message);
}

static void
on_lazy(struct ev_loop *l, ev_timer *w, int events)
{
	(void)l;
	(void)w;
	(void)events;
	tell_passed();
}

void
sink_open(const struct sink_hooks *own, bool print)
{
	static const struct handler handlers[] = {
		{ FRAME__BODY_LOG_OPENED, NULL, on_opened },
		{ FRAME__BODY_LOG_APPENDED, NULL, on_appended },
		{ 0 },
	};
	static const struct peer_hooks peer_hooks = { handlers, on_up, on_down, on_drained };

	hooks = own;
	to_stdout = print;
	ev_timer_init(&lazy, on_lazy, LAZY, 0.);
	if (!print)
		log_store = peer_connect("log-store", &peer_hooks, NULL);
}

bool
sink_is_up(void)
{
	return to_stdout || log_store->is_up;
}

void
sink_ask(Frame__BodyCase body_case, const void *message)
{
	peer_send(log_store, body_case, message);
}

void
sink_put(const struct buf *transaction)
{
	if (to_stdout) {
		print_transaction(transaction);
		return;
	}
	pb_put_bytes(&batch, 1, buf_data(transaction), transaction->len);
	of_this_commit += transaction->len;
	if (batch.len >= FRAME_SIZE)
		sink_flush();
}

void
sink_committed(uint64_t end_lsn, double time)
{
	struct commit *c;

	if (to_stdout) {
		hooks->stored(end_lsn);
		return;
	}
	c = xcalloc(1, sizeof *c);
	c->end_lsn = end_lsn;
	c->time = time;
	c->bytes = of_this_commit;
	*newest = c;
	newest = &c->next;
	in_flight += of_this_commit;
	of_this_commit = 0;
	was_full |= in_flight > FULL;
	if (end_lsn > told)
		told = end_lsn;
}

void
sink_passed(uint64_t lsn, bool urgent)
{
	if (to_stdout) {
		hooks->stored(lsn);
		return;
	}
	if (lsn <= passed || lsn <= told)
		return;
	passed = lsn;
	if (urgent) {
		tell_passed();
	} else if (!ev_is_active(&lazy)) {
		ev_timer_set(&lazy, LAZY, 0.);
		ev_timer_start(loop(), &lazy);
	}
}

void
sink_flush(void)
{
	if (batch.len == 0)
		return;
	peer_send_packed(log_store, FRAME__BODY_APPEND_LOG, &batch);
	buf_take(&batch, batch.len);
}

void
sink_abandon(void)
{
	of_this_commit = 0;
	passed = told = 0;
	ev_timer_stop(loop(), &lazy);
	if (!to_stdout)
		sink_flush();
}

bool
sink_full(void)
{
	return was_full;
}

bool
sink_clogged(void)
{
	return !to_stdout && peer_pending(log_store) > CLOGGED;
}

bool
sink_settled(void)
{
	return oldest == NULL;
}

uint64_t
sink_in_flight(void)
{
	return in_flight + of_this_commit;
}

const struct histogram *
sink_latency(void)
{
	return &latency;
}
