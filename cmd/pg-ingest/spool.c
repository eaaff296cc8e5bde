/* Memory for a transaction of any size. */
#include "spool.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "exits.h"
#include "log.h"
#include "xalloc.h"

#define IN_HEAP	    (16 * 1024 * 1024) /* bytes */
#define RELAX_EVERY 64		       /* blocks */
#define STEP	    (4 * 1024 * 1024)  /* by which the file grows; more than any page is long */

static const char *dir;
static size_t max;
static uint8_t *map; /* of `max` bytes; NULL: there is no file yet */
static int fd = -1;
static size_t n_put;		    /* blocks */
static size_t in_heap, used, grown; /* bytes: of the heap; of the file that are handed out; that it has */

void
spool_open(const char *where, uint64_t most)
{
	dir = where;
	/* What a block of an arena adds, and an array that has grown by copies of itself, come on top. */
	max = most * 2 + STEP;
}

static _Noreturn void
give_up(const char *operation, int error)
{
	log_error("spool-failed", "dir=%s operation=%s bytes=%zu error=%s", log_quote(dir), operation, grown,
	    log_quote(strerror(error)));
	exit(EX_IOERR);
}

static void
make_file(void)
{
	char *name = xasprintf("%s/leyden-spool-XXXXXX", dir);

	fd = mkostemp(name, O_CLOEXEC);
	if (fd < 0)
		give_up("create", errno);
	unlink(name);
	free(name);
	map = mmap(NULL, max, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (map == MAP_FAILED)
		give_up("mmap", errno);
}

/* Room is claimed before it is touched: a full disk is an error here, not a signal later. */
static void
grow_file(size_t wanted)
{
	size_t more = wanted - grown > STEP ? wanted - grown : STEP;
	int error = posix_fallocate(fd, (off_t)grown, (off_t)more);

	if (error != 0)
		give_up("grow", error);
	grown += more;
	spool_relax();
}

static bool
in_file(const void *block)
{
	return map != NULL && (const uint8_t *)block >= map && (const uint8_t *)block < map + max;
}

static void *
get(size_t n)
{
	void *block;

	if (in_heap + n <= IN_HEAP) {
		in_heap += n;
		return xmalloc(n);
	}
	if (map == NULL)
		make_file();
	n = (n + 15) & ~(size_t)15;
	if (n > max - used)
		give_up("grow", EFBIG);
	if (used + n > grown)
		grow_file(used + n);
	block = map + used;
	used += n;
	return block;
}

/* An arena gives back all of its file's blocks at once, so the file is emptied with the last of them. */
static void
put(void *block, size_t n)
{
	if (!in_file(block)) {
		in_heap -= n;
		free(block);
		return;
	}
	used -= (n + 15) & ~(size_t)15;
	/* Each block was touched to find the next. */
	if (++n_put % RELAX_EVERY == 0 || used == 0)
		spool_relax();
	if (used > 0)
		return;
	if (ftruncate(fd, 0) != 0)
		give_up("empty", errno);
	grown = 0;
	malloc_trim(0);
}

const struct arena_source spool_source = { get, put };

void
spool_relax(void)
{
	if (grown > 0)
		madvise(map, grown, MADV_DONTNEED);
}
