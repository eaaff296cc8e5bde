/*
 * Runs a fuzz target without a fuzzer, the same each time: its seeds, and a number of changed copies of them
 * (REPEATS, or the first argument). What is wrong ends the program; make check runs it for each target.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "xalloc.h"

#define REPEATS	 20000
#define SEED_MAX 65536
#define SEEDS	 256

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct seed {
	uint8_t *data;
	size_t n;
} seeds[SEEDS];
static size_t n_seeds;

static uint64_t state = 0x9e3779b97f4a7c15;

static uint64_t
any(uint64_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state % below;
}

static int
by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void
read_seeds(const char *dir)
{
	struct dirent **names;
	int n = scandir(dir, &names, NULL, by_name);

	for (int i = 0; i < n; i++) {
		char *path = xasprintf("%s/%s", dir, names[i]->d_name);
		FILE *f = names[i]->d_name[0] != '.' && n_seeds < SEEDS ? fopen(path, "r") : NULL;

		if (f != NULL) {
			seeds[n_seeds].data = xmalloc(SEED_MAX);
			seeds[n_seeds].n = fread(seeds[n_seeds].data, 1, SEED_MAX, f);
			n_seeds++;
			fclose(f);
		}
		free(path);
		free(names[i]);
	}
	if (n >= 0)
		free(names);
}

/* A copy of its own size, so that a sanitizer sees what is read beyond it. */
static void
run(const uint8_t *data, size_t n)
{
	uint8_t *copy = xmalloc(n + (n == 0));

	if (n > 0)
		memcpy(copy, data, n);
	LLVMFuzzerTestOneInput(copy, n);
	free(copy);
}

static size_t
change(uint8_t *p, size_t n)
{
	static const uint8_t telling[] = { 0, 1, 0x7f, 0x80, 0xff, '"', '\\', '{', '}', ',', '.' };

	for (uint64_t times = 1 + any(8); times > 0 && n > 0; times--) {
		const struct seed *other = &seeds[any(n_seeds)];
		size_t at = any(n), len = 1 + any(n - at), from;

		switch (any(6)) {
		case 0:
			p[at] ^= (uint8_t)(1 << any(8));
			break;
		case 1:
			p[at] = telling[any(sizeof telling)];
			break;
		case 2:
			n = at; /* cut */
			break;
		case 3:
			memmove(p + at, p + at + len, n - at - len);
			n -= len;
			break;
		case 4: /* a piece of another */
			if (other->n == 0)
				break;
			from = any(other->n);
			len = len < other->n - from ? len : other->n - from;
			memcpy(p + at, other->data + from, len);
			break;
		case 5: /* twice */
			if (n + len > SEED_MAX)
				break;
			memmove(p + at + len, p + at, n - at);
			n += len;
			break;
		}
	}
	return n;
}

int
main(int argc, char **argv)
{
	const char *name = strrchr(argv[0], '/') != NULL ? strrchr(argv[0], '/') + 1 : argv[0];
	char *dir = xasprintf("tests/fuzz/corpus/%s", name);
	unsigned long repeats = argc > 1 ? strtoul(argv[1], NULL, 10) : REPEATS;
	uint8_t *p = xmalloc(2 * SEED_MAX);

	read_seeds(dir);
	if (n_seeds == 0) {
		fprintf(stderr, "%s: no seeds in %s\n", name, dir);
		return EXIT_FAILURE;
	}
	for (size_t i = 0; i < n_seeds; i++)
		run(seeds[i].data, seeds[i].n);
	for (unsigned long i = 0; i < repeats; i++) {
		const struct seed *s = &seeds[any(n_seeds)];

		memcpy(p, s->data, s->n);
		run(p, change(p, s->n));
	}
	for (size_t i = 0; i < n_seeds; i++)
		free(seeds[i].data);
	free(p);
	free(dir);
	printf("1 passed, 0 failed, 0 skipped\n");
	return EXIT_SUCCESS;
}
