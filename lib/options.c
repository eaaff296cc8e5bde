/* Flags and environment from one table. */
#include "options.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exits.h"
#include "xalloc.h"

#ifndef LEYDEN_VERSION
#define LEYDEN_VERSION "unknown"
#endif

#define EACH_OPTION(set, o)                                                                                  \
	for (const struct option_def *const *t_ = (set)->tables; *t_ != NULL; t_++)                          \
		for (const struct option_def *o = *t_; o->target != NULL; o++)

static const char *
metavar(enum option_type type)
{
	switch (type) {
	case OPT_UINT:
		return " N";
	case OPT_PORT:
		return " PORT";
	case OPT_BYTES:
		return " BYTES";
	case OPT_SECONDS:
		return " SECONDS";
	case OPT_STRING:
		return " VALUE";
	case OPT_BOOL:
		break;
	}
	return "";
}

static void
print_help(const struct option_set *set)
{
	printf("usage: %s %s\n%s\n\n", set->tool, set->usage, set->summary);
	EACH_OPTION(set, o)
	{
		char left[64];

		if (o->flag != NULL)
			snprintf(left, sizeof left, "--%s%s", o->flag, metavar(o->type));
		else
			snprintf(left, sizeof left, "%s", o->env);
		printf("  %-30s %s", left, o->help);
		if (o->flag != NULL && o->env != NULL)
			printf(" [%s]", o->env);
		if (o->fallback != NULL)
			printf(" (%s)", o->fallback);
		printf("\n");
	}
	printf("  %-30s %s\n  %-30s %s\n", "-h, --help", "this text", "-V, --version", "the version");
}

static bool
parse_number(const char *text, bool bytes, bool seconds, uint64_t max, uint64_t *out)
{
	char *end;
	uint64_t v, unit = 1;

	if (!isdigit((unsigned char)text[0]))
		return false;
	errno = 0;
	v = strtoull(text, &end, 10);
	if (errno != 0)
		return false;
	if (bytes && *end != '\0' && strchr("kMG", *end) != NULL)
		unit = *end == 'k' ? 1024 : *end == 'M' ? 1024 * 1024 : 1024 * 1024 * 1024, end++;
	else if (seconds && *end != '\0' && strchr("smhd", *end) != NULL)
		unit = *end == 's' ? 1 : *end == 'm' ? 60 : *end == 'h' ? 3600 : 86400, end++;
	if (*end != '\0' || v > max / unit)
		return false;
	*out = v * unit;
	return true;
}

/* A copy for ever: one that a flag has replaced stays known too, so that it is no leak. */
static char *
keep(const char *text)
{
	struct kept {
		struct kept *next;
		char text[];
	};
	static struct kept *all;
	size_t n = strlen(text) + 1;
	struct kept *k = xmalloc(sizeof *k + n);

	memcpy(k->text, text, n);
	k->next = all;
	all = k;
	return k->text;
}

/* Sets the target from text; false when the text does not fit the type. */
static bool
assign(const struct option_def *o, const char *text)
{
	uint64_t v;

	switch (o->type) {
	case OPT_STRING:
		*(char **)o->target = keep(text);
		return true;
	case OPT_BOOL:
		*(bool *)o->target = true;
		return true;
	case OPT_UINT:
	case OPT_PORT:
		if (!parse_number(text, false, false, o->type == OPT_PORT ? 65535 : UINT32_MAX, &v))
			return false;
		*(unsigned *)o->target = (unsigned)v;
		return true;
	case OPT_BYTES:
	case OPT_SECONDS:
		return parse_number(
		    text, o->type == OPT_BYTES, o->type == OPT_SECONDS, INT64_MAX, (uint64_t *)o->target);
	}
	return false;
}

static const char *
wanted(enum option_type type)
{
	switch (type) {
	case OPT_PORT:
		return "a port number (0 to 65535)";
	case OPT_UINT:
		return "a number";
	case OPT_BYTES:
		return "a size in bytes (k, M, G may follow)";
	case OPT_SECONDS:
		return "a time in seconds (m, h, d may follow)";
	default:
		return "a value";
	}
}

static void
assign_from_environment(const struct option_set *set)
{
	EACH_OPTION(set, o)
	{
		const char *value = o->env != NULL ? getenv(o->env) : NULL;

		if (o->fallback != NULL)
			assign(o, o->fallback);
		if (value == NULL || value[0] == '\0')
			continue;
		if (!assign(o, value)) {
			fprintf(stderr, "%s: %s: not %s: \"%s\"\n", set->tool, o->env, wanted(o->type),
			    o->secret != OPT_SHOWN ? "***" : value);
			exit(EX_CONFIG);
		}
	}
}

int
options_parse(const struct option_set *set, int argc, char **argv, bool check_required)
{
	const struct option_def *by_index[64];
	struct option longs[64 + 3];
	int n = 0, c;

	EACH_OPTION(set, o)
	{
		if (o->flag == NULL || n == 64)
			continue;
		longs[n] = (struct option){ o->flag, o->type == OPT_BOOL ? no_argument : required_argument,
			NULL, 256 + n };
		by_index[n++] = o;
	}
	longs[n] = (struct option){ "help", no_argument, NULL, 'h' };
	longs[n + 1] = (struct option){ "version", no_argument, NULL, 'V' };
	longs[n + 2] = (struct option){ 0 };

	assign_from_environment(set);
	while ((c = getopt_long(argc, argv, "hV", longs, NULL)) != -1) {
		if (c == 'h') {
			print_help(set);
			exit(EX_OK);
		}
		if (c == 'V') {
			printf("%s %s\n", set->tool, LEYDEN_VERSION);
			exit(EX_OK);
		}
		if (c < 256) /* getopt_long has said what is wrong */
			exit(EX_USAGE);
		if (!assign(by_index[c - 256], optarg)) {
			fprintf(stderr, "%s: --%s: not %s: \"%s\"\n", set->tool, by_index[c - 256]->flag,
			    wanted(by_index[c - 256]->type), optarg);
			exit(EX_USAGE);
		}
		if (by_index[c - 256]->secret != OPT_SHOWN)
			memset(optarg, '*', strlen(optarg));
	}
	if (check_required)
		options_require(set);
	return optind;
}

void
options_require(const struct option_set *set)
{
	EACH_OPTION(set, o)
	{
		if (o->required && *(char **)o->target == NULL) {
			if (o->env != NULL)
				fprintf(stderr, "%s: %s is not set\n", set->tool, o->env);
			else
				fprintf(stderr, "%s: --%s is required\n", set->tool, o->flag);
			exit(o->env != NULL ? EX_CONFIG : EX_USAGE);
		}
	}
}

void
options_print(const struct option_set *set)
{
	EACH_OPTION(set, o)
	{
		if (o->env == NULL)
			continue;
		printf("%s=", o->env);
		switch (o->type) {
		case OPT_STRING:
			if (*(char **)o->target != NULL)
				printf("%s", o->secret == OPT_SECRET ? "***" : *(char **)o->target);
			break;
		case OPT_UINT:
		case OPT_PORT:
			printf("%u", *(unsigned *)o->target);
			break;
		case OPT_BYTES:
		case OPT_SECONDS:
			printf("%" PRIu64, *(uint64_t *)o->target);
			break;
		case OPT_BOOL:
			printf("%s", *(bool *)o->target ? "true" : "false");
			break;
		}
		printf("\n");
	}
}
