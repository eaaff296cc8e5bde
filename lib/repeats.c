/* Which lines of the log are written, and which are counted only. */
#include "repeats.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define LINES  64  /* that are remembered at a time */
#define EVENTS 128 /* more than there are in any tool */
#define TEXT   512

static struct line {
	const char *event; /* NULL: free */
	int level;
	time_t since;
	uint64_t repeated; /* and not told */
	char text[TEXT];
} lines[LINES];

static struct event {
	const char *name;
	int level;
	time_t since;			   /* beginning of the window */
	uint64_t total, written, withheld; /* the latter two in the window */
} events[EVENTS];
static size_t n_events;

static time_t
seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return now.tv_sec;
}

/* The last one stands for all that find no place. */
static struct event *
event_find(int level, const char *name)
{
	size_t i = 0;

	while (i < n_events && (events[i].level != level || strcmp(events[i].name, name) != 0))
		i++;
	if (i == n_events && n_events < EVENTS)
		events[n_events++] = (struct event){ .name = name, .level = level };
	return &events[i < EVENTS ? i : EVENTS - 1];
}

static void
tell_line(struct line *l, time_t now, repeats_fn *fn)
{
	char text[TEXT + 64];

	snprintf(text, sizeof text, "%s repeated=%" PRIu64 " seconds=%ld", l->text, l->repeated,
	    (long)(now - l->since));
	if (l->repeated > 0)
		fn(l->level, l->event, text);
	l->event = NULL;
}

static void
tell_event(struct event *e, time_t now, repeats_fn *fn)
{
	char text[128];

	snprintf(text, sizeof text,
	    "withheld=%" PRIu64 " seconds=%ld note=\"more lines of this event than are written\"",
	    e->withheld, (long)(now - e->since));
	if (e->withheld > 0)
		fn(e->level, e->name, text);
	e->written = e->withheld = 0;
}

static bool
is_same(const struct line *l, int level, const char *event, const char *text)
{
	return l->event != NULL && l->level == level && strcmp(l->event, event) == 0 &&
	       strncmp(l->text, text, TEXT - 1) == 0;
}

/* The same line, or the place for it: a free one, or that of the oldest. */
static struct line *
line_find(int level, const char *event, const char *text)
{
	struct line *place = &lines[0];

	for (struct line *l = lines; l < lines + LINES; l++) {
		if (is_same(l, level, event, text))
			return l;
		if (place->event != NULL && (l->event == NULL || l->since < place->since))
			place = l;
	}
	return place;
}

bool
repeats_admit(int level, const char *event, const char *text, repeats_fn *fn)
{
	time_t now = seconds();
	struct event *e = event_find(level, event);
	struct line *l = line_find(level, event, text);

	e->total++;
	if (now - e->since >= REPEATS_WINDOW) {
		tell_event(e, now, fn);
		e->since = now;
	}
	if (is_same(l, level, event, text) && now - l->since < REPEATS_WINDOW) {
		l->repeated++;
		return false;
	}
	if (e->written == REPEATS_MAX) {
		e->withheld++;
		return false;
	}
	if (l->event != NULL)
		tell_line(l, now, fn);
	*l = (struct line){ .event = event, .level = level, .since = now };
	snprintf(l->text, sizeof l->text, "%s", text);
	e->written++;
	return true;
}

bool
repeats_tell(bool at_the_end, repeats_fn *fn)
{
	time_t now = seconds();
	bool left = false;

	for (struct line *l = lines; l < lines + LINES; l++) {
		if (l->event != NULL && (at_the_end || now - l->since >= REPEATS_WINDOW))
			tell_line(l, now, fn);
		left |= l->event != NULL && l->repeated > 0;
	}
	for (struct event *e = events; e < events + n_events; e++) {
		if (at_the_end || now - e->since >= REPEATS_WINDOW)
			tell_event(e, now, fn);
		left |= e->withheld > 0;
	}
	return left;
}

void
repeats_totals(int level, void (*fn)(void *data, const char *event, uint64_t n), void *data)
{
	for (const struct event *e = events; e < events + n_events; e++)
		if (e->level == level)
			fn(data, e->name, e->total);
}
