/* Leyden's configuration: read once, checked as a whole, and left in the environment for the tools. */
#ifndef LEYDEN_CONFIG_H
#define LEYDEN_CONFIG_H

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

#include "options.h"
#include "service.h"

struct config {
	char *databases[DATABASES_MAX + 1]; /* DATABASE_URL of each instance, from 1 */
	unsigned n_databases;
	unsigned gateways;
	unsigned websocket_port, http_port;
	char *listen_address; /* NULL: all interfaces */
	char *libexec;	      /* where the tools' binaries are */
	char *user;	      /* whom the tools become; NULL: they stay who leyden is */
	gid_t group;	      /* theirs */
};

extern struct config config;
extern const struct option_def config_options[];

/*
 * Ends the process through service_config_error() when something cannot work. Afterwards the environment
 * holds the resolved value of every variable, also of those that a flag set.
 */
void config_check(void);
/* For --check-config: masks the passwords in DATABASE_URL, which is useless from then on; prints its fellows.
 */
void config_show_databases(void);

#endif
