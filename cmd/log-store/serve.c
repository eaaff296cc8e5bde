/*
 * What log-store answers.
 *
 * An answer that promises durability leaves after the commit of its turn (store_after_commit).
 */
#include "serve.h"

#include <stdlib.h>

#include "instances.h"
#include "readers.h"
#include "registry.h"
#include "store.h"
#include "translog.h"
#include "writes.h"
#include "xalloc.h"

/* What a gateway, or a pg-publish, is told of once this turn is stored. */
struct answer {
	struct answer *next;
	struct peer *peer; /* NULL: it has gone */
	Frame__BodyCase body;
	uint32_t id;
	bool duplicate;
	uint64_t echo;
};

static struct answer *answers;

static void
send_answer(const struct answer *a, bool ok)
{
	WriteAppended appended = WRITE_APPENDED__INIT;
	SubscriptionSaved saved = SUBSCRIPTION_SAVED__INIT;

	if (a->body == FRAME__BODY_WRITE_APPENDED) {
		appended.id = a->id;
		appended.duplicate = a->duplicate;
		appended.echo_position = a->echo;
		appended.failed = !ok;
		peer_send(a->peer, a->body, &appended);
	} else if (ok) {
		saved.id = a->id;
		peer_send(a->peer, a->body, &saved);
	} else {
		peer_close(a->peer, "a subscription could not be stored");
	}
}

static void
after_commit(void *data, bool ok)
{
	struct answer *a = data, **at = &answers;

	while (*at != a)
		at = &(*at)->next;
	*at = a->next;
	if (a->peer != NULL)
		send_answer(a, ok);
	free(a);
}

static struct answer *
answer_after_commit(struct peer *peer, Frame__BodyCase body, uint32_t id)
{
	struct answer *a = xcalloc(1, sizeof *a);

	a->peer = peer;
	a->body = body;
	a->id = id;
	a->next = answers;
	answers = a;
	store_after_commit(after_commit, a);
	return a;
}

static void
save_subscription(struct peer *peer, const Frame *f)
{
	registry_save_subscription(f->save_subscription->client_id, f->save_subscription->subscription);
	answer_after_commit(peer, FRAME__BODY_SUBSCRIPTION_SAVED, f->save_subscription->id);
}

static void
append_write(struct peer *peer, const Frame *f)
{
	struct answer failed = {
		.peer = peer, .body = FRAME__BODY_WRITE_APPENDED, .id = f->append_write->id
	};
	bool duplicate;
	uint64_t echo;
	struct answer *a;

	if (f->append_write->transaction == NULL) {
		peer_close(peer, "AppendWrite without a transaction");
		return;
	}
	if (!writes_append(f->append_write->transaction, &f->append_write->follows, &duplicate, &echo)) {
		send_answer(&failed, false);
		return;
	}
	a = answer_after_commit(peer, FRAME__BODY_WRITE_APPENDED, f->append_write->id);
	a->duplicate = duplicate;
	a->echo = echo;
}

const struct handler serve_handlers[] = {
	{ FRAME__BODY_OPEN_LOG, "pg-ingest", instances_open_log },
	{ FRAME__BODY_CLOSE_LOG, "pg-ingest", instances_close_log },
	{ FRAME__BODY_START_LIFE, "pg-ingest", instances_start_life },
	{ FRAME__BODY_APPEND_LOG, "pg-ingest", instances_append_log },
	{ FRAME__BODY_WAL_PASSED, "pg-ingest", instances_wal_passed },
	{ FRAME__BODY_READ_LOG, "ws-gateway", readers_read_log },
	{ FRAME__BODY_READ_LOG, "pg-publish", readers_read_log },
	{ FRAME__BODY_READ_SCHEMA, NULL, readers_read_schema },
	{ FRAME__BODY_MEET_SNAPSHOT, "ws-gateway", readers_meet_snapshot },
	{ FRAME__BODY_ATTACH_CLIENT, "ws-gateway", registry_attach },
	{ FRAME__BODY_DETACH_CLIENT, "ws-gateway", registry_detach },
	{ FRAME__BODY_SAVE_SUBSCRIPTION, "ws-gateway", save_subscription },
	{ FRAME__BODY_FORGET_SUBSCRIPTIONS, "ws-gateway", registry_forget_subscriptions },
	{ FRAME__BODY_APPEND_WRITE, "ws-gateway", append_write },
	{ FRAME__BODY_APPEND_WRITE, "pg-publish", append_write },
	{ FRAME__BODY_OPEN_WRITES, "pg-publish", instances_open_writes },
	{ FRAME__BODY_READ_WRITES, "pg-publish", readers_read_writes },
	{ FRAME__BODY_WRITES_APPLIED, "pg-publish", instances_writes_applied },
	{ 0 },
};

static void
on_commit(bool ok)
{
	translog_committed(ok);
	writes_committed(ok);
	readers_serve();
}

void
serve_open(uint64_t lead_time)
{
	translog_open();
	writes_open();
	instances_open(lead_time);
	store_on_commit(translog_commit, on_commit);
}

void
serve_peer_down(struct peer *peer)
{
	for (struct answer *a = answers; a != NULL; a = a->next)
		if (a->peer == peer)
			a->peer = NULL;
	readers_peer_down(peer);
	instances_peer_down(peer);
	registry_peer_down(peer);
}
