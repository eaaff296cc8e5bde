/* The AUTH_* variables and their flags. A variable of blanks counts as unset. */
#include "settings.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

#include "service.h"

struct settings settings;

static char *mode, *alg, *key, *is_base64, *claim, *issuer, *audience;

const struct option_def settings_options[] = {
	{ "auth-mode", "AUTH_MODE", OPT_STRING, &mode, "secure", "secure or insecure", 0, 0 },
	{ "auth-jwt-alg", "AUTH_JWT_ALG", OPT_STRING, &alg, NULL, "HS256 to ES512", 0, 0 },
	{ "auth-jwt-key", "AUTH_JWT_KEY", OPT_STRING, &key, NULL,
	    "secret, PEM public key, or @/path of a file that holds keys", 0, 1 },
	{ "auth-jwt-key-is-base64-encoded", "AUTH_JWT_KEY_IS_BASE64_ENCODED", OPT_STRING, &is_base64, "false",
	    "true: the key is in base64", 0, 0 },
	{ "auth-jwt-namespace", "AUTH_JWT_NAMESPACE", OPT_STRING, &claim, NULL, "claim that holds user_id", 0,
	    0 },
	{ "auth-jwt-iss", "AUTH_JWT_ISS", OPT_STRING, &issuer, NULL, "issuer that tokens must have", 0, 0 },
	{ "auth-jwt-aud", "AUTH_JWT_AUD", OPT_STRING, &audience, NULL, "audience that tokens must have", 0,
	    0 },
	{ "auth-jwt-clock-skew", "AUTH_JWT_CLOCK_SKEW", OPT_SECONDS, &settings.policy.skew, "2",
	    "how far the issuer's clock may differ", 0, 0 },
	{ "exp", NULL, OPT_STRING, &settings.expires, NULL,
	    "gen-token: lifetime, or Unix time of the end (365d)", 0, 0 },
	{ "ttl", NULL, OPT_STRING, &settings.lifetime, NULL,
	    "gen-token: lifetime in seconds (m, h, d may follow)", 0, 0 },
	{ "private-key", NULL, OPT_STRING, &settings.private_key, NULL,
	    "gen-token: PEM file to sign with (RS, ES)", 0, 0 },
	{ "format", NULL, OPT_STRING, &settings.format, NULL,
	    "gen-token: json or csv, instead of the tokens alone", 0, 0 },
	{ "output", NULL, OPT_STRING, &settings.output, NULL, "gen-token: file to write to (csv)", 0, 0 },
	{ 0 },
};

static const char *
unless_blank(const char *s)
{
	return s != NULL && s[strspn(s, " \t\r\n")] != '\0' ? s : NULL;
}

/* A variable that is true or false, in the words that people use. */
static bool
truth(const char *variable, const char *word)
{
	static const char *const words[] = { "false", "true", "0", "1", "no", "yes" };

	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (strcasecmp(word, words[i]) == 0)
			return i % 2 == 1;
	service_config_error(variable, "not true or false: \"%s\"", word);
}

const char *
settings_key_file(void)
{
	return settings.policy.insecure ? NULL : keys_path(key);
}

const char *
settings_read_keys(void)
{
	return keys_read(&settings.policy.keys, alg, key, truth("AUTH_JWT_KEY_IS_BASE64_ENCODED", is_base64));
}

void
settings_resolve(bool with_key)
{
	struct token_policy *policy = &settings.policy;
	const char *error;

	if (strcmp(mode, "secure") != 0 && strcmp(mode, "insecure") != 0)
		service_config_error("AUTH_MODE", "Unsupported auth mode: \"%s\"", mode);
	policy->insecure = strcmp(mode, "insecure") == 0;
	policy->alg = alg;
	policy->claim = policy->insecure ? claim : unless_blank(claim);
	policy->issuer = unless_blank(issuer);
	policy->audience = unless_blank(audience);
	if (policy->insecure)
		return;
	if (!signature_known(alg))
		service_config_error(
		    "AUTH_JWT_ALG", "Missing or invalid 'alg' configuration option for secure auth mode");
	error = with_key ? settings_read_keys() : NULL;
	if (error != NULL)
		service_config_error("AUTH_JWT_KEY", "%s", error);
}
