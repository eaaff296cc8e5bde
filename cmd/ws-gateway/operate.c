/* What an operator does from the command line. */
#include "operate.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "exits.h"
#include "inquiry.h"
#include "log.h"
#include "rundir.h"
#include "service.h"
#include "xalloc.h"

static struct inquiry *all; /* every gateway that runs, and log-store */
static size_t n_gateways;
static struct arena memory; /* of their answers */

/* The exit code. */
static int
ask_all(Frame__BodyCase body_case, const void *message, Frame__BodyCase wanted)
{
	static const AskStatus ask = ASK_STATUS__INIT;
	char **names = rundir_sockets("ws-gateway", &n_gateways);
	int code = EX_OK;
	size_t answered = 0;

	all = xcalloc(n_gateways + 1, sizeof *all);
	for (size_t i = 0; i < n_gateways; i++)
		all[i] = (struct inquiry){ names[i], body_case, message, wanted, NULL, NULL };
	all[n_gateways] = (struct inquiry){ "log-store", FRAME__BODY_ASK_STATUS, &ask,
		FRAME__BODY_STATUS_TOLD, NULL, NULL };
	inquire(all, n_gateways + 1, &memory);
	for (size_t i = 0; i < n_gateways; i++) {
		answered += all[i].answer != NULL;
		if (all[i].answer != NULL)
			continue;
		fprintf(stderr, "%s: not running, or not answering: %s\n", names[i], all[i].error);
		code = EX_UNAVAILABLE;
	}
	free(names); /* the names themselves stay, in `all` */
	if (n_gateways == 0)
		fprintf(stderr, "ws-gateway: none runs (LEYDEN_RUN_DIR=%s)\n", service_run_dir());
	return answered > 0 ? code : EX_UNAVAILABLE;
}

/* The log's last position as log-store knows it, which a gateway may not have read yet; 0: it does not say.
 */
static uint64_t
log_end(void)
{
	const Frame *told = all[n_gateways].answer;
	json_t *status = told != NULL ? json_loads(told->status_told->json, 0, NULL) : NULL;
	uint64_t last = (uint64_t)json_integer_value(json_object_get(status, "last"));

	json_decref(status);
	return last;
}

static void
format_time(char out[32], uint64_t ms)
{
	time_t seconds = (time_t)(ms / 1000);
	struct tm tm;

	gmtime_r(&seconds, &tm);
	strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

static void
print_line(const char *gateway, const ClientTold *c, const char *since, uint64_t lag)
{
	printf("client_id=%s user_id=%s", log_quote(c->client_id), log_quote(c->user_id));
	printf(" address=%s gateway=%s since=%s state=%s position=%" PRIu64 " lag_transactions=%" PRIu64
	       " lag_bytes=%" PRIu64 " queued_bytes=%" PRIu64 " stalled_seconds=%.1f subscriptions=%u"
	       " pending_writes=%u\n",
	    c->address, gateway, since, c->state, c->position, lag, c->lag_bytes, c->queued_bytes, c->stalled,
	    c->subscriptions, c->pending_writes);
}

static json_t *
as_object(const char *gateway, const ClientTold *c, const char *since, uint64_t lag)
{
	return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:I,s:I,s:I,s:I,s:f,s:i,s:i}", "client_id", c->client_id,
	    "user_id", c->user_id, "address", c->address, "gateway", gateway, "since", since, "state",
	    c->state, "position", (json_int_t)c->position, "lag_transactions", (json_int_t)lag, "lag_bytes",
	    (json_int_t)c->lag_bytes, "queued_bytes", (json_int_t)c->queued_bytes, "stalled_seconds",
	    c->stalled, "subscriptions", (int)c->subscriptions, "pending_writes", (int)c->pending_writes);
}

int
operate_list(bool as_json)
{
	AskClients ask = ASK_CLIENTS__INIT;
	int code = ask_all(FRAME__BODY_ASK_CLIENTS, &ask, FRAME__BODY_CLIENTS_TOLD);
	uint64_t end = log_end();
	json_t *list = json_array();

	for (size_t i = 0; i < n_gateways; i++) {
		const Frame *f = all[i].answer;

		for (size_t k = 0; f != NULL && k < f->clients_told->n_clients; k++) {
			const ClientTold *c = f->clients_told->clients[k];
			bool behind = c->position > 0 && end > c->position;
			char since[32];

			format_time(since, c->since);
			if (as_json)
				json_array_append_new(list,
				    as_object(all[i].socket_name, c, since, behind ? end - c->position : 0));
			else
				print_line(all[i].socket_name, c, since, behind ? end - c->position : 0);
		}
	}
	if (as_json) {
		json_dumpf(list, stdout, JSON_COMPACT);
		putchar('\n');
	}
	json_decref(list);
	return code;
}

int
operate_disconnect(const char *client_id)
{
	DisconnectClient message = DISCONNECT_CLIENT__INIT;
	int code;

	message.client_id = (char *)(uintptr_t)client_id;
	code = ask_all(FRAME__BODY_DISCONNECT_CLIENT, &message, FRAME__BODY_CLIENT_DISCONNECTED);
	for (size_t i = 0; i < n_gateways; i++) {
		if (all[i].answer == NULL || !all[i].answer->client_disconnected->found)
			continue;
		printf("client_id=%s gateway=%s disconnected\n", log_quote(client_id), all[i].socket_name);
		return EX_OK;
	}
	if (code != EX_OK)
		return code;
	fprintf(stderr, "ws-gateway: no client %s is connected\n", log_quote(client_id));
	return EX_DATAERR;
}
