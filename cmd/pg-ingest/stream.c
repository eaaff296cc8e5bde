/* The replication stream. */
#include "stream.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "fold.h"
#include "log.h"
#include "peer.h"
#include "position.h"
#include "sink.h"
#include "xalloc.h"

#define STATUS_EVERY 10.0 /* seconds, or oftener; Postgres gives up after 60 of silence */
#define PG_EPOCH     INT64_C(946684800)
#define BREATH	     0.001	       /* seconds in which what comes is let gather */
#define BURST	     16		       /* times in a transaction that it is not */
#define MARK	     "electric"	       /* what follows is a client's transaction */
#define REPAIR	     "electric.repair" /* a row for the author of a client's transaction that was refused */
#define ROW	     "electric.row"    /* a row that changed without being in the WAL */
#define TABLES	     "electric.tables" /* tables that other instances are told of */
#define TOLD	     "electric.told"   /* what follows was told by another instance */
#define MEET	     "electric.meet"   /* somebody waits for the stream to come here */

static struct pg *source; /* NULL: not streaming */
static unsigned instance;
static struct arena decoded; /* of one message */
static uint64_t after;	     /* commits up to here are in the log */
static uint64_t received, stored, confirmed;
static uint64_t latest_xid;  /* with epoch: xids in the stream are near it */
static uint64_t committing;  /* end of the commit that is being taken out of the fold */
static double committed_at;  /* Unix time of it */
static bool inside, awaited; /* in a transaction; one whose end somebody waits for */
static uint64_t n_transactions, n_changes;
static uint64_t max_transaction; /* bytes */
static bool overflowed;
static double silence = 30.; /* seconds in which something must come; 0: any number */
static double heard;	     /* when something came, or was last not wanted */
static bool paused;	     /* nothing is read */
static unsigned n_woken;     /* how often something of this transaction was read */
static ev_timer timer, breath;

// ---- what is told to Postgres

static void
send_status(bool ask_answer)
{
	uint8_t message[34] = { 'r' };
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	be64_set(message + 1, received);
	be64_set(message + 9, stored);
	be64_set(message + 17, stored);
	be64_set(message + 25, (uint64_t)((now.tv_sec - PG_EPOCH) * 1000000 + now.tv_nsec / 1000));
	message[33] = ask_answer;
	if (PQputCopyData(source->conn, (const char *)message, sizeof message) > 0)
		confirmed = stored;
	pg_flush(source);
}

static void
on_timer(struct ev_loop *l, ev_timer *w, int events)
{
	(void)l;
	(void)w;
	(void)events;
	if (paused)
		heard = ev_now(l);
	if (silence > 0. && ev_now(l) - heard > silence)
		pg_fail(source, "nothing comes from Postgres any more");
	else
		send_status(true);
}

void
stream_stored(uint64_t lsn)
{
	if (lsn <= stored)
		return;
	stored = lsn;
	if (source == NULL)
		return;
	if (received < stored)
		received = stored;
	send_status(false);
}

// ---- what Postgres sends

static uint64_t
with_epoch(uint32_t xid)
{
	uint64_t full = latest_xid + (uint64_t)(int64_t)(int32_t)(xid - (uint32_t)latest_xid);

	if (full > latest_xid)
		latest_xid = full;
	return full;
}

static void
on_commit(const struct pgo_commit *commit)
{
	inside = false;
	if (commit->end_lsn <= after) {
		fold_reset();
		return;
	}
	n_changes += fold_changes();
	fold_commit(commit->end_lsn);
	if (fold_pending()) {
		n_transactions++;
		committing = commit->end_lsn;
		committed_at = (double)commit->time / 1e6 + (double)PG_EPOCH;
		return;
	}
	fold_reset();
	sink_passed(commit->end_lsn, awaited);
}

static bool
on_message(const struct pgo_message *message)
{
	if (message->transactional && strcmp(message->prefix, MARK) == 0)
		return fold_mark(message);
	if (message->transactional && strcmp(message->prefix, REPAIR) == 0)
		return fold_repair(message);
	if (message->transactional && strcmp(message->prefix, ROW) == 0)
		return fold_told(message);
	if (message->transactional && strcmp(message->prefix, TABLES) == 0)
		return fold_tables(message);
	if (message->transactional && strcmp(message->prefix, TOLD) == 0)
		fold_was_told();
	if (strcmp(message->prefix, MEET) == 0) {
		if (message->transactional)
			awaited = true;
		else if (!inside)
			sink_passed(message->lsn, true);
	}
	return true;
}

static bool
on_change(const uint8_t *bytes, size_t n)
{
	struct pgo m;

	arena_reset(&decoded);
	if (!pgo_decode(&decoded, bytes, n, &m)) {
		log_error("pgoutput-unreadable", "kind=%u bytes=%zu", n > 0 ? bytes[0] : 0, n);
		return false;
	}
	switch (m.kind) {
	case PGO_BEGIN:
		inside = true;
		awaited = false;
		fold_begin(instance, with_epoch(m.begin.xid), m.begin.time);
		return true;
	case PGO_COMMIT:
		on_commit(&m.commit);
		return true;
	case PGO_RELATION:
		catalog_describe(&m.relation);
		return true;
	case PGO_INSERT:
	case PGO_UPDATE:
	case PGO_DELETE:
		return fold_row(m.kind, &m.row);
	case PGO_TRUNCATE:
		fold_truncate(&m.truncate);
		return true;
	case PGO_MESSAGE:
		return on_message(&m.message);
	case PGO_ORIGIN:
	case PGO_TYPE:
		return true;
	}
	return true;
}

/* A row that another instance told is none of ours: it need not be read. */
static bool
is_unwanted(const uint8_t *bytes, size_t n)
{
	return n >= 5 && (bytes[0] == PGO_INSERT || bytes[0] == PGO_UPDATE || bytes[0] == PGO_DELETE) &&
	       !fold_wants_rows(be32_get(bytes + 1));
}

/* False: the stream cannot go on. */
static bool
on_copy_data(const uint8_t *p, size_t n)
{
	heard = ev_now(loop());
	if (n >= 25 && p[0] == 'w') {
		uint64_t start = be64_get(p + 1);

		if (start > received)
			received = start;
		return is_unwanted(p + 25, n - 25) || on_change(p + 25, n - 25);
	}
	if (n >= 18 && p[0] == 'k') {
		uint64_t end = be64_get(p + 1);

		if (end > received)
			received = end;
		if (!inside)
			sink_passed(end, p[17] != 0); /* it waits for us when it shuts down */
		if (p[17] != 0)
			send_status(false);
		return true;
	}
	log_error("stream-unreadable", "kind=%u bytes=%zu", n > 0 ? p[0] : 0, n);
	return false;
}

/* Moves what the fold holds to the sink; false: it has to wait for room. */
static bool
take_out(void)
{
	struct buf b = { 0 };

	while (fold_pending()) {
		if (sink_clogged()) {
			buf_clear(&b);
			return false;
		}
		fold_take(&b);
		sink_put(&b);
		buf_take(&b, b.len);
		if (!fold_pending())
			sink_committed(committing, committed_at);
	}
	buf_clear(&b);
	return true;
}

static void
stream_over(struct pg *pg, PGresult *result)
{
	const char *why = PQresultErrorMessage(result);

	pg_fail(pg, why[0] != '\0' ? why : "Postgres ended the stream");
}

static void
overflow(struct pg *pg)
{
	overflowed = true;
	log_error("transaction-too-long", "changes=%" PRIu64 " limit=%" PRIu64 " note=%s", fold_changes(),
	    max_transaction,
	    log_quote("the log begins anew after it, and clients take their tables again "
		      "(--max-transaction)"));
	pg_fail(pg, "a transaction is longer than --max-transaction");
}

static void
on_breath(struct ev_loop *l, ev_timer *w, int events)
{
	(void)l;
	(void)w;
	(void)events;
	if (source != NULL && !paused)
		pg_resume(source);
}

/* Postgres sends each row by itself: who takes each as it comes has both wake up for each. In the middle of a
 * long transaction there is time to let some come. */
static void
take_breath(struct pg *pg)
{
	if (!inside)
		n_woken = 0;
	else if (++n_woken > BURST && !paused) {
		pg_pause(pg);
		ev_timer_stop(loop(), &breath);
		ev_timer_set(&breath, BREATH, 0.);
		ev_timer_start(loop(), &breath);
	}
}

void
stream_pump(struct pg *pg)
{
	while (pg->conn != NULL) {
		char *bytes = NULL;
		int n;

		if (!take_out() || sink_full()) {
			pg_pause(pg);
			paused = true;
			break;
		}
		n = PQgetCopyData(pg->conn, &bytes, 1);
		if (n == 0)
			break;
		if (n == -1) {
			pg_copy_end(pg, stream_over);
			break;
		}
		if (n < 0) {
			pg_fail(pg, PQerrorMessage(pg->conn));
			break;
		}
		if (!on_copy_data((const uint8_t *)bytes, (size_t)n))
			pg_fail(pg, "what it sent cannot be used");
		else if (fold_bytes() > max_transaction)
			overflow(pg);
		PQfreemem(bytes);
	}
	if (pg->conn != NULL)
		take_breath(pg);
	sink_flush();
}

void
stream_room(void)
{
	if (source == NULL || sink_full())
		return;
	paused = false;
	pg_resume(source);
}

void
stream_set_limits(uint64_t bytes, uint64_t seconds)
{
	max_transaction = bytes;
	silence = (double)seconds;
}

bool
stream_overflowed(void)
{
	return overflowed;
}

void
stream_start(struct pg *pg, unsigned number, uint64_t from, uint64_t next_xid)
{
	double every;

	source = pg;
	instance = number;
	after = received = stored = confirmed = from;
	latest_xid = next_xid;
	inside = awaited = overflowed = paused = false;
	n_woken = 0;
	heard = ev_now(loop());
	fold_reset();
	every = silence > 0. && silence / 3. < STATUS_EVERY ? silence / 3. : STATUS_EVERY;
	ev_timer_init(&breath, on_breath, BREATH, 0.);
	ev_timer_init(&timer, on_timer, every, every);
	ev_timer_start(loop(), &timer);
}

void
stream_stop(void)
{
	source = NULL;
	ev_timer_stop(loop(), &timer);
	ev_timer_stop(loop(), &breath);
	fold_reset();
	sink_abandon();
}

char *
stream_status(void)
{
	char r[POSITION_TEXT], s[POSITION_TEXT], c[POSITION_TEXT];

	pg_lsn_format(r, received);
	pg_lsn_format(s, stored);
	pg_lsn_format(c, confirmed);
	return xasprintf("\"streaming\":%s,\"received\":\"%s\",\"stored\":\"%s\",\"confirmed\":\"%s\","
			 "\"transactions\":%" PRIu64 ",\"changes\":%" PRIu64 ",\"in_flight_bytes\":%" PRIu64,
	    source != NULL ? "true" : "false", r, s, c, n_transactions, n_changes, sink_in_flight());
}

void
stream_metrics(struct metrics *m)
{
	metrics_gauge(
	    m, "leyden_connector_ready", "Whether changes stream in from this Postgres.", source != NULL);
	metrics_counter(m, "leyden_ingested_transactions_total", "Transactions that came from Postgres.",
	    (double)n_transactions);
	metrics_counter(m, "leyden_ingested_changes_total", "Changes of rows that came from Postgres.",
	    (double)n_changes);
	metrics_gauge(m, "leyden_ingest_queue_bytes", "What was sent to the log and is not yet safe there.",
	    (double)sink_in_flight());
	metrics_histogram(m, "leyden_commit_to_log_seconds",
	    "Time from a commit in Postgres until it is safe in the log.", "", sink_latency());
}
