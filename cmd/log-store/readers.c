/* Who reads the log, and the log of writes. */
#include "readers.h"

#include <stdlib.h>
#include <string.h>

#include "pbwire.h"
#include "translog.h"
#include "writes.h"
#include "xalloc.h"

#define PAGE_MAX (1024 * 1024) /* bytes in one answer to a read, but for a longer record */

/* A request that is answered later. */
struct waiting {
	struct waiting *next;
	struct peer *peer; /* NULL: it has gone */
	enum { WAIT_LOG, WAIT_WRITES, WAIT_MEET } kind;
	uint32_t id, part, max_bytes;
	unsigned instance; /* WAIT_MEET: where the snapshot was taken; WAIT_LOG: who is taken to lead */
	uint64_t life, after, lsn;
	uint64_t xmin, xmax;
	uint64_t *xip;
	size_t n_xip;
};

static struct waiting *waiting_list;

static void
free_waiting(struct waiting *w)
{
	free(w->xip);
	free(w);
}

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

static struct waiting *
waiting_new(struct peer *peer, int kind)
{
	struct waiting *w = xcalloc(1, sizeof *w);

	w->peer = peer;
	w->kind = kind;
	return w;
}

void
readers_read_log(struct peer *peer, const Frame *f)
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

void
readers_read_schema(struct peer *peer, const Frame *f)
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

void
readers_meet_snapshot(struct peer *peer, const Frame *f)
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

void
readers_read_writes(struct peer *peer, const Frame *f)
{
	struct waiting *w = waiting_new(peer, WAIT_WRITES);

	w->after = f->read_writes->after;
	w->max_bytes = f->read_writes->max_bytes;
	wait_for(w);
}

void
readers_serve(void)
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

void
readers_peer_down(struct peer *peer)
{
	for (struct waiting *w = waiting_list; w != NULL; w = w->next)
		if (w->peer == peer)
			w->peer = NULL;
}

size_t
readers_waiting(void)
{
	size_t n = 0;

	for (const struct waiting *w = waiting_list; w != NULL; w = w->next)
		n++;
	return n;
}
