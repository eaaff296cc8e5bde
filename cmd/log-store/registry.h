/*
 * Clients: which gateway holds which client id (in memory: it ends with the connection of the gateway), and
 * what is kept of each client (in the file).
 */
#ifndef LOG_STORE_REGISTRY_H
#define LOG_STORE_REGISTRY_H

#include "peer.h"

void registry_attach(struct peer *gateway, const Frame *frame);
void registry_detach(struct peer *gateway, const Frame *frame);
void registry_forget_subscriptions(struct peer *gateway, const Frame *frame);
/* Stores or replaces a client's subscription. */
void registry_save_subscription(const char *client_id, Subscription *subscription);

void registry_peer_down(struct peer *peer);
size_t registry_count(void);

#endif
