/*
 * What a tool counts and measures, and how it tells http-api, which shows it at /metrics: families of samples
 * as Prometheus knows them. Names have base units and end in _total where they count; labels have few values.
 */
#ifndef LEYDEN_METRICS_H
#define LEYDEN_METRICS_H

#include <stdint.h>

#include "arena.h"
#include "pipeline.pb-c.h"

/* Times in seconds, by upper bounds from half a millisecond to half a minute. All zero is an empty one. */
#define HISTOGRAM_BOUNDS 15
struct histogram {
	uint64_t counts[HISTOGRAM_BOUNDS + 1]; /* the last is for what is above all bounds */
	double sum;
};
void histogram_observe(struct histogram *h, double seconds);

/* An answer that is being made. */
struct metrics {
	struct arena memory;
	MetricsTold told;
};

/* A family of one sample. `name` and `help` are literals. */
void metrics_counter(struct metrics *m, const char *name, const char *help, double value);
void metrics_gauge(struct metrics *m, const char *name, const char *help, double value);
/* Its labels may be "". */
void metrics_histogram(
    struct metrics *m, const char *name, const char *help, const char *labels, const struct histogram *h);
/* A family of several samples, each told by labels: `type` is "counter" or "gauge". */
void metrics_family(struct metrics *m, const char *type, const char *name, const char *help);
/* One of the last family. The labels are `name="value"`, with commas between. */
void metrics_sample(struct metrics *m, double value, const char *labels, ...)
    __attribute__((format(printf, 3, 4)));
/* A text of others as a label's value: with what it may not hold escaped; in m's memory. */
const char *metrics_label(struct metrics *m, const char *text);

#endif
