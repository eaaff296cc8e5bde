/* leyden --status: what leyden and every tool say of themselves. */
#ifndef LEYDEN_REPORT_H
#define LEYDEN_REPORT_H

#include <jansson.h>
#include <stdbool.h>

/* Asks leyden which tools there are, then all of them at once; prints; returns the exit code. */
int report_print(bool as_json);

/* In report_text.c: the same object for people. */
void report_text(const json_t *root);

#endif
