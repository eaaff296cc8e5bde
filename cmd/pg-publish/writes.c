/*
 * The log of clients' transactions.
 *
 * One request is under way at a time. A read that was overtaken is answered all the same: its page is
 * dropped, and what is wanted now is asked for then.
 */
#include "writes.h"

#include <stdio.h>
#include <string.h>

#include "arena.h"
#include "peer.h"

#define PAGE_BYTES (256 * 1024)

static const struct writes_hooks *hooks;
static struct peer *log_peer;
static char life[64];
static bool wanted; /* a page after this position: */
static uint64_t wanted_after;
static struct arena memory; /* of the page */

static void
ask(void)
{
	ReadWrites read = READ_WRITES__INIT;

	if (!wanted || !log_peer->is_up || life[0] == '\0')
		return;
	read.after = wanted_after;
	read.max_bytes = PAGE_BYTES;
	peer_send(log_peer, FRAME__BODY_READ_WRITES, &read);
}

static void
on_opened(struct peer *peer, const Frame *f)
{
	bool is_new = strcmp(life, f->writes_opened->life) != 0;

	(void)peer;
	snprintf(life, sizeof life, "%s", f->writes_opened->life);
	if (is_new)
		wanted = false;
	ask(); /* again: what was asked before the connection was lost */
	hooks->opened(is_new);
}

static void
on_read(struct peer *peer, const Frame *f)
{
	const WritesRead *read = f->writes_read;
	ClientTransaction **page;

	(void)peer;
	if (!wanted || read->after != wanted_after)
		return; /* of a read that was overtaken */
	wanted = false;
	arena_reset(&memory);
	page = arena_alloc(&memory, (read->n_transactions + 1) * sizeof *page);
	for (size_t i = 0; i < read->n_transactions; i++) {
		size_t n = client_transaction__get_packed_size(read->transactions[i]);
		uint8_t *packed = arena_alloc(&memory, n);

		client_transaction__pack(read->transactions[i], packed);
		page[i] = client_transaction__unpack(arena_pb(&memory), n, packed);
	}
	hooks->page(page, read->n_transactions);
}

static void
on_up(struct peer *peer)
{
	OpenWrites open = OPEN_WRITES__INIT;

	peer_send(peer, FRAME__BODY_OPEN_WRITES, &open);
}

static const struct handler handlers[] = {
	{ FRAME__BODY_WRITES_OPENED, "log-store", on_opened },
	{ FRAME__BODY_WRITES_READ, "log-store", on_read },
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

void
writes_read(uint64_t after)
{
	if (wanted && wanted_after == after)
		return;
	wanted = true;
	wanted_after = after;
	ask();
}

void
writes_applied(uint64_t position)
{
	WritesApplied done = WRITES_APPLIED__INIT;

	done.position = position;
	peer_send(log_peer, FRAME__BODY_WRITES_APPLIED, &done);
}
