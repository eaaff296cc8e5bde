/* gen-token and verify. */
#include "command.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "buf.h"
#include "exits.h"
#include "settings.h"
#include "signature.h"
#include "token.h"

#define DEFAULT_LIFETIME (UINT64_C(365) * 86400)
#define LONGEST_LIFETIME (UINT64_C(1000) * 365 * 86400)
#define FIRST_UNIX_TIME	 UINT64_C(1000000000) /* a smaller --exp is a lifetime in seconds */
#define INPUT_MAX	 (1024 * 1024)

static int
usage(const char *what)
{
	fprintf(stderr,
	    "auth-check: %s; usage: auth-check gen-token USER_ID ... [--exp SECONDS|UNIXTIME | --ttl "
	    "SECONDS] "
	    "[--private-key FILE] [--format json|csv] [--output FILE], auth-check verify < TOKEN\n",
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

/* A number of seconds, of which m, h and d make more. */
static bool
read_seconds(const char *text, uint64_t *seconds)
{
	static const struct {
		const char *suffix;
		uint64_t seconds;
	} units[] = { { "", 1 }, { "s", 1 }, { "m", 60 }, { "h", 3600 }, { "d", 86400 } };
	char *end;
	uint64_t n;

	errno = 0;
	n = strtoull(text, &end, 10);
	for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
		if (strcmp(end, units[i].suffix) != 0)
			continue;
		*seconds = n * units[i].seconds;
		return isdigit((unsigned char)text[0]) && errno == 0 &&
		       n <= LONGEST_LIFETIME / units[i].seconds;
	}
	return false;
}

/* When a token made now ends. 0, or EX_USAGE. */
static int
expiry(uint64_t now, uint64_t *expires)
{
	uint64_t n = DEFAULT_LIFETIME;

	if (settings.expires != NULL && settings.lifetime != NULL)
		return usage("--exp and --ttl say the same: give one of them");
	if (settings.expires != NULL && !read_seconds(settings.expires, &n))
		return usage("--exp: not a lifetime in seconds or a Unix time");
	if (settings.lifetime != NULL && !read_seconds(settings.lifetime, &n))
		return usage("--ttl: not a time in seconds (m, h, d may follow)");
	*expires = settings.expires != NULL && n >= FIRST_UNIX_TIME ? n : now + n;
	return 0;
}

static char *
format_time(uint64_t when, char text[32])
{
	time_t t = (time_t)when;
	struct tm tm;

	strcpy(text, "never");
	if (when != 0 && gmtime_r(&t, &tm) != NULL)
		strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
	return text;
}

// ---- gen-token

enum format { TOKENS, CSV, JSON };

static void
put_csv_field(struct buf *out, const char *text)
{
	if (text[strcspn(text, ",\"\r\n")] == '\0') {
		buf_puts(out, text);
		return;
	}
	buf_puts(out, "\"");
	for (; *text != '\0'; text++)
		buf_printf(out, *text == '"' ? "\"\"" : "%c", *text);
	buf_puts(out, "\"");
}

/* The users' tokens, in the form asked for. False: one cannot be made. */
static bool
make_tokens(struct buf *out, enum format format, char **users, const char *private_key, uint64_t expires)
{
	json_t *all = json_object();
	char when[32], *token, *text;

	format_time(expires, when);
	for (; *users != NULL; users++) {
		token = token_make(&settings.policy, private_key, *users, (uint64_t)time(NULL), expires);
		if (token == NULL)
			break;
		if (format == JSON) {
			json_object_set_new(
			    all, *users, json_pack("{s:s,s:s}", "token", token, "expiry", when));
		} else if (format == CSV) {
			put_csv_field(out, *users);
			buf_printf(out, ",%s,%s\n", token, when);
		} else {
			buf_printf(out, "%s\n", token);
		}
		free(token);
	}
	if (format == JSON && *users == NULL) {
		text = json_dumps(all, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
		buf_printf(out, "%s\n", text);
		free(text);
	}
	json_decref(all);
	return *users == NULL;
}

/* To stdout, or to the file of --output, which only its owner may read. */
static int
write_out(const struct buf *out)
{
	int fd = STDOUT_FILENO;
	FILE *f = stdout;

	if (settings.output != NULL) {
		fd = open(settings.output, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		f = fd >= 0 ? fdopen(fd, "w") : NULL;
	}
	if (f == NULL || fwrite(buf_data(out), 1, out->len, f) != out->len || fflush(f) != 0) {
		fprintf(stderr, "auth-check: %s: %s\n", settings.output != NULL ? settings.output : "stdout",
		    strerror(errno));
		return fd < 0 ? EX_CANTCREAT : EX_IOERR;
	}
	if (settings.output != NULL) {
		fclose(f);
		printf("Written token information to %s\n", settings.output);
	}
	return EX_OK;
}

static bool
read_private_key(struct buf *pem)
{
	FILE *f = fopen(settings.private_key, "re");

	if (f == NULL || !read_all(f, pem)) {
		fprintf(stderr, "auth-check: --private-key: %s: %s\n", settings.private_key, strerror(errno));
		return false;
	}
	fclose(f);
	return true;
}

static int
gen_token(char **users)
{
	enum format format = settings.output != NULL ? CSV : TOKENS;
	uint64_t expires = 0;
	struct buf pem = { 0 }, out = { 0 };
	int code;

	settings_resolve(settings.private_key == NULL);
	if (!settings.policy.insecure &&
	    signature_is_secret(settings.policy.alg) != (settings.private_key == NULL))
		return usage("--private-key FILE signs tokens of an AUTH_JWT_ALG that begins with RS or ES, "
			     "no others");
	if (settings.format != NULL) {
		format = strcmp(settings.format, "json") == 0 ? JSON : CSV;
		if (format == CSV && strcmp(settings.format, "csv") != 0) {
			fprintf(stderr, "auth-check: Invalid format '%s'\n", settings.format);
			return EX_USAGE;
		}
	}
	if ((code = expiry((uint64_t)time(NULL), &expires)) != 0)
		return code;
	for (char **user = users; *user != NULL; user++)
		if ((*user)[strspn(*user, " \t\r\n")] == '\0')
			return usage("USER_ID is blank");
	if (settings.private_key != NULL && !read_private_key(&pem))
		return EX_NOINPUT;
	if (make_tokens(&out, format, users, settings.private_key != NULL ? buf_cstr(&pem) : NULL, expires)) {
		code = write_out(&out);
	} else {
		fprintf(stderr,
		    "auth-check: cannot sign: the key does not fit AUTH_JWT_ALG, or the user id is "
		    "not UTF-8\n");
		code = EX_DATAERR;
	}
	if (pem.len > 0)
		OPENSSL_cleanse(buf_data(&pem), pem.len);
	buf_clear(&pem);
	buf_clear(&out);
	return code;
}

// ---- verify

static int
verify(void)
{
	struct token_verdict verdict;
	struct buf b = { 0 };
	char *token, when[32];
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
	printf("user_id: %s\nexpires: %s\n", verdict.user_id, format_time(verdict.expires, when));
	token_verdict_clear(&verdict);
	return EX_OK;
}

int
command_run(int argc, char **argv)
{
	if (argc == 0)
		return -1;
	if (strcmp(argv[0], "gen-token") == 0)
		return argc >= 2 ? gen_token(argv + 1) : usage("gen-token takes a USER_ID, or several");
	if (strcmp(argv[0], "verify") == 0)
		return argc == 1 ? verify() : usage("verify reads the token on stdin");
	return usage("unknown command");
}
