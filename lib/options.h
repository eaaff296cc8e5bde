/*
 * Flags and environment from one table, and the help text from the same table.
 *
 * A variable sets an option, its flag overrides it, an empty variable counts as unset. What is wrong is said
 * in one line on stderr that names the flag or the variable; the exit code is EX_USAGE for a flag, EX_CONFIG
 * for a variable.
 */
#ifndef LEYDEN_OPTIONS_H
#define LEYDEN_OPTIONS_H

#include <stdbool.h>

enum option_type {
	OPT_STRING, /* char *: allocated, never freed */
	OPT_BOOL,   /* bool: a flag without argument; no variable */
	OPT_UINT,   /* unsigned */
	OPT_PORT,   /* unsigned, 0 to 65535 */
	OPT_BYTES,  /* uint64_t; k, M and G multiply by 1024 */
	OPT_SECONDS /* uint64_t; m, h and d multiply */
};

struct option_def {
	const char *flag; /* long flag without dashes; NULL: none */
	const char *env;  /* variable; NULL: none */
	enum option_type type;
	void *target;
	const char *fallback; /* in the form of an argument; NULL leaves the target as it is */
	const char *help;     /* one line */
	bool required;
	/*
	 * A secret is masked by options_print(); of one in part, what may be shown is the tool's to say. The
	 * arguments of the process, which others can see, are overwritten with either.
	 */
	enum option_secrecy { OPT_SHOWN, OPT_SECRET, OPT_SECRET_IN_PART } secret;
};

struct option_set {
	const char *tool;
	const char *usage;   /* what follows the tool's name in the first line of the help text */
	const char *summary; /* what the tool does, one line */
	const struct option_def *const
	    *tables; /* NULL-terminated list of tables, each ended by a NULL target */
};

/*
 * Sets every option. -h and -V print and exit. Flags may stand before and after the other arguments, which
 * are moved to the end of argv; returns the index of the first of them. With check_required false, missing
 * options are no error.
 */
int options_parse(const struct option_set *set, int argc, char **argv, bool check_required);
/* Ends the process with EX_CONFIG and one line if a required option is missing. */
void options_require(const struct option_set *set);
/* name=value lines of every option that has a variable, secrets masked, to stdout. */
void options_print(const struct option_set *set);

#endif
