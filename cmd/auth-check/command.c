/* gen-token and verify. */
#include "command.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "buf.h"
#include "exits.h"
#include "settings.h"
#include "signature.h"
#include "token.h"

#define DEFAULT_LIFETIME (UINT64_C(365) * 86400)
#define FIRST_UNIX_TIME	 UINT64_C(1000000000) /* a smaller --exp is a lifetime in seconds */
#define INPUT_MAX	 (1024 * 1024)

static int
usage(const char *what)
{
	fprintf(stderr,
	    "auth-check: %s; usage: auth-check gen-token USER_ID [--exp SECONDS|UNIXTIME] "
	    "[--private-key FILE], auth-check verify < TOKEN\n",
	    what);
	return EX_USAGE;
}

/* All of a file, at most INPUT_MAX; allocated by the buffer. False with errno. */
static bool
read_all(FILE *f, struct buf *b)
{
	size_t n;

	while (b->len < INPUT_MAX && (n = fread(buf_room(b, 65536), 1, 65536, f)) > 0)
		buf_added(b, n);
	return ferror(f) == 0;
}

/* When a token made now ends; false when --exp is not a number. */
static bool
expiry(uint64_t now, uint64_t *expires)
{
	const char *text = settings.expires;
	char *end;
	uint64_t n;

	*expires = now + DEFAULT_LIFETIME;
	if (text == NULL)
		return true;
	errno = 0;
	n = strtoull(text, &end, 10);
	if (!isdigit((unsigned char)text[0]) || *end != '\0' || errno != 0 || n > INT64_MAX / 2)
		return false;
	*expires = n < FIRST_UNIX_TIME ? now + n : n;
	return true;
}

static int
gen_token(const char *user_id)
{
	uint64_t now = (uint64_t)time(NULL), expires;
	struct buf pem = { 0 };
	const char *key;
	char *token;

	settings_resolve(settings.private_key == NULL);
	key = settings.policy.key;
	if (!settings.policy.insecure &&
	    signature_is_secret(settings.policy.alg) != (settings.private_key == NULL))
		return usage("--private-key FILE signs tokens of an AUTH_JWT_ALG that begins with RS or ES, "
			     "no others");
	if (!expiry(now, &expires))
		return usage("--exp: not a lifetime in seconds or a Unix time");
	if (user_id[strspn(user_id, " \t\r\n")] == '\0')
		return usage("USER_ID is blank");
	if (settings.private_key != NULL) {
		FILE *f = fopen(settings.private_key, "re");

		if (f == NULL || !read_all(f, &pem)) {
			fprintf(stderr, "auth-check: --private-key: %s: %s\n", settings.private_key,
			    strerror(errno));
			return EX_NOINPUT;
		}
		fclose(f);
		key = buf_cstr(&pem);
	}
	token = token_make(&settings.policy, key, user_id, now, expires);
	if (token == NULL) {
		fprintf(stderr,
		    "auth-check: cannot sign: the key does not fit AUTH_JWT_ALG, or the user id is "
		    "not UTF-8\n");
		return EX_DATAERR;
	}
	puts(token);
	free(token);
	buf_clear(&pem);
	return EX_OK;
}

static int
verify(void)
{
	struct token_verdict verdict;
	struct buf b = { 0 };
	char *token, when[32] = "never";
	time_t expires;
	struct tm tm;
	size_t n;

	settings_resolve(true);
	if (!read_all(stdin, &b)) {
		fprintf(stderr, "auth-check: stdin: %s\n", strerror(errno));
		return EX_IOERR;
	}
	token = buf_cstr(&b);
	for (n = b.len; n > 0 && isspace((unsigned char)token[n - 1]); n--)
		token[n - 1] = '\0';
	if (strlen(token) != n)
		token[0] = '\0'; /* a NUL within: no token */
	token_verify(&settings.policy, token, (uint64_t)time(NULL), &verdict);
	buf_clear(&b);
	if (verdict.user_id == NULL) {
		fprintf(stderr, "auth-check: %s\n", verdict.reason);
		return EX_NOPERM;
	}
	expires = (time_t)verdict.expires;
	if (expires != 0 && gmtime_r(&expires, &tm) != NULL)
		strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &tm);
	printf("user_id: %s\nexpires: %s\n", verdict.user_id, when);
	token_verdict_clear(&verdict);
	return EX_OK;
}

int
command_run(int argc, char **argv)
{
	if (argc == 0)
		return -1;
	if (strcmp(argv[0], "gen-token") == 0)
		return argc == 2 ? gen_token(argv[1]) : usage("gen-token takes one USER_ID");
	if (strcmp(argv[0], "verify") == 0)
		return argc == 1 ? verify() : usage("verify reads the token on stdin");
	return usage("unknown command");
}
