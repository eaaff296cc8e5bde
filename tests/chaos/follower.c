/* Chaos: a client that checks what it sees. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "chaos.h"
#include "fail.h"
#include "peer.h"
#include "sat_client.h"
#include "xalloc.h"

#define SOURCES	    (WRITERS + CLIENTS) /* whose transactions are counted: writers, then clients */
#define UNECHOED    40			/* transactions that a client sends ahead of their echoes */
#define TABLES	    ((const char *[]){ "pg_items", "pg_heads", "cl_items", "cl_heads" })
#define AGAIN	    0.05 /* seconds until it connects again, and as much by chance */
#define WRITE_EVERY 0.01

/* What one transaction, or one delivery, has of each source. */
struct tally {
	uint32_t items[SOURCES]; /* rows, without the extra ones */
	uint32_t extra[SOURCES];
	uint32_t newest[SOURCES]; /* number in an item */
	uint32_t head[SOURCES];
	uint64_t ticket;
};

struct follower {
	unsigned number;
	struct sat_client *c;
	double again; /* when it may connect again */
	char subscription[64];
	unsigned subscriptions; /* how many it has asked for */
	bool started, delivering, delivered;
	uint64_t first_time; /* ms: its transaction n is of first_time + n */
	double next_write;
	uint32_t written, echoed, acked;

	/* what it holds */
	uint32_t seen[SOURCES];
	uint64_t ticket[WRITERS]; /* by instance */

	/* the transaction or delivery that is coming in */
	struct tally now;
	bool inside;
	char origin[64];
	uint64_t time;
};

unsigned long follower_deliveries, follower_connections;

static _Noreturn void
wrong(const struct follower *f, const char *what)
{
	follower_print(f);
	test_fail("client %s: %s", f->c->id, what);
}

// ---- rows

/* "w1" or "c2": its index. */
static unsigned
source_of(const struct follower *f, const char *name)
{
	unsigned i = name != NULL && name[0] != '\0' ? (unsigned)atoi(name + 1) : SOURCES;

	if (i < WRITERS && name[0] == 'w')
		return i;
	if (i < CLIENTS && name[0] == 'c')
		return WRITERS + i;
	wrong(f, "a row of nobody");
}

static void
tally_row(struct follower *f, uint32_t relation, const SatOpRow *row)
{
	const struct sat_relation *r = sat_relation(f->c, relation);
	const char *id = r != NULL ? sat_value(r, row, "id") : NULL,
		   *n = r != NULL ? sat_value(r, row, "n") : NULL;
	const char *slash = id != NULL ? strchr(id, '/') : NULL;
	unsigned s = source_of(f, id);

	if (n == NULL)
		wrong(f, "a row without a number");
	if (strstr(r->name, "heads") != NULL) {
		f->now.head[s] = (uint32_t)atol(n);
	} else if (slash != NULL && strchr(slash + 1, '/') != NULL) {
		f->now.extra[s]++;
	} else {
		f->now.items[s]++;
		if ((uint32_t)atol(n) > f->now.newest[s])
			f->now.newest[s] = (uint32_t)atol(n);
		if (s < WRITERS)
			f->now.ticket = strtoull(sat_value(r, row, "ticket"), NULL, 10);
	}
}

// ---- deliveries

static void
check_delivery(struct follower *f)
{
	for (unsigned s = 0; s < SOURCES; s++) {
		uint32_t n = f->now.head[s];

		if (f->now.items[s] != n || f->now.newest[s] != n ||
		    (s < WRITERS && f->now.extra[s] != n / EXTRA_EVERY * EXTRA))
			wrong(f, "a delivery of half a transaction");
		/* Its own that came back before are in it, those that did not are not. */
		f->seen[s] = n;
	}
	memset(f->ticket, 0, sizeof f->ticket);
	f->delivered = true;
	f->delivering = false;
	follower_deliveries++;
}

static void
subscribe(struct follower *f)
{
	snprintf(f->subscription, sizeof f->subscription, "%08x-0000-4000-8000-%012x", f->number,
	    ++f->subscriptions);
	sat_ask_subscription(f->c, f->subscription, TABLES, sizeof TABLES / sizeof *TABLES);
}

// ---- transactions

/* A Postgres that leads anew may tell all others what rows of another author are. */
static bool
is_told_again(const struct follower *f, unsigned s, uint32_t n)
{
	char author[16];

	snprintf(author, sizeof author, "postgres_%u", s % chaos_instances + 1);
	return chaos_instances > 1 && strncmp(f->origin, "postgres_", 9) == 0 &&
	       (s >= WRITERS || strcmp(f->origin, author) != 0) && n == f->seen[s] && f->now.newest[s] <= n;
}

static void
check_transaction(struct follower *f)
{
	bool own = strcmp(f->origin, f->c->id) == 0, empty = true;

	for (unsigned s = 0; s < SOURCES; s++) {
		uint32_t n = f->now.head[s];

		if (n == 0 && f->now.items[s] == 0 && f->now.extra[s] == 0)
			continue;
		empty = false;
		if (is_told_again(f, s, n))
			continue;
		if (n != f->seen[s] + 1)
			wrong(f, n <= f->seen[s] ? "a transaction twice" : "a transaction is missing");
		if (f->now.items[s] != 1 || f->now.newest[s] != n ||
		    (s < WRITERS && f->now.extra[s] != (n % EXTRA_EVERY == 0 ? EXTRA : 0)))
			wrong(f, "half a transaction");
		f->seen[s] = n;
		if (s >= WRITERS)
			continue;
		if (f->now.ticket <= f->ticket[s % chaos_instances])
			wrong(f, "commits out of order");
		f->ticket[s % chaos_instances] = f->now.ticket;
	}
	if (!own && empty && strncmp(f->origin, "postgres_", 9) != 0)
		wrong(f, "a transaction of another client without its rows");
	if (own && f->time - f->first_time > f->echoed)
		f->echoed = (uint32_t)(f->time - f->first_time);
}

static void
on_op(struct follower *f, const SatTransOp *op)
{
	switch (op->op_case) {
	case SAT_TRANS_OP__OP_BEGIN:
		memset(&f->now, 0, sizeof f->now);
		snprintf(f->origin, sizeof f->origin, "%s", op->begin->origin);
		f->time = op->begin->commit_timestamp;
		f->inside = true;
		break;
	case SAT_TRANS_OP__OP_INSERT:
		tally_row(f, op->insert->relation_id, op->insert->row_data);
		break;
	case SAT_TRANS_OP__OP_UPDATE:
		tally_row(f, op->update->relation_id, op->update->row_data);
		break;
	case SAT_TRANS_OP__OP_COMMIT:
		if (!f->inside)
			wrong(f, "a commit without its beginning");
		f->inside = false;
		check_transaction(f);
		break;
	case SAT_TRANS_OP__OP_MIGRATE:
		break;
	default:
		wrong(f, "a delete of a row that nobody deletes");
	}
}

// ---- its own

static uint64_t
time_of(const struct follower *f, uint32_t n)
{
	return f->first_time + n;
}

static void
write_one(struct follower *f, uint32_t n)
{
	char id[96], number[16], before[16], tag[100];
	const char *const item[] = { id, f->c->id, number }, *const head[] = { f->c->id, number },
			  *const old[] = { f->c->id, before }, *const observed[] = { tag };
	struct sat_write_op ops[] = {
		{ .kind = SAT_INSERT, .table = "cl_items", .row = item },
		{ .kind = n == 1 ? SAT_INSERT : SAT_UPDATE,
		    .table = "cl_heads",
		    .row = head,
		    .old = n == 1 ? NULL : old,
		    .observed = observed,
		    .n_observed = n == 1 ? 0 : 1 },
	};
	uint32_t lsn = htonl(n);

	snprintf(id, sizeof id, "%s/%u", f->c->id, n);
	snprintf(number, sizeof number, "%u", n);
	snprintf(before, sizeof before, "%u", n - 1);
	snprintf(tag, sizeof tag, "%s@%llu", f->c->id, (unsigned long long)time_of(f, n - 1));
	sat_write_lsn(f->c, &lsn, sizeof lsn, time_of(f, n), ops, 2);
}

static uint32_t
lsn_number(const uint8_t *p, size_t n)
{
	uint32_t lsn = 0;

	if (n == sizeof lsn)
		memcpy(&lsn, p, sizeof lsn);
	return ntohl(lsn);
}

/* As 0.5.0 does: all that has not come back is sent again, whatever the server says it has. */
static void
send_again(struct follower *f)
{
	uint32_t stored = lsn_number(f->c->own_lsn, f->c->own_lsn_len);

	if (stored > f->written || stored < f->acked)
		wrong(f, "the server's start request names an lsn that cannot be");
	for (uint32_t n = f->echoed + 1; n <= f->written; n++)
		write_one(f, n);
}

// ---- messages

static void
on_message(struct sat_client *c, const struct sat_message *m)
{
	struct follower *f = c->data;
	char *id = f->subscription;
	uint32_t lsn;

	switch (m->code) {
	case SAT_AUTH_RESP:
		sat_ask_start(c, &id, f->delivered ? 1 : 0);
		break;
	case SAT_START_REQ:
		send_again(f);
		break;
	case SAT_START_RESP:
		if (((const SatInStartReplicationResp *)m->body)->err != NULL)
			wrong(f, ((const SatInStartReplicationResp *)m->body)->err->message);
		f->started = true;
		if (!f->delivered)
			subscribe(f);
		break;
	case SAT_SUBS_RESP:
		if (((const SatSubsResp *)m->body)->err != NULL)
			wrong(f, ((const SatSubsResp *)m->body)->err->message);
		break;
	case SAT_SUBS_DATA_BEGIN:
		f->delivering = true;
		memset(&f->now, 0, sizeof f->now);
		break;
	case SAT_SUBS_DATA_END:
		check_delivery(f);
		break;
	case SAT_SUBS_DATA_ERROR:
		subscribe(f);
		break;
	case SAT_OP_LOG:
		for (size_t i = 0; i < ((const SatOpLog *)m->body)->n_ops; i++)
			on_op(f, ((const SatOpLog *)m->body)->ops[i]);
		break;
	case SAT_PING_RESP:
		lsn = lsn_number(
		    ((const SatPingResp *)m->body)->lsn.data, ((const SatPingResp *)m->body)->lsn.len);
		if (lsn > f->echoed)
			wrong(f, "an acknowledgement before its echo");
		if (lsn > f->acked)
			f->acked = lsn;
		break;
	default:
		break;
	}
}

static void
on_closed(struct sat_client *c)
{
	struct follower *f = c->data;

	f->started = f->delivering = f->inside = false;
	f->again = ev_now(loop()) + AGAIN + AGAIN * chaos_random(100) / 100;
	if (!f->delivered)
		c->server_lsn[0] = '\0';
}

struct follower *
follower_new(unsigned number)
{
	struct follower *f = xcalloc(1, sizeof *f);
	char id[32];

	snprintf(id, sizeof id, "%s%u", number < CLIENTS ? "c" : "new", number);
	f->number = number;
	f->c = sat_new(id);
	f->c->data = f;
	f->c->on_message = on_message;
	f->c->on_closed = on_closed;
	f->first_time = (uint64_t)time(NULL) * 1000;
	return f;
}

void
follower_free(struct follower *f)
{
	sat_free(f->c);
	free(f);
}

void
follower_cut(struct follower *f)
{
	sat_close(f->c);
}

void
follower_tick(struct follower *f, unsigned port, bool writing)
{
	double now = ev_now(loop());

	if (f->c->fd < 0) {
		if (now < f->again)
			return;
		if (!sat_reopen(f->c, port)) {
			f->again = ev_now(loop()) + AGAIN;
			return;
		}
		follower_connections++;
		sat_auth(f->c, sat_token("ann"));
	} else if (writing && f->number < CLIENTS && f->started && f->delivered && now >= f->next_write &&
		   f->written - f->echoed < UNECHOED) {
		f->next_write = now + WRITE_EVERY;
		f->written++;
		write_one(f, f->written);
	}
}

uint32_t
follower_written(const struct follower *f)
{
	return f->written;
}

bool
follower_agrees(const struct follower *f, const uint32_t writers[WRITERS], const uint32_t clients[CLIENTS])
{
	return f->delivered && f->echoed == f->written &&
	       memcmp(f->seen, writers, sizeof *writers * WRITERS) == 0 &&
	       memcmp(f->seen + WRITERS, clients, sizeof *clients * CLIENTS) == 0;
}

void
follower_print(const struct follower *f)
{
	fprintf(stderr, "client %s: %s%s written=%u echoed=%u acked=%u lsn=%s seen:", f->c->id,
	    f->c->fd < 0 ? "away"
	    : f->started ? "started"
			 : "connected",
	    f->delivered ? " delivered" : "", f->written, f->echoed, f->acked, f->c->server_lsn);
	for (unsigned s = 0; s < SOURCES; s++)
		fprintf(
		    stderr, " %c%u=%u", s < WRITERS ? 'w' : 'c', s < WRITERS ? s : s - WRITERS, f->seen[s]);
	fprintf(stderr, " transaction of %s:", f->origin);
	for (unsigned s = 0; s < SOURCES; s++)
		fprintf(stderr, " %u/%u/%u", f->now.head[s], f->now.items[s], f->now.extra[s]);
	fprintf(stderr, "\n");
}
