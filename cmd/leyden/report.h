/* leyden --status: what leyden and every tool say of themselves. */
#ifndef LEYDEN_REPORT_H
#define LEYDEN_REPORT_H

#include <stdbool.h>

/* Asks leyden which tools there are, then each of them; prints; returns the exit code. */
int report_print(bool as_json);

#endif
