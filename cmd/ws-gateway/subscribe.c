/* Subscriptions of a client. */
#include "subscribe.h"

#include <stdlib.h>
#include <string.h>

#include "delivery.h"
#include "extent.h"
#include "log.h"
#include "replicate.h"
#include "schema.h"
#include "shape.h"
#include "upstream.h"
#include "xalloc.h"

#define REQUEST_MAX 65536 /* bytes of a SatSubsReq: checking one takes the square of its length */

// ---- subscriptions

static struct subscription *
subscription_add(struct client *c, const Subscription *saved)
{
	struct subscription *s = xcalloc(1, sizeof *s), **at = &c->subscriptions;
	size_t n = subscription__get_packed_size(saved);
	uint8_t *packed = arena_alloc(&s->memory, n);

	subscription__pack(saved, packed);
	s->saved = subscription__unpack(arena_pb(&s->memory), n, packed);
	while (*at != NULL)
		at = &(*at)->next;
	*at = s;
	return s;
}

static void
subscription_free(struct subscription *s)
{
	arena_clear(&s->memory);
	free(s);
}

static struct subscription *
subscription_find(struct client *c, const char *id)
{
	for (struct subscription *s = c->subscriptions; s != NULL; s = s->next)
		if (strcmp(s->saved->subscription_id, id) == 0)
			return s;
	return NULL;
}

static bool
is_among(const uint32_t *list, size_t n, uint32_t relation)
{
	for (size_t i = 0; i < n; i++)
		if (list[i] == relation)
			return true;
	return false;
}

/* Did its snapshot see the transaction, which comes after it in the log? */
static bool
shows(const struct subscription *s, const Transaction *t)
{
	const SnapshotExtent *extent = s->saved->extent;

	return s->active && extent != NULL && t->position > s->saved->position &&
	       extent->instance == t->instance && extent_sees(extent, t->xid);
}

/* Do the rows of this table that the client had show the transaction? */
static bool
has_seen(const struct client *c, uint32_t relation, const Transaction *t)
{
	for (const struct subscription *s = c->subscriptions; s != NULL; s = s->next)
		if (shows(s, t) && is_among(s->saved->seen, s->saved->n_seen, relation))
			return true;
	return false;
}

/* The tables of active subscriptions, but for those that have shown `seen` (NULL: none); allocated. */
static uint32_t *
active_relations(const struct client *c, const Transaction *seen, size_t *n)
{
	uint32_t *relations = NULL;

	*n = 0;
	for (const struct subscription *s = c->subscriptions; s != NULL; s = s->next) {
		if (!s->active)
			continue;
		for (size_t i = 0; i < s->saved->n_requests; i++) {
			const Subscription__Request *r = s->saved->requests[i];

			for (size_t k = 0; k < r->n_relations; k++) {
				if (is_among(relations, *n, r->relations[k]) ||
				    (seen != NULL && has_seen(c, r->relations[k], seen)))
					continue;
				relations = xrealloc(relations, (*n + 1) * sizeof *relations);
				relations[(*n)++] = r->relations[k];
			}
		}
	}
	return relations;
}

static void
update_audience(struct client *c)
{
	size_t n;
	uint32_t *relations = active_relations(c, NULL, &n);

	audience_unref(c->audience);
	c->audience = replicate_audience(c, relations, n);
	free(relations);
}

struct audience *
subscribe_audience(const struct client *c, const Transaction *t)
{
	const struct subscription *s = c->subscriptions;
	struct audience *a;
	uint32_t *relations;
	size_t n;

	while (s != NULL && !shows(s, t))
		s = s->next;
	if (s == NULL)
		return NULL;
	relations = active_relations(c, t, &n);
	a = replicate_audience(c, relations, n);
	free(relations);
	return a;
}

void
subscription_keep_extent(
    struct subscription *s, const SnapshotExtent *extent, const struct table_version *const *tables, size_t n)
{
	size_t size = snapshot_extent__get_packed_size(extent);
	uint8_t *packed = arena_alloc(&s->memory, size);

	snapshot_extent__pack(extent, packed);
	s->saved->extent = snapshot_extent__unpack(arena_pb(&s->memory), size, packed);
	s->saved->seen = arena_alloc(&s->memory, n * sizeof *s->saved->seen);
	s->saved->n_seen = n;
	for (size_t i = 0; i < n; i++)
		s->saved->seen[i] = tables[i]->def->relation;
}

void
subscription_save(struct client *c, struct subscription *s, ask_fn *fn)
{
	SaveSubscription request = SAVE_SUBSCRIPTION__INIT;

	request.id = ask_id();
	request.client_id = c->id;
	request.subscription = s->saved;
	ask(upstream_log(), &c->asks, request.id, FRAME__BODY_SAVE_SUBSCRIPTION, &request.base, fn, c);
}

static void
forget(struct client *c, char *id)
{
	ForgetSubscriptions request = FORGET_SUBSCRIPTIONS__INIT;

	request.client_id = c->id;
	request.subscription_ids = &id;
	request.n_subscription_ids = 1;
	peer_send(upstream_log(), FRAME__BODY_FORGET_SUBSCRIPTIONS, &request);
}

/* Takes it out of the client's list. */
static void
subscription_remove(struct client *c, struct subscription *s)
{
	struct subscription **at = &c->subscriptions;

	delivery_stop(c, s);
	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	subscription_free(s);
}

void
subscription_drop(struct client *c, struct subscription *s)
{
	forget(c, s->saved->subscription_id);
	subscription_remove(c, s);
}

void
subscription_activate(struct client *c, struct subscription *s)
{
	s->active = true;
	s->owes = false;
	update_audience(c);
}

// ---- the request

/* log-store has the newest subscription: the client may be told. */
static void
on_saved(void *data, const Frame *f)
{
	struct client *c = data;
	struct subscription *s = c->subscriptions;
	SatSubsResp response = SAT_SUBS_RESP__INIT;

	(void)f;
	while (s->next != NULL)
		s = s->next;
	response.subscription_id = s->saved->subscription_id;
	client_send(c, SAT_SUBS_RESP, &response.base);
	s->answered = true;
	log_debug("subscribed", "%s subscription=%s", client_name(c), s->saved->subscription_id);
	delivery_next(c);
	client_answered(c);
}

void
subscribe_request(struct client *c, const SatSubsReq *request)
{
	struct arena a = { 0 };
	SatSubsResp *refusal;
	Subscription saved = SUBSCRIPTION__INIT;

	if (sat_subs_req__get_packed_size(request) > REQUEST_MAX) {
		client_fail(
		    c, SAT_ERROR_RESP__ERROR_CODE__INVALID_REQUEST, "a subscription that is too long");
		return;
	}
	refusal = shape_check(&a, request, subscription_find(c, request->subscription_id) != NULL);
	if (refusal != NULL) {
		client_send(c, SAT_SUBS_RESP, &refusal->base);
		arena_clear(&a);
		return;
	}
	saved.subscription_id = request->subscription_id;
	saved.n_requests = request->n_shape_requests;
	saved.requests = arena_alloc(&a, saved.n_requests * sizeof *saved.requests);
	for (size_t i = 0; i < saved.n_requests; i++) {
		const SatShapeReq *shape = request->shape_requests[i];
		Subscription__Request *r = arena_alloc(&a, sizeof *r);

		subscription__request__init(r);
		r->request_id = shape->request_id;
		r->n_relations = shape->shape_definition->n_selects;
		r->relations = arena_alloc(&a, r->n_relations * sizeof *r->relations);
		for (size_t k = 0; k < r->n_relations; k++)
			r->relations[k] =
			    schema_find(shape->shape_definition->selects[k]->tablename)->def->relation;
		saved.requests[i] = r;
	}
	c->answering = true;
	subscription_save(c, subscription_add(c, &saved), on_saved);
	arena_clear(&a);
}

// ---- resume and end

static const Subscription *
saved_find(const struct client *c, const char *id)
{
	for (size_t i = 0; i < c->n_saved; i++)
		if (strcmp(c->saved[i]->subscription_id, id) == 0)
			return c->saved[i];
	return NULL;
}

const char *
subscribe_resume(struct client *c, char **ids, size_t n, uint64_t position, bool known)
{
	for (size_t i = 0; i < n; i++)
		if (subscription_find(c, ids[i]) == NULL && saved_find(c, ids[i]) == NULL)
			return ids[i];
	for (size_t i = 0; i < n; i++) {
		struct subscription *s = subscription_find(c, ids[i]);

		if (s == NULL) {
			s = subscription_add(c, saved_find(c, ids[i]));
			s->answered = true;
			s->active = s->saved->delivered && s->saved->position <= position;
			s->owes = s->active && s->saved->known_at != 0 && s->saved->known_at >= position &&
				  !(known && s->saved->known_at == position);
			if (!s->active) {
				s->saved->extent = NULL;
				s->saved->n_seen = 0;
			}
		}
	}
	update_audience(c);
	return NULL;
}

void
subscribe_cancel(struct client *c, const SatUnsubsReq *request)
{
	SatUnsubsResp response = SAT_UNSUBS_RESP__INIT;

	for (size_t i = 0; i < request->n_subscription_ids; i++) {
		struct subscription *s = subscription_find(c, request->subscription_ids[i]);

		if (s != NULL)
			subscription_remove(c, s);
		forget(c, request->subscription_ids[i]);
	}
	client_send(c, SAT_UNSUBS_RESP, &response.base);
	update_audience(c);
	delivery_next(c);
	replicate_pump(c);
}

void
subscribe_clear(struct client *c)
{
	while (c->subscriptions != NULL)
		subscription_remove(c, c->subscriptions);
	delivery_stop(c, NULL);
}

size_t
subscribe_count(const struct client *c)
{
	size_t n = 0;

	for (const struct subscription *s = c->subscriptions; s != NULL; s = s->next)
		n++;
	return n;
}
