/* The AUTH_* variables and their flags. A variable of blanks counts as unset. */
#include "settings.h"

#include <stddef.h>
#include <string.h>

#include "service.h"

struct settings settings;

static char *mode, *alg, *key, *claim, *issuer, *audience;

const struct option_def settings_options[] = {
	{ "auth-mode", "AUTH_MODE", OPT_STRING, &mode, "secure", "secure or insecure", 0, 0 },
	{ "auth-jwt-alg", "AUTH_JWT_ALG", OPT_STRING, &alg, NULL, "HS256 to ES512", 0, 0 },
	{ "auth-jwt-key", "AUTH_JWT_KEY", OPT_STRING, &key, NULL, "secret or PEM public key", 0, 1 },
	{ "auth-jwt-namespace", "AUTH_JWT_NAMESPACE", OPT_STRING, &claim, NULL, "claim that holds user_id", 0,
	    0 },
	{ "auth-jwt-iss", "AUTH_JWT_ISS", OPT_STRING, &issuer, NULL, "issuer that tokens must have", 0, 0 },
	{ "auth-jwt-aud", "AUTH_JWT_AUD", OPT_STRING, &audience, NULL, "audience that tokens must have", 0,
	    0 },
	{ "auth-jwt-clock-skew", "AUTH_JWT_CLOCK_SKEW", OPT_SECONDS, &settings.policy.skew, "2",
	    "how far the issuer's clock may differ", 0, 0 },
	{ "exp", NULL, OPT_STRING, &settings.expires, NULL,
	    "gen-token: lifetime, or Unix time of the end (365d)", 0, 0 },
	{ "private-key", NULL, OPT_STRING, &settings.private_key, NULL,
	    "gen-token: PEM file to sign with (RS, ES)", 0, 0 },
	{ 0 },
};

static const char *
unless_blank(const char *s)
{
	return s != NULL && s[strspn(s, " \t\r\n")] != '\0' ? s : NULL;
}

void
settings_resolve(bool with_key)
{
	struct token_policy *policy = &settings.policy;
	const char *variable, *error;

	if (strcmp(mode, "secure") != 0 && strcmp(mode, "insecure") != 0)
		service_config_error("AUTH_MODE", "Unsupported auth mode: \"%s\"", mode);
	policy->insecure = strcmp(mode, "insecure") == 0;
	policy->alg = alg;
	policy->key = key;
	policy->claim = policy->insecure ? claim : unless_blank(claim);
	policy->issuer = unless_blank(issuer);
	policy->audience = unless_blank(audience);
	error = token_policy_error(policy, with_key, &variable);
	if (error != NULL)
		service_config_error(variable, "%s", error);
}
