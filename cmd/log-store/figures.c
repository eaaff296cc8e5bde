/* What log-store tells of itself. */
#include "figures.h"

#include <inttypes.h>
#include <time.h>

#include "peer.h"
#include "readers.h"
#include "registry.h"
#include "store.h"
#include "translog.h"
#include "writes.h"
#include "xalloc.h"

#define RATE_SECONDS 60 /* over which the rate is reckoned */

/* What had been appended, each second; the oldest is overwritten. */
static struct appended {
	double at;
	uint64_t transactions, bytes;
} history[RATE_SECONDS + 1];
static size_t n_history;
static uint64_t limit;
static ev_timer every_second;

static struct appended
appended_now(void)
{
	struct appended a = { .at = ev_now(loop()) };

	a.bytes = translog_appended(&a.transactions);
	return a;
}

static void
on_second(struct ev_loop *l, ev_timer *w, int events)
{
	(void)l;
	(void)w;
	(void)events;
	history[n_history++ % (RATE_SECONDS + 1)] = appended_now();
}

void
figures_open(uint64_t max_file)
{
	limit = max_file;
	ev_timer_init(&every_second, on_second, 1., 1.);
	ev_timer_start(loop(), &every_second);
	on_second(loop(), &every_second, 0);
}

static double
pending_seconds(void)
{
	uint64_t oldest = writes_oldest();
	double age = ev_now(loop()) - (double)oldest / 1000;

	return oldest != 0 && age > 0 ? age : 0;
}

char *
figures_status(void)
{
	struct appended now = appended_now(),
			then = history[n_history > RATE_SECONDS ? n_history % (RATE_SECONDS + 1) : 0];
	double seconds = now.at - then.at > 1 ? now.at - then.at : 1;

	return xasprintf("\"life\":%" PRIu64 ",\"leader\":%u,\"first\":%" PRIu64 ",\"last\":%" PRIu64
			 ",\"bytes\":%" PRIu64 ",\"file_bytes\":%" PRIu64 ",\"file_limit_bytes\":%" PRIu64
			 ",\"transactions_per_second\":%.1f,\"bytes_per_second\":%.0f,\"format\":%" PRIu64
			 ",\"writable\":%s,\"clients_attached\":%zu,\"writes_last\":%" PRIu64
			 ",\"writes_pending\":%" PRIu64 ",\"oldest_pending_seconds\":%.1f",
	    translog_life(), translog_leader(), translog_first(), translog_visible(), translog_bytes(),
	    store_bytes(), limit, (double)(now.transactions - then.transactions) / seconds,
	    (double)(now.bytes - then.bytes) / seconds, meta_get("format"),
	    store_failing() ? "false" : "true", registry_count(), writes_last(), writes_pending(),
	    pending_seconds());
}

void
figures_metrics(struct metrics *m)
{
	uint64_t transactions, bytes = translog_appended(&transactions);

	metrics_gauge(m, "leyden_log_first_position", "The oldest transaction that the log keeps.",
	    (double)translog_first());
	metrics_gauge(
	    m, "leyden_log_last_position", "The newest transaction in the log.", (double)translog_visible());
	metrics_gauge(m, "leyden_log_kept_bytes", "Size of the transactions that the log keeps.",
	    (double)translog_bytes());
	metrics_gauge(m, "leyden_log_bytes", "What the log's file holds.", (double)store_bytes());
	metrics_gauge(m, "leyden_log_limit_bytes", "What the log's file may grow to.", (double)limit);
	metrics_gauge(m, "leyden_log_writable", "Whether the log's file can be written.", !store_failing());
	metrics_counter(
	    m, "leyden_log_transactions_total", "Transactions appended to the log.", (double)transactions);
	metrics_counter(m, "leyden_log_appended_bytes_total", "Bytes appended to the log.", (double)bytes);
	metrics_histogram(m, "leyden_log_commit_seconds",
	    "Time that a commit of the log's file takes, with its fsync.", "", store_commits());
	metrics_gauge(m, "leyden_log_waiting_readers", "Requests that wait for something new in the log.",
	    (double)readers_waiting());
	metrics_gauge(
	    m, "leyden_attached_clients", "Client ids that gateways hold.", (double)registry_count());
	metrics_counter(m, "leyden_accepted_writes_total", "Client transactions that were stored.",
	    (double)writes_accepted());
	metrics_counter(m, "leyden_duplicate_writes_total", "Client transactions that were stored before.",
	    (double)writes_duplicates());
	metrics_gauge(m, "leyden_pending_writes", "Client transactions that are still to be done.",
	    (double)writes_pending());
	metrics_gauge(m, "leyden_oldest_pending_write_seconds", "How long the oldest of these has waited.",
	    pending_seconds());
	metrics_histogram(m, "leyden_write_applied_seconds",
	    "Time from storing a client transaction until Postgres had committed it.", "", writes_applying());
}
