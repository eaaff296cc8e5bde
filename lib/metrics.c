/* What a tool counts and measures. */
#include "metrics.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define LABELS_MAX 512

static const double bounds[HISTOGRAM_BOUNDS] = { 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
	0.5, 1, 2.5, 5, 10, 30 };

void
histogram_observe(struct histogram *h, double seconds)
{
	size_t i = 0;

	if (seconds < 0)
		seconds = 0; /* two clocks */
	while (i < HISTOGRAM_BOUNDS && seconds > bounds[i])
		i++;
	h->counts[i]++;
	h->sum += seconds;
}

/* Room for one more in an array of n pointers, which grows when n is a power of two. */
static void *
grown(struct arena *a, void *array, size_t n)
{
	void *more;

	if ((n & (n - 1)) != 0)
		return array;
	more = arena_alloc(a, (n > 0 ? 2 * n : 1) * sizeof(void *));
	if (n > 0)
		memcpy(more, array, n * sizeof(void *));
	return more;
}

void
metrics_family(struct metrics *m, const char *type, const char *name, const char *help)
{
	Metric *family = arena_alloc(&m->memory, sizeof *family);

	metric__init(family);
	family->type = (char *)(uintptr_t)type;
	family->name = (char *)(uintptr_t)name;
	family->help = (char *)(uintptr_t)help;
	m->told.metrics = grown(&m->memory, m->told.metrics, m->told.n_metrics);
	m->told.metrics[m->told.n_metrics++] = family;
}

static void
add_sample(struct metrics *m, const char *suffix, const char *labels, double value)
{
	Metric *family = m->told.metrics[m->told.n_metrics - 1];
	Sample *sample = arena_alloc(&m->memory, sizeof *sample);

	sample__init(sample);
	sample->suffix = (char *)(uintptr_t)suffix;
	sample->labels = arena_strdup(&m->memory, labels);
	sample->value = value;
	family->samples = grown(&m->memory, family->samples, family->n_samples);
	family->samples[family->n_samples++] = sample;
}

void
metrics_sample(struct metrics *m, double value, const char *labels, ...)
{
	char text[LABELS_MAX];
	va_list ap;

	va_start(ap, labels);
	vsnprintf(text, sizeof text, labels, ap);
	va_end(ap);
	add_sample(m, "", text, value);
}

const char *
metrics_label(struct metrics *m, const char *text)
{
	char *label = arena_alloc(&m->memory, 2 * strlen(text) + 1), *p = label;

	for (; *text != '\0'; text++) {
		if (*text == '"' || *text == '\\')
			*p++ = '\\';
		*p++ = *text == '\n' ? ' ' : *text;
	}
	*p = '\0';
	return label;
}

void
metrics_counter(struct metrics *m, const char *name, const char *help, double value)
{
	metrics_family(m, "counter", name, help);
	add_sample(m, "", "", value);
}

void
metrics_gauge(struct metrics *m, const char *name, const char *help, double value)
{
	metrics_family(m, "gauge", name, help);
	add_sample(m, "", "", value);
}

void
metrics_histogram(
    struct metrics *m, const char *name, const char *help, const char *labels, const struct histogram *h)
{
	const char *comma = labels[0] != '\0' ? "," : "";
	uint64_t so_far = 0;
	char all[LABELS_MAX];

	metrics_family(m, "histogram", name, help);
	for (size_t i = 0; i < HISTOGRAM_BOUNDS; i++) {
		so_far += h->counts[i];
		snprintf(all, sizeof all, "%s%sle=\"%g\"", labels, comma, bounds[i]);
		add_sample(m, "_bucket", all, (double)so_far);
	}
	so_far += h->counts[HISTOGRAM_BOUNDS];
	snprintf(all, sizeof all, "%s%sle=\"+Inf\"", labels, comma);
	add_sample(m, "_bucket", all, (double)so_far);
	add_sample(m, "_sum", labels, h->sum);
	add_sample(m, "_count", labels, (double)so_far);
}
