/* The run directory (mode 0700) and the sockets in it. */
#ifndef LEYDEN_RUNDIR_H
#define LEYDEN_RUNDIR_H

#include <stddef.h>
#include <sys/types.h>

/* configured, or $XDG_RUNTIME_DIR/leyden, or /run/leyden; allocated. */
char *rundir_resolve(const char *configured);
/* 0, or -1 with a log line. */
int rundir_make(const char *dir);
/*
 * What a tool's socket is called: the tool's name, and "-N" for the tools that each Postgres has (pg-*, N its
 * instance) or that run several times (ws-gateway, N its number). Allocated.
 */
char *rundir_socket_name(const char *tool, unsigned instance, unsigned number);
/* The names of the sockets of a tool to which somebody listens, by number; an allocated array of allocated
 * texts. */
char **rundir_sockets(const char *tool, size_t *n);
/* Binds and listens on a tool's socket, replacing one that nobody listens on: the fd, or -1 with a log line.
 */
int rundir_listen(const char *socket_name);

/* Lets a group into the run directory, and connect to this socket in it. 0, or -1 with a log line. */
int rundir_share(const char *socket_name, gid_t group);

#endif
