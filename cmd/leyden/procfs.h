/* What the kernel says of a process, also of one that does not answer. */
#ifndef LEYDEN_PROCFS_H
#define LEYDEN_PROCFS_H

#include <stdint.h>
#include <sys/types.h>

struct process_figures {
	const char *state;	 /* "running", "sleeping", "waiting for a disk", "stopped", …; static */
	double cpu_seconds;	 /* used so far */
	uint64_t resident_bytes; /* of memory */
};

/* All zero, and the state "gone", when there is no such process. */
struct process_figures procfs_read(pid_t pid);

#endif
