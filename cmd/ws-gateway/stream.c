/* The log as this gateway sees it. */
#include "stream.h"

#include <inttypes.h>
#include <stdlib.h>

#include "arena.h"
#include "ask.h"
#include "client.h"
#include "log.h"
#include "measure.h"
#include "schema.h"
#include "translate.h"
#include "upstream.h"
#include "xalloc.h"

#define PAGE_BYTES (256 * 1024)

/* What one read brought: the records after `from`, up to and with `to`. Pages are kept by last use. */
struct page {
	struct page *prev, *next; /* the most recently used first */
	struct cursor from, to;
	struct arena memory;
	struct record *records;
	size_t n;
	uint64_t packed; /* bytes of them as the log has them */
};

/* A read that has no answer yet. */
struct reading {
	struct reading *next;
	uint32_t id;
	struct cursor from;
};

uint64_t stream_cache_bytes;
static uint64_t life, first;
static struct cursor end; /* of the tail */
static struct page *pages, *pages_last;
static uint64_t bytes;
static struct reading *readings;

static int
compare(const struct cursor *a, const struct cursor *b)
{
	if (a->position != b->position)
		return a->position < b->position ? -1 : 1;
	return a->part < b->part ? -1 : a->part > b->part;
}

struct cursor
cursor_after(const struct record *r)
{
	const Transaction *t = r->transaction;

	return (struct cursor){ t->position, t->last ? WHOLE : t->part };
}

static void
unlink_page(struct page *p)
{
	*(p->prev != NULL ? &p->prev->next : &pages) = p->next;
	*(p->next != NULL ? &p->next->prev : &pages_last) = p->prev;
}

static void
push_page(struct page *p)
{
	p->prev = NULL;
	p->next = pages;
	*(pages != NULL ? &pages->prev : &pages_last) = p;
	pages = p;
}

static void
drop_page(struct page *p)
{
	unlink_page(p);
	bytes -= p->memory.total;
	for (size_t i = 0; i < p->n; i++)
		audience_forget(&p->records[i]);
	arena_clear(&p->memory);
	free(p);
}

static void
ask_from(struct cursor from)
{
	struct reading *r;
	ReadLog read = READ_LOG__INIT;

	for (r = readings; r != NULL; r = r->next)
		if (compare(&r->from, &from) == 0)
			return;
	r = xmalloc(sizeof *r);
	*r = (struct reading){ readings, ask_id(), from };
	readings = r;
	read.id = r->id;
	read.life = life;
	/* After all of a transaction, or from the next part of it. */
	read.after = from.part == WHOLE ? from.position : from.position - 1;
	read.part = from.part == WHOLE ? 0 : from.part + 1;
	read.max_bytes = PAGE_BYTES;
	read.leader = upstream_leader();
	peer_send(upstream_log(), FRAME__BODY_READ_LOG, &read);
}

void
stream_open(uint64_t new_life, uint64_t new_first, uint64_t position, uint64_t log_bytes)
{
	/* Reads that the former log-store had not answered are asked again by those who need them. */
	while (readings != NULL) {
		struct reading *r = readings;

		readings = r->next;
		free(r);
	}
	first = new_first;
	if (life != new_life) {
		while (pages != NULL)
			drop_page(pages);
		life = new_life;
		end = (struct cursor){ position, WHOLE };
		measure_begin(first, position, log_bytes);
	}
	/* What was not read in time is no longer there. */
	if (end.position + 1 < first)
		end = (struct cursor){ first - 1, WHOLE };
	if (life != 0)
		ask_from(end);
}

uint64_t
stream_life(void)
{
	return life;
}

uint64_t
stream_first(void)
{
	return first;
}

uint64_t
stream_end(void)
{
	return end.position;
}

/* The record after the cursor within a page that covers it. */
static struct record *
find_in(struct page *p, const struct cursor *cursor)
{
	size_t low = 0, high = p->n;

	while (low < high) {
		size_t middle = (low + high) / 2;
		struct cursor after = cursor_after(&p->records[middle]);

		if (compare(&after, cursor) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low < p->n ? &p->records[low] : NULL;
}

enum stream_result
stream_next(const struct cursor *cursor, struct record **record)
{
	if (compare(cursor, &end) >= 0)
		return STREAM_END;
	for (struct page *p = pages; p != NULL; p = p->next) {
		if (compare(&p->from, cursor) <= 0 && compare(cursor, &p->to) < 0) {
			*record = find_in(p, cursor);
			if (p != pages) {
				unlink_page(p);
				push_page(p);
			}
			return STREAM_RECORD;
		}
	}
	if (cursor->position + 1 < first)
		return STREAM_GONE;
	ask_from(*cursor);
	return STREAM_WAIT;
}

static void
note_migrations(const Transaction *t)
{
	for (size_t i = 0; i < t->n_changes; i++)
		if (t->changes[i]->migration != NULL)
			schema_add(t->changes[i]->migration);
}

/* The answer's records, in memory of their own: the frame is gone when its handler returns. NULL: one cannot
 * be read. */
static struct page *
page_new(struct cursor from, const LogRead *answer, bool tail)
{
	struct page *p = xcalloc(1, sizeof *p);

	p->from = from;
	p->records = arena_zalloc(&p->memory, answer->n_transactions * sizeof *p->records);
	for (size_t i = 0; i < answer->n_transactions; i++) {
		const ProtobufCBinaryData *packed = &answer->transactions[i];
		Transaction *t = transaction__unpack(arena_pb(&p->memory), packed->len, packed->data);

		if (t == NULL) {
			arena_clear(&p->memory);
			free(p);
			return NULL;
		}
		p->packed += packed->len;
		if (tail)
			note_migrations(t);
		if (t->n_tables > 0 || t->is_migration)
			translate(&p->memory, t);
		p->records[p->n++].transaction = t;
	}
	p->to = cursor_after(&p->records[p->n - 1]);
	bytes += p->memory.total;
	push_page(p);
	return p;
}

void
stream_read(const LogRead *answer)
{
	struct reading **at = &readings, *r;
	struct cursor from;
	struct page *p;
	bool tail;

	while (*at != NULL && (*at)->id != answer->id)
		at = &(*at)->next;
	if ((r = *at) == NULL)
		return;
	from = r->from;
	*at = r->next;
	free(r);
	if (answer->gone) {
		/* Trimmed meanwhile, or the log is another: ask what it holds now. */
		log_info("log-moved-on", "position=%" PRIu64, from.position);
		upstream_read_schema();
		return;
	}
	tail = compare(&from, &end) == 0;
	p = answer->n_transactions > 0 ? page_new(from, answer, tail) : NULL;
	if (p == NULL) {
		log_error("log-unreadable", "position=%" PRIu64, from.position);
		return;
	}
	if (tail) {
		measure_add(p->to.position, p->packed);
		end = p->to;
		ask_from(end);
	}
	while (bytes > stream_cache_bytes && pages_last != p)
		drop_page(pages_last);
	clients_pump();
}
