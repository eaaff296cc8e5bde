/* What benchmarks measure with. */
#ifndef TESTS_MEASURE_H
#define TESTS_MEASURE_H

#include <stddef.h>

/* Seconds, from some moment on. */
double measure_now(void);
/* Sorts the n values. The one that this share of them is below: 0.5 the median, 1 the greatest. */
double measure_share(double *values, size_t n, double share);

#endif
