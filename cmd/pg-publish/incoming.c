/* electric.incoming as logical replication carries it. */
#include "incoming.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "literal.h"
#include "satellite.h"
#include "service.h"
#include "transaction.h"

#define RELATION	1
#define TEXT_OID	25
#define SECONDS_TO_2000 946684800

static const char *const columns[] = { "life", "position", "own", "mark", "client_id", "user_id", "lsn",
	"written_ms", "operations", "sqlstate", "fault" };
#define N_COLUMNS (sizeof columns / sizeof *columns)

static void
put_8(struct buf *out, uint8_t v)
{
	buf_put(out, &v, 1);
}

static void
put_16(struct buf *out, uint16_t v)
{
	put_8(out, (uint8_t)(v >> 8));
	put_8(out, (uint8_t)v);
}

static void
put_64(struct buf *out, uint64_t v)
{
	uint8_t bytes[8];

	be64_set(bytes, v);
	buf_put(out, bytes, sizeof bytes);
}

static void
put_cstring(struct buf *out, const char *s)
{
	buf_put(out, s, strlen(s) + 1);
}

/* Microseconds since 2000, as Postgres counts. */
static uint64_t
clock_now(void)
{
	struct timeval now;

	gettimeofday(&now, NULL);
	return (uint64_t)(now.tv_sec - SECONDS_TO_2000) * 1000000 + (uint64_t)now.tv_usec;
}

/* Begins a message whose length is filled in by end_message(); returns where. */
static size_t
begin_message(struct buf *out)
{
	put_8(out, 'd');
	buf_put_be32(out, 0);
	return out->len - 4;
}

static void
end_message(struct buf *out, size_t at)
{
	uint32_t n = (uint32_t)(out->len - at);
	uint8_t *p = buf_data(out) + at;

	for (int i = 3; i >= 0; i--, n >>= 8)
		p[i] = (uint8_t)n;
}

static size_t
begin_xlog_data(struct buf *out, uint64_t lsn, char kind)
{
	size_t at = begin_message(out);

	put_8(out, 'w');
	put_64(out, lsn);
	put_64(out, lsn);
	put_64(out, clock_now());
	put_8(out, (uint8_t)kind);
	return at;
}

void
incoming_keepalive(struct buf *out, uint64_t lsn)
{
	size_t at = begin_message(out);

	put_8(out, 'k');
	put_64(out, lsn);
	put_64(out, clock_now());
	put_8(out, 0);
	end_message(out, at);
}

void
incoming_relation(struct buf *out)
{
	size_t at = begin_xlog_data(out, 0, 'R');

	buf_put_be32(out, RELATION);
	put_cstring(out, INCOMING_SCHEMA);
	put_cstring(out, INCOMING_TABLE);
	put_8(out, 'd'); /* replica identity: default */
	put_16(out, N_COLUMNS);
	for (size_t i = 0; i < N_COLUMNS; i++) {
		put_8(out, 0);
		put_cstring(out, columns[i]);
		buf_put_be32(out, TEXT_OID); /* the worker reads values as the types of its own columns */
		buf_put_be32(out, UINT32_MAX);
	}
	end_message(out, at);
}

static void
put_value(struct buf *out, const void *p, size_t n)
{
	put_8(out, 't');
	buf_put_be32(out, (uint32_t)n);
	buf_put(out, p, n);
}

static void
put_text(struct buf *out, const char *s)
{
	put_value(out, s, strlen(s));
}

static void
put_number(struct buf *out, uint64_t n)
{
	char text[24];

	snprintf(text, sizeof text, "%" PRIu64, n);
	put_text(out, text);
}

static void
put_bytea(struct buf *out, const void *p, size_t n)
{
	const uint8_t *bytes = p;
	struct buf hex = { 0 };

	buf_puts(&hex, "\\x");
	for (size_t i = 0; i < n; i++)
		buf_printf(&hex, "%02x", bytes[i]);
	put_value(out, buf_data(&hex), hex.len);
	buf_clear(&hex);
}

static void
put_row(struct buf *out, const char *life, const ClientTransaction *t)
{
	struct buf mark = { 0 };
	char own[32], *operations = transaction_operations(t);

	snprintf(own, sizeof own, SAT_POSTGRES_ORIGIN, service_instance());
	transaction_mark(&mark, t);
	put_16(out, N_COLUMNS);
	put_text(out, life);
	put_number(out, t->position);
	put_text(out, own);
	put_bytea(out, buf_data(&mark), mark.len);
	put_text(out, t->client_id);
	put_text(out, t->user_id);
	put_bytea(out, t->lsn.data, t->lsn.len);
	put_number(out, t->timestamp);
	put_text(out, operations);
	put_text(out, t->sqlstate);
	put_text(out, t->fault);
	buf_clear(&mark);
	free(operations);
}

void
incoming_transaction(struct buf *out, const char *life, const ClientTransaction *t)
{
	uint64_t now = clock_now(), lsn = t->position;
	size_t at = begin_xlog_data(out, lsn, 'B');

	put_64(out, lsn);
	put_64(out, now);
	buf_put_be32(out, 0); /* xid */
	end_message(out, at);

	at = begin_xlog_data(out, lsn, 'I');
	buf_put_be32(out, RELATION);
	put_8(out, 'N');
	put_row(out, life, t);
	end_message(out, at);

	at = begin_xlog_data(out, lsn, 'C');
	put_8(out, 0);	  /* flags */
	put_64(out, lsn); /* as in begin */
	put_64(out, lsn); /* its end: what the worker reports when it is durable */
	put_64(out, now);
	end_message(out, at);
}
