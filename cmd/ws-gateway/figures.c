/* What the gateway counts and measures. */
#include "figures.h"

#include "accept.h"
#include "client.h"
#include "stream.h"
#include "subscribe.h"

struct figures figures;

struct totals
figures_totals(void)
{
	struct totals t = { 0 };
	uint64_t end = stream_end();

	for (const struct client *c = clients_first(); c != NULL; c = c->next) {
		t.queued_bytes += conn_pending(c->conn);
		if (c->state != CLIENT_IN)
			continue;
		t.clients++;
		t.subscriptions += subscribe_count(c);
		t.stalled += conn_untaken_for(c->conn) >= STALLED;
		t.delivering += c->delivery != NULL;
		t.pending_writes += accept_pending(c);
		if (c->streaming && end > c->cursor.position && end - c->cursor.position > t.longest_lag)
			t.longest_lag = end - c->cursor.position;
	}
	return t;
}

static void
put_present(struct metrics *m)
{
	struct totals t = figures_totals();

	metrics_gauge(m, "leyden_connections", "Open websocket connections.", (double)conn_count());
	metrics_gauge(m, "leyden_unauthenticated_connections", "Connections that have not authenticated yet.",
	    (double)conn_strangers());
	metrics_gauge(
	    m, "leyden_clients", "Clients that are connected and authenticated.", (double)t.clients);
	metrics_gauge(m, "leyden_stalled_clients", "Clients that take nothing of what waits for them.",
	    (double)t.stalled);
	metrics_gauge(m, "leyden_delivering_clients", "Clients that are being sent initial rows.",
	    (double)t.delivering);
	metrics_gauge(m, "leyden_subscriptions", "Subscriptions of the clients.", (double)t.subscriptions);
	metrics_gauge(m, "leyden_send_queue_bytes", "What waits in memory for sockets of clients.",
	    (double)t.queued_bytes);
	metrics_gauge(m, "leyden_longest_lag_transactions", "How far behind the log the slowest client is.",
	    (double)t.longest_lag);
	metrics_gauge(m, "leyden_gateway_position", "The last position of the log that has come here.",
	    (double)stream_end());
}

static void
put_errors(struct metrics *m)
{
	metrics_family(m, "counter", "leyden_client_errors_total",
	    "Connections closed with an error, by what the client was told.");
	for (unsigned i = 0; i < ERROR_CODES; i++) {
		const ProtobufCEnumValue *code =
		    protobuf_c_enum_descriptor_get_value(&sat_error_resp__error_code__descriptor, (int)i);

		if (code != NULL)
			metrics_sample(m, (double)figures.errors[i], "code=\"%s\"", code->name);
	}
	metrics_family(m, "counter", "leyden_dropped_clients_total", "Clients that were let go, by why.");
	metrics_sample(m, (double)figures.stalled, "why=\"stalled\"");
	metrics_sample(m, (double)figures.silent, "why=\"silent\"");
	metrics_sample(m, (double)figures.disconnected, "why=\"operator\"");
}

void
figures_metrics(struct metrics *m)
{
	put_present(m);
	metrics_counter(
	    m, "leyden_connections_total", "Connections that were taken.", (double)figures.connections);
	metrics_counter(m, "leyden_refused_connections_total",
	    "Connections that were closed at once, over a limit.", (double)figures.refused_connections);
	metrics_counter(m, "leyden_logins_total", "Clients that have authenticated.", (double)figures.logins);
	metrics_counter(
	    m, "leyden_refused_tokens_total", "Tokens that were refused.", (double)figures.refused_tokens);
	put_errors(m);
	metrics_counter(
	    m, "leyden_client_messages_total", "Messages from clients.", (double)figures.messages);
	metrics_counter(m, "leyden_sent_transactions_total",
	    "Transactions sent, counted for each client that got something of them.",
	    (double)figures.transactions);
	metrics_counter(
	    m, "leyden_received_bytes_total", "Bytes from clients.", (double)figures.received_bytes);
	metrics_counter(m, "leyden_sent_bytes_total", "Bytes to clients.", (double)figures.sent_bytes);
	metrics_histogram(
	    m, "leyden_auth_seconds", "Time from a client's token until it is in.", "", &figures.auth);
	metrics_histogram(m, "leyden_commit_to_sent_seconds",
	    "Time from a commit in Postgres until it is sent to a client that was there.", "",
	    &figures.commit_to_sent);
	metrics_histogram(m, "leyden_write_stored_seconds",
	    "Time from a client's transaction until it is safe in the log.", "", &figures.write_stored);
	metrics_histogram(m, "leyden_write_echoed_seconds",
	    "Time from a client's transaction until it is back from Postgres.", "", &figures.write_echoed);
}
