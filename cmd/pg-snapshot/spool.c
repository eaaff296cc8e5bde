/* Blocks of rows that wait to be taken. */
#include "spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "xalloc.h"

#define PAGE	   4096 /* the file is used in pieces of it: only whole ones can be given back */
#define BYTES_KEPT (64 * 1024)
#define HELD_MIN   (128 * 1024) /* bytes in memory that everybody may have, but for one longer block */

static const char *dir;
static uint64_t max_memory, max_file;
static uint64_t in_memory, in_file; /* bytes */
static int fd = -1;
static off_t end;	 /* of the file */
static bool file_full;	 /* as the system says; until something is given back */
static struct buf bytes; /* that were read from it last */

void
spool_open(const char *where, uint64_t memory, uint64_t file)
{
	dir = where;
	max_memory = memory;
	max_file = file;
}

bool
spool_room(size_t held)
{
	return held < HELD_MIN || in_memory < max_memory || (in_file < max_file && !file_full);
}

static void
failed(const char *operation)
{
	log_error("spool-failed", "dir=%s operation=%s bytes=%lu error=%s note=%s", log_quote(dir), operation,
	    (unsigned long)in_file, log_quote(strerror(errno)),
	    log_quote("rows are read from Postgres as slowly as they are taken"));
	file_full = true;
}

static bool
make_file(void)
{
	char *name = xasprintf("%s/leyden-snapshot-XXXXXX", dir);

	fd = mkostemp(name, O_CLOEXEC);
	if (fd >= 0)
		unlink(name);
	else
		failed("create");
	free(name);
	return fd >= 0;
}

static size_t
in_pages(size_t n)
{
	return (n + PAGE - 1) / PAGE * PAGE;
}

/* Moves the block from memory to the end of the file; it stays where it is when the file takes no more. */
static void
move_to_file(struct block *b)
{
	size_t done = 0;

	if (in_file >= max_file || file_full || (fd < 0 && !make_file()))
		return;
	while (done < b->len) {
		ssize_t n = pwrite(fd, b->mem + done, b->len - done, end + (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			failed("write");
			return;
		}
		done += (size_t)n;
	}
	b->at = end;
	end += (off_t)in_pages(b->len);
	in_file += in_pages(b->len);
	in_memory -= b->len;
	free(b->mem);
	b->mem = NULL;
}

struct block *
block_put(struct buf *rows)
{
	struct block *b = xcalloc(1, sizeof *b);

	b->len = rows->len;
	b->mem = rows->mem;
	memset(rows, 0, sizeof *rows);
	in_memory += b->len;
	if (in_memory > max_memory)
		move_to_file(b);
	return b;
}

const uint8_t *
block_data(const struct block *b)
{
	size_t done = 0;

	if (b->mem != NULL)
		return b->mem;
	buf_room(&bytes, b->len);
	while (done < b->len) {
		ssize_t n = pread(fd, buf_data(&bytes) + done, b->len - done, b->at + (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			log_error("spool-failed", "dir=%s operation=read error=%s", log_quote(dir),
			    log_quote(n < 0 ? strerror(errno) : "it is shorter than it was"));
			return NULL;
		}
		done += (size_t)n;
	}
	return buf_data(&bytes);
}

void
block_free(struct block *b)
{
	if (b->mem != NULL) {
		in_memory -= b->len;
		free(b->mem);
	} else {
		in_file -= in_pages(b->len);
		fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, b->at, (off_t)in_pages(b->len));
		if (bytes.cap > BYTES_KEPT)
			buf_clear(&bytes);
		if (in_file == 0 && ftruncate(fd, 0) == 0)
			end = 0;
		file_full = false;
	}
	free(b);
}

uint64_t
spool_in_file(void)
{
	return in_file;
}
