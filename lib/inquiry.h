/*
 * Questions to running tools, from the command line: all are asked at once, and no answer is waited for
 * longer than INQUIRY_SECONDS, however many tools hang.
 */
#ifndef LEYDEN_INQUIRY_H
#define LEYDEN_INQUIRY_H

#include "frame.h"

#define INQUIRY_SECONDS 2

struct inquiry {
	const char *socket_name; /* whom to ask */
	Frame__BodyCase body_case;
	const void *message;
	Frame__BodyCase wanted; /* the kind of the answer */
	const Frame *answer;	/* in the arena; NULL: */
	const char *error;	/* why there is none; static */
};

void inquire(struct inquiry *all, size_t n, struct arena *a);

#endif
