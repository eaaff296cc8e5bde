/* One child process: its arguments, its environment, its file descriptors, and nothing else. */
#ifndef LEYDEN_SPAWN_H
#define LEYDEN_SPAWN_H

#include <sys/types.h>

#include "supervise.h"

struct spawn {
	const struct program *program;
	unsigned index;		  /* which instance or which of several, from 1 */
	int control, port, ready; /* fds to hand over; -1: none */
	bool check;		  /* run with --check-config, silent but for stderr */
};

/* The pid, or -1 with errno. The child is killed when leyden dies. */
pid_t spawn(const struct spawn *s);

#endif
