/* The AUTH_* variables and their flags. */
#ifndef AUTH_CHECK_SETTINGS_H
#define AUTH_CHECK_SETTINGS_H

#include "options.h"
#include "token.h"

struct settings {
	struct token_policy policy;
	char *expires;	   /* gen-token's --exp */
	char *private_key; /* gen-token's --private-key: a file */
};

extern struct settings settings;
extern const struct option_def settings_options[];

/* Fills in settings.policy. What is wrong ends the process with one line that names the variable. */
void settings_resolve(bool with_key);

#endif
