/* auth-check on the command line: making and judging tokens. */
#ifndef AUTH_CHECK_COMMAND_H
#define AUTH_CHECK_COMMAND_H

/* The arguments after the flags. The exit code, or -1 when there are none: serve. */
int command_run(int argc, char **argv);

#endif
