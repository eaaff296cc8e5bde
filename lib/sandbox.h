/*
 * What a tool can still do once it is set up and before it reads a foreign byte: a list of system calls, no
 * new privileges, no core file, and nobody but root looks into it. A call that is not on the list fails with
 * EPERM.
 */
#ifndef LEYDEN_SANDBOX_H
#define LEYDEN_SANDBOX_H

/* More than computing, the sockets that it has, and Unix sockets; to be combined. */
enum sandbox {
	SANDBOX_NONE = 1 << 0,	/* no list: it starts programs */
	SANDBOX_READ = 1 << 1,	/* opens files to read */
	SANDBOX_FILES = 1 << 2, /* opens files to read and write */
	SANDBOX_DIAL = 1 << 3	/* connects to other machines */
};

/* For the rest of the process' life. A system that does not have all of this is told of in the log. */
void sandbox_enter(unsigned allowed);

#endif
