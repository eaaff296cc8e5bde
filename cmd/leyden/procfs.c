/* What the kernel says of a process. */
#include "procfs.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *
state_word(char letter)
{
	switch (letter) {
	case 'R':
		return "running";
	case 'S':
	case 'I':
		return "sleeping";
	case 'D':
		return "waiting for a disk";
	case 'T':
	case 't':
		return "stopped";
	default:
		return "gone";
	}
}

struct process_figures
procfs_read(pid_t pid)
{
	struct process_figures figures = { .state = "gone" };
	char path[64], line[1024];
	unsigned long user, kernel;
	long resident;
	const char *rest;
	char letter;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
	f = fopen(path, "re");
	if (f == NULL)
		return figures;
	/* The name in parentheses may hold anything. Then: state, 10 numbers, times of the user and the
	 * kernel, 8 numbers, pages. */
	if (fgets(line, sizeof line, f) != NULL && (rest = strrchr(line, ')')) != NULL &&
	    sscanf(rest + 1,
		" %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %lu %lu %*s %*s %*s %*s %*s %*s %*s %*s %ld",
		&letter, &user, &kernel, &resident) == 4) {
		figures.state = state_word(letter);
		figures.cpu_seconds = (double)(user + kernel) / (double)sysconf(_SC_CLK_TCK);
		figures.resident_bytes = (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
	}
	fclose(f);
	return figures;
}
