/*
 * Requests to other tools that are answered by id. One that has no answer yet is sent again when the other
 * tool comes back: every request here may be repeated without harm.
 */
#ifndef WS_GATEWAY_ASK_H
#define WS_GATEWAY_ASK_H

#include "peer.h"

/* On whose behalf; embedded in the owner. All zero is valid. */
struct ask_owner {
	struct ask *first;
};

typedef void ask_fn(void *data, const Frame *answer);

/* The id for the next request: the caller puts it into the message. */
uint32_t ask_id(void);
/* Sends the request, which carries the id, and calls fn(data, answer) once. */
void ask(struct peer *peer, struct ask_owner *owner, uint32_t id, Frame__BodyCase body_case,
    const ProtobufCMessage *request, ask_fn *fn, void *data);
/* The answer to request `id` has come; unknown ids are ignored (their owner has gone). */
void ask_answered(uint32_t id, const Frame *answer);
/* Forgets all requests of an owner. */
void ask_cancel(struct ask_owner *owner);
/* The peer is up (again): sends what it has not answered, in order. */
void ask_again(struct peer *peer);

#endif
