/*
 * auth-check: holds the keys, and says of a token whose it is or why it is refused. ws-gateway, which reads
 * what strangers send, asks here and never sees a key.
 */
#include <inttypes.h>
#include <time.h>

#include "command.h"
#include "log.h"
#include "service.h"
#include "settings.h"
#include "token.h"
#include "xalloc.h"

static uint64_t accepted, refused;

static void
verify(struct peer *peer, const Frame *frame)
{
	TokenVerified answer = TOKEN_VERIFIED__INIT;
	struct token_verdict verdict;

	token_verify(&settings.policy, frame->verify_token->token, (uint64_t)time(NULL), &verdict);
	answer.id = frame->verify_token->id;
	if (verdict.user_id != NULL) {
		accepted++;
		answer.user_id = verdict.user_id;
		answer.expires = verdict.expires;
	} else {
		refused++;
		answer.error = verdict.reason;
		log_debug("token-refused", "reason=%s", log_quote(verdict.reason));
	}
	peer_send(peer, FRAME__BODY_TOKEN_VERIFIED, &answer);
	token_verdict_clear(&verdict);
}

static void
check(bool to_print)
{
	(void)to_print;
	settings_resolve(true);
}

static int
begin(void)
{
	if (settings.policy.insecure)
		log_warning("insecure", "variable=AUTH_MODE note=%s",
		    log_quote("signatures are not checked: anyone may say to be anyone"));
	service_ready("");
	return 0;
}

static char *
status(void)
{
	return xasprintf("\"mode\":\"%s\",\"accepted\":%" PRIu64 ",\"refused\":%" PRIu64,
	    settings.policy.insecure ? "insecure" : "secure", accepted, refused);
}

int
main(int argc, char **argv)
{
	static const struct handler handlers[] = {
		{ FRAME__BODY_VERIFY_TOKEN, "ws-gateway", verify },
		{ 0 },
	};
	static const struct service auth_check = {
		.name = "auth-check",
		.summary = "verifies and makes tokens: auth-check [gen-token USER_ID | verify]",
		.options = settings_options,
		.peers = { .handlers = handlers },
		.command = command_run,
		.check = check,
		.open = begin,
		.status = status,
	};

	return service_run(&auth_check, argc, argv);
}
