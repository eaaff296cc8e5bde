/* Brings the stream to a place after now. */
#include "push.h"

#include <stdlib.h>

#include "pg.h"
#include "position.h"
#include "xalloc.h"

/*
 * Transactional, since only a commit makes Postgres write its WAL out at once. Whether a standby has it does
 * not matter.
 */
#define PUSH "SET synchronous_commit = local; SELECT pg_logical_emit_message(true, 'electric.meet', '')"

struct asker {
	push_fn *fn;
	void *data; /* NULL: forgotten */
	struct asker *next;
};

static struct pg pg;
static struct asker *waiting, *served; /* for the next push; by the one under way */
static unsigned tries;

static void go(void);

static void
answer_served(uint64_t lsn, const char *error)
{
	while (served != NULL) {
		struct asker *a = served;

		served = a->next;
		if (a->data != NULL)
			a->fn(a->data, lsn, error);
		free(a);
	}
}

static void
on_pushed(struct pg *p, PGresult *r)
{
	uint64_t lsn;

	(void)p;
	tries = 0;
	if (pg_failed(r, "push"))
		answer_served(0, pg_message(PQresultErrorMessage(r)));
	else if (PQntuples(r) != 1 || !pg_lsn_parse(PQgetvalue(r, 0, 0), &lsn))
		answer_served(0, "Postgres told no position");
	else
		answer_served(lsn, NULL);
	go();
}

static void
on_opened(struct pg *p)
{
	(void)p;
	pg_ask(&pg, PUSH, on_pushed);
}

static void
on_lost(struct pg *p, const char *why)
{
	(void)p;
	if (served == NULL)
		return;
	if (tries++ == 0) {
		pg_open(&pg);
		return;
	}
	tries = 0;
	answer_served(0, why);
	go();
}

/* Begins a push if somebody waits and none is under way. */
static void
go(void)
{
	if (served != NULL || waiting == NULL)
		return;
	served = waiting;
	waiting = NULL;
	if (pg.conn == NULL)
		pg_open(&pg);
	else
		pg_ask(&pg, PUSH, on_pushed);
}

void
push_ask(push_fn *fn, void *data)
{
	struct asker *a = xcalloc(1, sizeof *a);

	a->fn = fn;
	a->data = data;
	a->next = waiting;
	waiting = a;
	go();
}

void
push_forget(const void *data)
{
	for (struct asker *a = waiting; a != NULL; a = a->next)
		if (a->data == data)
			a->data = NULL;
	for (struct asker *a = served; a != NULL; a = a->next)
		if (a->data == data)
			a->data = NULL;
}

void
push_open(const char *url)
{
	static const struct pg_hooks hooks = { on_opened, on_lost, NULL };

	pg_init(&pg, url, "leyden pg-snapshot push", false, &hooks, NULL);
}
