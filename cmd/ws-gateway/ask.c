/* Requests to other tools that are answered by id. */
#include "ask.h"

#include <stdlib.h>

#include "xalloc.h"

#define BUCKETS 4096 /* a power of two */

struct ask {
	struct ask *prev, *next;	     /* all, oldest first */
	struct ask *owner_prev, *owner_next; /* of one owner */
	struct ask *bucket_next;
	struct ask_owner *owner;
	struct peer *peer;
	uint32_t id;
	Frame__BodyCase body_case;
	struct buf packed;
	ask_fn *fn;
	void *data;
};

static struct ask *oldest, *newest, *buckets[BUCKETS];

uint32_t
ask_id(void)
{
	static uint32_t last;

	if (++last == 0)
		last = 1;
	return last;
}

void
ask(struct peer *peer, struct ask_owner *owner, uint32_t id, Frame__BodyCase body_case,
    const ProtobufCMessage *request, ask_fn *fn, void *data)
{
	struct ask *a = xcalloc(1, sizeof *a);
	size_t n = protobuf_c_message_get_packed_size(request);

	*a = (struct ask){
		.owner = owner, .peer = peer, .id = id, .body_case = body_case, .fn = fn, .data = data
	};
	buf_added(&a->packed, protobuf_c_message_pack(request, buf_room(&a->packed, n)));
	a->prev = newest;
	*(newest != NULL ? &newest->next : &oldest) = a;
	newest = a;
	a->owner_next = owner->first;
	if (owner->first != NULL)
		owner->first->owner_prev = a;
	owner->first = a;
	a->bucket_next = buckets[id % BUCKETS];
	buckets[id % BUCKETS] = a;
	peer_send_packed(peer, body_case, &a->packed);
}

static void
forget(struct ask *a)
{
	struct ask **at = &buckets[a->id % BUCKETS];

	while (*at != a)
		at = &(*at)->bucket_next;
	*at = a->bucket_next;
	*(a->prev != NULL ? &a->prev->next : &oldest) = a->next;
	*(a->next != NULL ? &a->next->prev : &newest) = a->prev;
	*(a->owner_prev != NULL ? &a->owner_prev->owner_next : &a->owner->first) = a->owner_next;
	if (a->owner_next != NULL)
		a->owner_next->owner_prev = a->owner_prev;
	buf_clear(&a->packed);
	free(a);
}

void
ask_answered(uint32_t id, const Frame *answer)
{
	for (struct ask *a = buckets[id % BUCKETS]; a != NULL; a = a->bucket_next) {
		if (a->id == id) {
			ask_fn *fn = a->fn;
			void *data = a->data;

			forget(a);
			fn(data, answer);
			return;
		}
	}
}

void
ask_cancel(struct ask_owner *owner)
{
	while (owner->first != NULL)
		forget(owner->first); /* NOLINT(clang-analyzer-unix.Malloc): which takes it out of the list */
}

void
ask_again(struct peer *peer)
{
	for (struct ask *a = oldest; a != NULL; a = a->next)
		if (a->peer == peer)
			peer_send_packed(peer, a->body_case, &a->packed);
}
