/* What all tools count and measure. */
#include "scrape.h"

#include <stdlib.h>
#include <string.h>

#include "peer.h"
#include "satellite.h"
#include "service.h"
#include "xalloc.h"

#define ASK_EVERY 1.0 /* seconds */

/* A tool, and what it said last. */
struct source {
	struct source *next;
	struct peer *peer;
	char *labels; /* that its samples have besides their own */
	struct arena memory;
	const MetricsTold *told; /* NULL: nothing yet */
	double at;		 /* loop time */
};

static struct source own = { .labels = (char *)(uintptr_t) "" }; /* http-api's */
static struct source *sources = &own, **sources_end = &own.next;

static void
ask(struct peer *peer)
{
	AskMetrics message = ASK_METRICS__INIT;

	peer_send(peer, FRAME__BODY_ASK_METRICS, &message);
}

/* The frame is gone after the call: a copy is kept. */
static void
keep(struct source *s, const MetricsTold *told)
{
	size_t n = metrics_told__get_packed_size(told);
	uint8_t *packed = xmalloc(n);

	metrics_told__pack(told, packed);
	arena_reset(&s->memory);
	s->told = metrics_told__unpack(arena_pb(&s->memory), n, packed);
	s->at = ev_now(loop());
	free(packed);
}

static void
on_told(struct peer *peer, const Frame *f)
{
	keep(peer->data, f->metrics_told);
}

static void
on_ask(struct ev_loop *l, ev_timer *w, int events)
{
	(void)l;
	(void)w;
	(void)events;
	for (struct source *s = own.next; s != NULL; s = s->next)
		ask(s->peer);
}

static void
add(char *socket_name, char *labels)
{
	static const struct handler handlers[] = { { FRAME__BODY_METRICS_TOLD, NULL, on_told }, { 0 } };
	static const struct peer_hooks hooks = { .handlers = handlers, .up = ask };
	struct source *s = xcalloc(1, sizeof *s);

	s->labels = labels;
	s->peer = peer_connect(socket_name, &hooks, s);
	*sources_end = s;
	sources_end = &s->next;
}

void
scrape_open(unsigned databases, unsigned gateways)
{
	static const char *const singles[] = { "leyden", "log-store", "auth-check" };
	static const char *const per_database[] = { "pg-ingest", "pg-snapshot", "pg-publish" };
	static ev_timer every;

	for (size_t i = 0; i < sizeof singles / sizeof *singles; i++)
		add(xstrdup(singles[i]), xstrdup(""));
	for (size_t i = 0; i < sizeof per_database / sizeof *per_database; i++)
		for (unsigned n = 1; n <= databases; n++)
			add(xasprintf("%s-%u", per_database[i], n),
			    xasprintf("connector=\"" SAT_POSTGRES_ORIGIN "\"", n));
	for (unsigned n = 1; n <= gateways; n++)
		add(xasprintf("ws-gateway-%u", n), xasprintf("gateway=\"%u\"", n));
	ev_timer_init(&every, on_ask, ASK_EVERY, ASK_EVERY);
	ev_timer_start(loop(), &every);
}

// ---- the text

static void
put_sample(struct buf *out, const char *name, const char *tools, const Sample *s)
{
	bool any = tools[0] != '\0' || s->labels[0] != '\0', both = tools[0] != '\0' && s->labels[0] != '\0';

	buf_printf(out, "%s%s", name, s->suffix);
	if (any)
		buf_printf(out, "{%s%s%s}", tools, both ? "," : "", s->labels);
	buf_printf(out, " %.16g\n", s->value);
}

static const Metric *
find(const struct source *s, const char *name)
{
	for (size_t i = 0; i < s->told->n_metrics; i++)
		if (strcmp(s->told->metrics[i]->name, name) == 0)
			return s->told->metrics[i];
	return NULL;
}

static bool
is_fresh(const struct source *s)
{
	return s->told != NULL && ev_now(loop()) - s->at < SCRAPE_SECONDS;
}

/* The format wants all samples of a family in one place: the tools that follow have theirs in it, too. */
static void
put_family(struct buf *out, const struct source *first, const Metric *family)
{
	bool begun = false;

	for (const struct source *s = first; s != NULL; s = s->next) {
		const Metric *same = is_fresh(s) ? find(s, family->name) : NULL;

		for (size_t i = 0; same != NULL && i < same->n_samples; i++) {
			if (!begun)
				buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", family->name, family->help,
				    family->name, family->type);
			begun = true;
			put_sample(out, family->name, s->labels, same->samples[i]);
		}
	}
}

static bool
is_put(const struct source *before, const char *name)
{
	for (const struct source *s = sources; s != before; s = s->next)
		if (is_fresh(s) && find(s, name) != NULL)
			return true;
	return false;
}

void
scrape_put(struct buf *out)
{
	struct metrics m;

	service_metrics(&m);
	keep(&own, &m.told);
	arena_clear(&m.memory);
	for (const struct source *s = sources; s != NULL; s = s->next)
		for (size_t i = 0; is_fresh(s) && i < s->told->n_metrics; i++)
			if (!is_put(s, s->told->metrics[i]->name))
				put_family(out, s, s->told->metrics[i]);
}
