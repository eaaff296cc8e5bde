/*
 * The verification policy. The checks are in a fixed order and each has its text, which clients' operators
 * know from the service that this one stands in for; the token's own word on how it is to be verified counts
 * for nothing.
 *
 * Limits: a token is at most TOKEN_MAX bytes; JSON with the same key twice, with NUL characters or with
 * broken UTF-8 is refused.
 */
#include "token.h"

#include <jansson.h>
#include <jwt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arena.h"
#include "base64.h"
#include "xalloc.h"

#define TOKEN_MAX (64 * 1024)

static bool
is_set(const char *s)
{
	return s != NULL && s[strspn(s, " \t\r\n")] != '\0';
}

/* ---- taking a token apart */

/* A part of a token: base64url, and what it decodes to. */
struct part {
	const char *text;
	size_t text_n;
	uint8_t *bytes;
	size_t n;
};

static bool
decode(struct arena *a, struct part *part)
{
	part->bytes = arena_alloc(a, BASE64_ROOM(part->text_n));
	return base64url_decode(part->text, part->text_n, part->bytes, &part->n);
}

/* Three parts with dots between them. */
static bool
split(struct arena *a, const char *token, struct part parts[3])
{
	for (int i = 0; i < 3; i++) {
		parts[i].text = token;
		parts[i].text_n = strcspn(token, ".");
		if ((token[parts[i].text_n] == '.') != (i < 2) || !decode(a, &parts[i]))
			return false;
		token += parts[i].text_n + 1;
	}
	return true;
}

static json_t *
object_of(const struct part *part)
{
	json_t *value = json_loadb((const char *)part->bytes, part->n, JSON_REJECT_DUPLICATES, NULL);

	if (json_is_object(value))
		return value;
	json_decref(value);
	return NULL;
}

/* ---- the claims */

static bool
refuse(struct token_verdict *verdict, const char *reason)
{
	snprintf(verdict->reason, sizeof verdict->reason, "%s", reason);
	return false;
}

static bool
refuse_value(struct token_verdict *verdict, const char *claim, const json_t *value)
{
	char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_ENSURE_ASCII);

	snprintf(verdict->reason, sizeof verdict->reason, "Invalid \"%s\" claim value: %.200s", claim,
	    text != NULL ? text : "");
	free(text);
	return false;
}

static bool
required_are_there(const struct token_policy *policy, const json_t *claims, struct token_verdict *verdict)
{
	const char *const required[] = { "iat", "exp", policy->issuer != NULL ? "iss" : "iat",
		policy->audience != NULL ? "aud" : "iat" };

	for (size_t i = 0; i < sizeof required / sizeof required[0]; i++) {
		if (json_object_get(claims, required[i]) != NULL)
			continue;
		snprintf(
		    verdict->reason, sizeof verdict->reason, "Missing required \"%s\" claim", required[i]);
		return false;
	}
	return true;
}

/* iat and nbf must have been, exp must be still to come, each only if present. */
static bool
times_fit(
    const struct token_policy *policy, const json_t *claims, uint64_t now, struct token_verdict *verdict)
{
	const json_t *iat = json_object_get(claims, "iat"), *nbf = json_object_get(claims, "nbf");
	const json_t *exp = json_object_get(claims, "exp");
	double latest = (double)now + (double)policy->skew, earliest = (double)now - (double)policy->skew,
	       end;

	if (iat != NULL && !(json_is_number(iat) && json_number_value(iat) < latest))
		return refuse_value(verdict, "iat", iat);
	if (nbf != NULL && !(json_is_number(nbf) && json_number_value(nbf) < latest))
		return refuse(verdict, "Token is not yet valid");
	if (exp == NULL)
		return true;
	if (!json_is_number(exp))
		return refuse_value(verdict, "exp", exp);
	end = json_number_value(exp);
	if (!(end > earliest))
		return refuse(verdict, "Expired token");
	verdict->expires = end < 1 ? 1 : end < 9e18 ? (uint64_t)end : INT64_MAX;
	return true;
}

static bool
is_text(const json_t *value, const char *wanted)
{
	return json_is_string(value) && strcmp(json_string_value(value), wanted) == 0;
}

/* An audience is a text, or an array that holds it. */
static bool
audience_fits(const json_t *aud, const char *wanted)
{
	size_t i;
	const json_t *one;

	if (!json_is_array(aud))
		return is_text(aud, wanted);
	json_array_foreach(aud, i, one) if (is_text(one, wanted)) return true;
	return false;
}

static bool
find_user(const struct token_policy *policy, const json_t *claims, struct token_verdict *verdict)
{
	const json_t *user;

	if (policy->claim != NULL) {
		user = json_object_get(json_object_get(claims, policy->claim), "user_id");
	} else {
		user = json_object_get(claims, "user_id");
		if (user == NULL)
			user = json_object_get(claims, "sub");
	}
	if (!json_is_string(user) || !is_set(json_string_value(user)))
		return refuse(verdict, "Missing or invalid 'user_id'");
	verdict->user_id = xstrdup(json_string_value(user));
	return true;
}

static bool
judge_claims(
    const struct token_policy *policy, const json_t *claims, uint64_t now, struct token_verdict *verdict)
{
	if (!policy->insecure && !required_are_there(policy, claims, verdict))
		return false;
	if (!times_fit(policy, claims, now, verdict))
		return false;
	if (!policy->insecure) {
		const json_t *iss = json_object_get(claims, "iss"), *aud = json_object_get(claims, "aud");

		if (policy->issuer != NULL && !is_text(iss, policy->issuer))
			return refuse_value(verdict, "iss", iss);
		if (policy->audience != NULL && !audience_fits(aud, policy->audience))
			return refuse_value(verdict, "aud", aud);
	}
	return find_user(policy, claims, verdict);
}

/* May this key have signed a token that names `id` as its key (NULL: none)? */
static bool
is_candidate(const struct key *key, const char *id)
{
	return key->id == NULL || id == NULL || strcmp(key->id, id) == 0;
}

static bool
signature_fits(const struct token_policy *policy, const struct part parts[3], const char *id)
{
	size_t signed_n = (size_t)(parts[2].text - parts[0].text) - 1;

	for (size_t i = 0; i < policy->keys.n; i++)
		if (is_candidate(&policy->keys.all[i], id) &&
		    signature_verify(policy->alg, &policy->keys.all[i], (const uint8_t *)parts[0].text,
			signed_n, parts[2].bytes, parts[2].n))
			return true;
	return false;
}

/* Of the header, only these count: keys that a token brings along, or says where to find, are nobody's. */
static bool
judge_header(const struct token_policy *policy, const struct part parts[3], const json_t *header,
    struct token_verdict *verdict)
{
	const json_t *id = json_object_get(header, "kid");

	if (policy->insecure)
		return true;
	/* "crit" lists what must be understood, and nothing that it may list is known here. */
	if (json_object_get(header, "crit") != NULL || (id != NULL && !json_is_string(id)))
		return refuse(verdict, "Invalid token");
	if (!is_text(json_object_get(header, "alg"), policy->alg))
		return refuse(verdict, "Signing algorithm mismatch");
	if (!signature_fits(policy, parts, json_string_value(id)))
		return refuse(verdict, "Invalid token signature");
	return true;
}

void
token_verify(
    const struct token_policy *policy, const char *token, uint64_t now, struct token_verdict *verdict)
{
	struct arena a = { 0 };
	struct part parts[3] = { 0 };
	json_t *header = NULL, *claims = NULL;

	memset(verdict, 0, sizeof *verdict);
	if (strnlen(token, TOKEN_MAX + 1) <= TOKEN_MAX && split(&a, token, parts)) {
		header = object_of(&parts[0]);
		claims = object_of(&parts[1]);
	}
	if (header == NULL || claims == NULL)
		refuse(verdict, "Invalid token");
	else if (judge_header(policy, parts, header, verdict))
		judge_claims(policy, claims, now, verdict);
	json_decref(header);
	json_decref(claims);
	arena_clear(&a);
}

void
token_verdict_clear(struct token_verdict *verdict)
{
	free(verdict->user_id);
	memset(verdict, 0, sizeof *verdict);
}

/* ---- making tokens */

/* NULL when one of the texts is not UTF-8. */
static char *
claims_for(const struct token_policy *policy, const char *user_id, uint64_t now, uint64_t expires)
{
	json_t *claims = json_object();
	json_t *user = json_string(user_id);
	char *text = NULL;
	int bad = 0;

	if (policy->claim != NULL)
		user = json_pack("{s:o}", "user_id", user);
	bad |= json_object_set_new(claims, "iat", json_integer((json_int_t)now - 1));
	bad |= json_object_set_new(claims, "nbf", json_integer((json_int_t)now - 1));
	bad |= json_object_set_new(claims, "exp", json_integer((json_int_t)expires));
	bad |= json_object_set_new(claims, policy->claim != NULL ? policy->claim : "user_id", user);
	if (policy->issuer != NULL)
		bad |= json_object_set_new(claims, "iss", json_string(policy->issuer));
	if (policy->audience != NULL)
		bad |= json_object_set_new(claims, "aud", json_string(policy->audience));
	if (bad == 0)
		text = json_dumps(claims, JSON_COMPACT);
	json_decref(claims);
	return text;
}

char *
token_make(const struct token_policy *policy, const char *private_key, const char *user_id, uint64_t now,
    uint64_t expires)
{
	char *claims = claims_for(policy, user_id, now, expires), *made, *token = NULL;
	const struct key *secret = NULL;
	const void *key = private_key;
	size_t key_n = private_key != NULL ? strlen(private_key) : 0;
	jwt_t *jwt = NULL;

	if (!policy->insecure && signature_is_secret(policy->alg)) {
		secret = policy->keys.n > 0 ? &policy->keys.all[0] : NULL;
		key = secret != NULL ? secret->secret : NULL;
		key_n = secret != NULL ? secret->secret_n : 0;
	} else if (!policy->insecure &&
		   (private_key == NULL || !signature_private_key_fits(policy->alg, private_key))) {
		key = NULL;
	}
	if (claims == NULL || (key == NULL && !policy->insecure) || jwt_new(&jwt) != 0)
		goto out;
	if (secret != NULL && secret->id != NULL && jwt_add_header(jwt, "kid", secret->id) != 0)
		goto out;
	if (jwt_add_grants_json(jwt, claims) != 0)
		goto out;
	if (policy->insecure ? jwt_set_alg(jwt, JWT_ALG_NONE, NULL, 0) != 0
			     : jwt_set_alg(jwt, jwt_str_alg(policy->alg), key, (int)key_n) != 0)
		goto out;
	made = jwt_encode_str(jwt);
	if (made != NULL)
		token = xstrdup(made);
	free(made);
out:
	jwt_free(jwt);
	free(claims);
	return token;
}
