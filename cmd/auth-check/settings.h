/* The AUTH_* variables and their flags. */
#ifndef AUTH_CHECK_SETTINGS_H
#define AUTH_CHECK_SETTINGS_H

#include "options.h"
#include "token.h"

struct settings {
	struct token_policy policy;
	/* gen-token's flags */
	char *expires;	   /* --exp */
	char *lifetime;	   /* --ttl */
	char *private_key; /* --private-key: a file */
	char *format;	   /* --format; NULL: not said */
	char *output;	   /* --output: a file; NULL: stdout */
};

extern struct settings settings;
extern const struct option_def settings_options[];

/* Fills in settings.policy. What is wrong ends the process with one line that names the variable. */
void settings_resolve(bool with_key);
/* The file that AUTH_JWT_KEY names, or NULL. */
const char *settings_key_file(void);
/* Reads it again. NULL, or what is wrong: then the keys stay as they are. */
const char *settings_read_keys(void);

#endif
