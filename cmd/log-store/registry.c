/* Clients: who holds them, what is kept of them. */
#include "registry.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "arena.h"
#include "log.h"
#include "store.h"
#include "translog.h"
#include "writes.h"
#include "xalloc.h"

/* A client that a gateway holds. In a tree by id, and in the list of all. */
struct holder {
	struct holder *prev, *next;
	struct peer *gateway;
	uint32_t attached; /* id of the gateway's request */
	char *client_id;
};

static void *tree;
static struct holder *all;
static size_t count;

static int
by_id(const void *a, const void *b)
{
	return strcmp(((const struct holder *)a)->client_id, ((const struct holder *)b)->client_id);
}

static struct holder *
find(const char *client_id)
{
	struct holder key = { .client_id = (char *)(uintptr_t)client_id },
		      **found = tfind(&key, &tree, by_id);

	return found != NULL ? *found : NULL;
}

static void
hold(struct peer *gateway, uint32_t attached, const char *client_id)
{
	struct holder *h = xcalloc(1, sizeof *h);

	h->gateway = gateway;
	h->attached = attached;
	h->client_id = xstrdup(client_id);
	h->next = all;
	if (all != NULL)
		all->prev = h;
	all = h;
	tsearch(h, &tree, by_id);
	count++;
}

static void
release(struct holder *h)
{
	tdelete(h, &tree, by_id);
	*(h->prev != NULL ? &h->prev->next : &all) = h->next;
	if (h->next != NULL)
		h->next->prev = h->prev;
	free(h->client_id);
	free(h);
	count--;
}

void
registry_attach(struct peer *gateway, const Frame *f)
{
	const AttachClient *want = f->attach_client;
	ClientAttached done = CLIENT_ATTACHED__INIT;
	struct arena a = { 0 };
	ClientRecord *record = client_get(&a, want->client_id);
	struct holder *h = find(want->client_id);

	done.id = want->id;
	if (h != NULL && h->gateway != gateway) {
		done.result = CLIENT_ATTACHED__RESULT__BUSY;
	} else if (record->user_id[0] != '\0' && strcmp(record->user_id, want->user_id) != 0) {
		done.result = CLIENT_ATTACHED__RESULT__FOREIGN;
	} else if (h != NULL) {
		done.result = CLIENT_ATTACHED__RESULT__BUSY;
	} else {
		if (record->user_id[0] == '\0') {
			record->user_id = want->user_id;
			client_put(record);
		}
		hold(gateway, want->id, want->client_id);
		done.lsn = client_lsn(&a, want->client_id);
		done.subscriptions = record->subscriptions;
		done.n_subscriptions = record->n_subscriptions;
		done.first = translog_first();
		done.position = translog_visible();
	}
	peer_send(gateway, FRAME__BODY_CLIENT_ATTACHED, &done);
	arena_clear(&a);
}

void
registry_detach(struct peer *gateway, const Frame *f)
{
	struct holder *h = find(f->detach_client->client_id);

	if (h != NULL && h->gateway == gateway && h->attached == f->detach_client->attached)
		release(h);
}

void
registry_save_subscription(const char *client_id, Subscription *subscription)
{
	struct arena a = { 0 };
	ClientRecord *record = client_get(&a, client_id);
	Subscription **list = arena_alloc(&a, (record->n_subscriptions + 1) * sizeof *list);
	size_t n = 0;

	for (size_t i = 0; i < record->n_subscriptions; i++)
		if (strcmp(record->subscriptions[i]->subscription_id, subscription->subscription_id) != 0)
			list[n++] = record->subscriptions[i];
	list[n++] = subscription;
	record->subscriptions = list;
	record->n_subscriptions = n;
	client_put(record);
	arena_clear(&a);
}

static bool
is_listed(const char *id, char **ids, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(ids[i], id) == 0)
			return true;
	return false;
}

void
registry_forget_subscriptions(struct peer *gateway, const Frame *f)
{
	const ForgetSubscriptions *forget = f->forget_subscriptions;
	struct arena a = { 0 };
	ClientRecord *record = client_get(&a, forget->client_id);
	size_t n = 0;

	(void)gateway;
	for (size_t i = 0; i < record->n_subscriptions; i++)
		if (forget->n_subscription_ids > 0 &&
		    !is_listed(record->subscriptions[i]->subscription_id, forget->subscription_ids,
			forget->n_subscription_ids))
			record->subscriptions[n++] = record->subscriptions[i];
	if (n != record->n_subscriptions) {
		record->n_subscriptions = n;
		client_put(record);
	}
	arena_clear(&a);
}

void
registry_peer_down(struct peer *peer)
{
	for (struct holder *h = all, *next; h != NULL; h = next) {
		next = h->next;
		if (h->gateway == peer)
			release(h);
	}
}

size_t
registry_count(void)
{
	return count;
}
