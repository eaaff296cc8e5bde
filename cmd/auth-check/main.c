/*
 * auth-check: holds the keys, and says of a token whose it is or why it is refused. ws-gateway, which reads
 * what strangers send, asks here and never sees a key.
 */
#include <inttypes.h>
#include <openssl/crypto.h>
#include <time.h>

#include "command.h"
#include "log.h"
#include "service.h"
#include "settings.h"
#include "token.h"
#include "xalloc.h"

static uint64_t accepted, refused;
static struct histogram checks;

static void
verify(struct peer *peer, const Frame *frame)
{
	TokenVerified answer = TOKEN_VERIFIED__INIT;
	struct token_verdict verdict;
	struct timespec began, ended;

	clock_gettime(CLOCK_MONOTONIC, &began);
	token_verify(&settings.policy, frame->verify_token->token, (uint64_t)time(NULL), &verdict);
	clock_gettime(CLOCK_MONOTONIC, &ended);
	histogram_observe(
	    &checks, (double)(ended.tv_sec - began.tv_sec) + (double)(ended.tv_nsec - began.tv_nsec) / 1e9);
	answer.id = frame->verify_token->id;
	if (verdict.user_id != NULL) {
		accepted++;
		answer.user_id = verdict.user_id;
		/* The session ends when the token would no longer be taken: clocks may differ then, too. */
		answer.expires = verdict.expires != 0 ? verdict.expires + settings.policy.skew : 0;
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

/* The file of the keys is read again: another key takes over without a restart. */
static void
read_keys_again(void)
{
	const char *error = settings_read_keys();

	if (error != NULL)
		log_error("keys-kept", "variable=AUTH_JWT_KEY error=%s note=%s", log_quote(error),
		    log_quote("tokens are verified with the keys from before"));
	else
		log_info(
		    "keys-read", "file=%s keys=%zu", log_quote(settings_key_file()), settings.policy.keys.n);
}

static void
on_file_changed(struct ev_loop *l, ev_stat *w, int events)
{
	(void)l;
	(void)events;
	if (w->attr.st_nlink > 0) /* 0: it is not there */
		read_keys_again();
}

static void
reload(void)
{
	if (settings_key_file() != NULL)
		read_keys_again();
}

static int
begin(void)
{
	static ev_stat file;

	OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CONFIG, NULL); /* while it can read its files */
	if (settings_key_file() != NULL) {
		service_allow(SANDBOX_READ);
		ev_stat_init(&file, on_file_changed, settings_key_file(), 0.);
		ev_stat_start(loop(), &file);
	}
	if (settings.policy.insecure)
		log_warning("insecure", "variable=AUTH_MODE note=%s",
		    log_quote("signatures are not checked: anyone may say to be anyone"));
	service_ready("");
	return 0;
}

static char *
status(void)
{
	return xasprintf("\"mode\":\"%s\",\"keys\":%zu,\"accepted\":%" PRIu64 ",\"refused\":%" PRIu64,
	    settings.policy.insecure ? "insecure" : "secure", settings.policy.keys.n, accepted, refused);
}

static void
metrics(struct metrics *m)
{
	metrics_gauge(
	    m, "leyden_auth_keys", "Keys with which tokens are verified.", (double)settings.policy.keys.n);
	metrics_gauge(m, "leyden_auth_insecure", "Whether signatures of tokens are not checked.",
	    settings.policy.insecure);
	metrics_family(
	    m, "counter", "leyden_checked_tokens_total", "Tokens that were looked at, by verdict.");
	metrics_sample(m, (double)accepted, "verdict=\"accepted\"");
	metrics_sample(m, (double)refused, "verdict=\"refused\"");
	metrics_histogram(
	    m, "leyden_token_check_seconds", "Time that it takes to look at a token.", "", &checks);
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
		.reload = reload,
		.status = status,
		.metrics = metrics,
	};

	return service_run(&auth_check, argc, argv);
}
