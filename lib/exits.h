/* Exit codes: sysexits(3), and what a supervisor is to make of each. */
#ifndef LEYDEN_EXITS_H
#define LEYDEN_EXITS_H

#include <sysexits.h>

/*
 * EX_USAGE 64, EX_CONFIG 78: a person must mend it; starting again does not help.
 * EX_DATAERR 65: the input given on the command line or stdin is bad.
 * EX_UNAVAILABLE 69, EX_OSERR 71, EX_IOERR 74, EX_PROTOCOL 76: starting again may help.
 * EX_SOFTWARE 70: a bug.
 * EX_NOPERM 77: auth-check verify refused a token.
 */

#endif
