/* How much of the log lies after a position. */
#include "measure.h"

#include <stddef.h>

#define MARKS 4096
#define MARK_GAP                                                                                             \
	(64 * 1024) /* bytes between two marks at least: together they reach back 256 MiB or more            \
		     */

/* So many bytes of the log were up to and with this position. */
struct mark {
	uint64_t position, total;
};

static struct mark ring[MARKS];
static size_t oldest, count;

static struct mark *
at(size_t i)
{
	return &ring[(oldest + i) % MARKS];
}

static void
push(struct mark m)
{
	if (count == MARKS)
		oldest = (oldest + 1) % MARKS;
	else
		count++;
	*at(count - 1) = m;
}

void
measure_begin(uint64_t first, uint64_t last, uint64_t bytes)
{
	count = 0;
	if (first > 0 && first <= last)
		push((struct mark){ first - 1, 0 });
	push((struct mark){ last, bytes });
}

void
measure_add(uint64_t position, uint64_t bytes)
{
	struct mark *newest = count > 0 ? at(count - 1) : NULL;

	if (newest == NULL)
		return;
	if (count > 2 && newest->total - at(count - 2)->total < MARK_GAP)
		*newest = (struct mark){ position, newest->total + bytes };
	else
		push((struct mark){ position, newest->total + bytes });
}

uint64_t
measure_after(uint64_t position)
{
	size_t low = 0, high = count > 0 ? count - 1 : 0;
	const struct mark *a, *b;

	if (count == 0 || position >= at(high)->position)
		return 0;
	while (high - low > 1) { /* at(low) is not after the position, at(high) is */
		size_t middle = (low + high) / 2;

		if (at(middle)->position <= position)
			low = middle;
		else
			high = middle;
	}
	a = at(low);
	b = at(high);
	if (position < a->position)
		position = a->position;
	return at(count - 1)->total - b->total +
	       (uint64_t)((double)(b->total - a->total) * (double)(b->position - position) /
			  (double)(b->position - a->position));
}
