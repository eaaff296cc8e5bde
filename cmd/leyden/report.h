/* leyden --status: what leyden and every tool say of themselves. */
#ifndef LEYDEN_REPORT_H
#define LEYDEN_REPORT_H

#include <jansson.h>
#include <stdbool.h>

/* Asks leyden which tools there are, then all of them at once; prints; returns the exit code. */
int report_print(bool as_json);

/* A number in an object; 0 when it is not there. */
json_int_t report_number(const json_t *object, const char *name);

/* In report_text.c: the same object for people. */
void report_text(const json_t *root);

#endif
