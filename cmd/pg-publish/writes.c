/*
 * What is to be applied: the log of clients' transactions, or, where another Postgres leads, what that one
 * tells.
 *
 * One request is under way at a time. A read that was overtaken is answered all the same: its page is
 * dropped, and what is wanted now is asked for then. A page that was asked for ahead is held until it is
 * read.
 */
#include "writes.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "arena.h"
#include "buf.h"
#include "peer.h"
#include "satellite.h"
#include "service.h"

#define PAGE_BYTES (256 * 1024)
#define TOLD_BYTES (1024 * 1024) /* of a page of what another Postgres tells */

static const struct writes_hooks *hooks;
static struct peer *log_peer;
static char life[64];
static bool follows;
static uint64_t log_life, log_last, log_since;
static bool wanted; /* a page after this position: */
static uint64_t wanted_after;
static uint32_t wanted_part, wanted_id;
static bool ahead;	    /* it, or the one that is held, has not been read yet */
static struct arena memory; /* of the page that was read last */
static struct arena coming; /* of the one that is held, or will be */
static struct write *held;  /* after wanted_after; NULL: none is */
static size_t held_n;
static void (*wished)(void);   /* something is asked of the leader: */
static struct buf wished_rows; /* a packed Transaction; none: all that there is */
static uint32_t wish_id;

static void
ask(void)
{
	ReadWrites read = READ_WRITES__INIT;
	ReadLog log = READ_LOG__INIT;

	if (!wanted || !log_peer->is_up || life[0] == '\0')
		return;
	if (!follows) {
		read.after = wanted_after;
		read.max_bytes = PAGE_BYTES;
		peer_send(log_peer, FRAME__BODY_READ_WRITES, &read);
		return;
	}
	log.id = ++wanted_id;
	log.life = log_life;
	log.after = wanted_after;
	log.part = wanted_part;
	log.max_bytes = TOLD_BYTES;
	peer_send(log_peer, FRAME__BODY_READ_LOG, &log);
}

/* The lsn is of no other wish: one that was stored and forgotten must not stand for this one. */
static void
append_wish(void)
{
	AppendWrite append = APPEND_WRITE__INIT;
	ClientTransaction t = CLIENT_TRANSACTION__INIT;
	char origin[32], lsn[32];
	struct timespec now;

	if (wished == NULL || !log_peer->is_up)
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	snprintf(origin, sizeof origin, SAT_POSTGRES_ORIGIN, service_instance());
	snprintf(lsn, sizeof lsn, "wish %lld.%09ld", (long long)now.tv_sec, now.tv_nsec);
	t.client_id = origin;
	t.lsn = (ProtobufCBinaryData){ strlen(lsn), (uint8_t *)lsn };
	t.timestamp = (uint64_t)now.tv_sec * 1000;
	t.introduce = true;
	t.transaction = (ProtobufCBinaryData){ wished_rows.len, buf_data(&wished_rows) };
	append.id = ++wish_id;
	append.transaction = &t;
	peer_send(log_peer, FRAME__BODY_APPEND_WRITE, &append);
}

static void
on_appended(struct peer *peer, const Frame *f)
{
	void (*done)(void) = wished;

	(void)peer;
	if (done == NULL || f->write_appended->id != wish_id)
		return;
	if (f->write_appended->failed) {
		append_wish();
		return;
	}
	wished = NULL;
	done();
}

static void
on_opened(struct peer *peer, const Frame *f)
{
	const WritesOpened *opened = f->writes_opened;
	char name[sizeof life] = "";

	(void)peer;
	if (!opened->follows)
		snprintf(name, sizeof name, "%s", opened->life);
	else if (opened->log_life != 0)
		snprintf(
		    name, sizeof name, "log %" PRIu64 " %" PRIu32, opened->log_life, opened->introductions);
	follows = opened->follows;
	log_life = opened->log_life;
	log_last = opened->log_last;
	log_since = opened->log_since;
	if (strcmp(life, name) != 0) {
		snprintf(life, sizeof life, "%s", name);
		wanted = ahead = false;
		held = NULL;
		wished = NULL;
		hooks->opened(true);
		return;
	}
	ask(); /* again: what was asked before the connection was lost */
	append_wish();
	hooks->opened(false);
}

/* The page that is held is read. */
static void
hand_over(void)
{
	struct arena was = memory;
	struct write *page = held;

	memory = coming;
	coming = was;
	held = NULL;
	hooks->page(page, held_n);
}

/* What a client wrote, or another Postgres. False: it cannot be read. */
static bool
add(struct write *w, const ProtobufCBinaryData *packed)
{
	const ProtobufCBinaryData *told;

	w->client = client_transaction__unpack(arena_pb(&coming), packed->len, packed->data);
	if (w->client == NULL)
		return false;
	w->position = w->client->position;
	w->last = true;
	told = &w->client->transaction;
	if (told->len == 0)
		return true;
	w->told = transaction__unpack(arena_pb(&coming), told->len, told->data);
	w->last = w->client->introduce || (w->told != NULL && w->told->last);
	return true;
}

/* What the Postgres that leads tells. */
static bool
add_told(struct write *w, const ProtobufCBinaryData *packed)
{
	ClientTransaction *author = arena_alloc(&coming, sizeof *author);

	w->told = transaction__unpack(arena_pb(&coming), packed->len, packed->data);
	if (w->told == NULL)
		return false;
	client_transaction__init(author);
	author->position = w->told->position;
	author->client_id = w->told->origin;
	author->lsn = w->told->client_lsn;
	author->timestamp = w->told->timestamp;
	w->client = author;
	w->position = w->told->position;
	w->last = w->told->last;
	return true;
}

/* The page that was asked for has come. */
static void
take_page(struct peer *peer, const ProtobufCBinaryData *packed, size_t n,
    bool (*add_one)(struct write *w, const ProtobufCBinaryData *packed))
{
	wanted = false;
	arena_reset(&coming);
	held = arena_zalloc(&coming, (n + 1) * sizeof *held);
	held_n = n;
	for (size_t i = 0; i < n; i++) {
		if (!add_one(&held[i], &packed[i])) {
			held = NULL;
			peer_close(peer, "it sent a transaction that cannot be read");
			return;
		}
	}
	if (!ahead)
		hand_over();
}

static void
on_read(struct peer *peer, const Frame *f)
{
	const WritesRead *read = f->writes_read;

	if (wanted && !follows && read->after == wanted_after) /* else of a read that was overtaken */
		take_page(peer, read->transactions, read->n_transactions, add);
}

static void
on_log_read(struct peer *peer, const Frame *f)
{
	const LogRead *read = f->log_read;

	if (!wanted || !follows || read->id != wanted_id)
		return;
	if (!read->gone) {
		take_page(peer, read->transactions, read->n_transactions, add_told);
		return;
	}
	wanted = false;
	log_last = read->last;
	if (!ahead)
		hooks->gone();
}

static void
on_up(struct peer *peer)
{
	OpenWrites open = OPEN_WRITES__INIT;

	open.instance = service_instance();
	peer_send(peer, FRAME__BODY_OPEN_WRITES, &open);
}

static const struct handler handlers[] = {
	{ FRAME__BODY_WRITES_OPENED, "log-store", on_opened },
	{ FRAME__BODY_WRITES_READ, "log-store", on_read },
	{ FRAME__BODY_LOG_READ, "log-store", on_log_read },
	{ FRAME__BODY_WRITE_APPENDED, "log-store", on_appended },
	{ 0 },
};

void
writes_open(const struct writes_hooks *h)
{
	static const struct peer_hooks peer_hooks = { .handlers = handlers, .up = on_up };

	hooks = h;
	log_peer = peer_connect("log-store", &peer_hooks, NULL);
}

const char *
writes_life(void)
{
	return life;
}

bool
writes_follows(void)
{
	return follows;
}

uint64_t
writes_log_last(void)
{
	return log_last;
}

uint64_t
writes_log_since(void)
{
	return log_since;
}

static void
want(uint64_t after, uint32_t part)
{
	wanted = true;
	held = NULL;
	wanted_after = after;
	wanted_part = part;
	ask();
}

void
writes_read(uint64_t after, uint32_t part)
{
	bool same = wanted_after == after && wanted_part == part;

	ahead = false;
	if (same && held != NULL)
		hand_over();
	else if (!same || !wanted)
		want(after, part);
}

void
writes_read_ahead(uint64_t after)
{
	if (wanted || held != NULL)
		return;
	ahead = true;
	want(after, 0);
}

void
writes_applied(uint64_t position, uint64_t wal_end)
{
	WritesApplied done = WRITES_APPLIED__INIT;

	done.position = position;
	done.log_life = follows ? log_life : 0;
	done.wal_end = wal_end;
	peer_send(log_peer, FRAME__BODY_WRITES_APPLIED, &done);
}

void
writes_ask_introduction(void (*done)(void))
{
	wished = done;
	buf_take(&wished_rows, wished_rows.len);
	append_wish();
}

void
writes_ask_rows(const Transaction *told, void (*done)(void))
{
	size_t n = transaction__get_packed_size(told);

	wished = done;
	buf_take(&wished_rows, wished_rows.len);
	transaction__pack(told, buf_room(&wished_rows, n));
	buf_added(&wished_rows, n);
	append_wish();
}
