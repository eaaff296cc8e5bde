/* Asking a running tool for its status, from the command line. */
#ifndef LEYDEN_STATUS_H
#define LEYDEN_STATUS_H

#include <stdbool.h>

/*
 * Asks the tool whose socket has this name, waiting at most two seconds: its status as JSON, allocated; NULL
 * with *error set to a sentence.
 */
char *status_ask(const char *socket_name, const char **error);
/* Asks and prints, as JSON or as lines for a person. Returns the exit code. */
int status_print(const char *socket_name, bool as_json);
/* Prints a JSON text as indented `key: value` lines. */
void status_render(const char *json);

#endif
