/* Questions to running tools. */
#include "inquiry.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "peer.h"
#include "xalloc.h"

#define READ_SIZE 65536

/* The fd of a connection on which the question is asked; -1 with *error. */
static int
connect_and_ask(const struct inquiry *q, const char **error)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	char *path = peer_path(q->socket_name);
	struct buf question = { 0 };
	Hello hello = HELLO__INIT;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	strncpy(addr.sun_path, path, sizeof addr.sun_path - 1);
	free(path);
	hello.tool = (char *)(uintptr_t) "status";
	hello.version = PIPELINE_VERSION;
	frame_put(&question, FRAME__BODY_HELLO, &hello);
	frame_put(&question, q->body_case, q->message);
	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof addr) != 0 ||
	    send(fd, buf_data(&question), question.len, MSG_NOSIGNAL) != (ssize_t)question.len) {
		*error = strerrordesc_np(errno);
		if (fd >= 0)
			close(fd);
		fd = -1;
	}
	buf_clear(&question);
	return fd;
}

/* Reads what has come; true: nothing more is awaited from there. */
static bool
take_answer(struct inquiry *q, int fd, struct buf *in, struct arena *a)
{
	ssize_t n = recv(fd, buf_room(in, READ_SIZE), READ_SIZE, 0);
	enum frame_result r;
	Frame *f;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		q->error = "it closed the connection";
		return true;
	}
	buf_added(in, (size_t)n);
	while ((r = frame_take(in, FRAME_MAX, a, &f)) == FRAME_WHOLE) {
		if (f->body_case == q->wanted) {
			q->answer = f;
			q->error = NULL;
			return true;
		}
	}
	if (r != FRAME_SHORT)
		q->error = "what it answers cannot be read";
	return r != FRAME_SHORT;
}

static int
milliseconds_until(const struct timespec *end)
{
	struct timespec now;
	int64_t ms;

	clock_gettime(CLOCK_MONOTONIC, &now);
	ms = (end->tv_sec - now.tv_sec) * 1000 + (end->tv_nsec - now.tv_nsec) / 1000000;
	return ms > 0 ? (int)ms : 0;
}

static void
await_all(struct inquiry *all, struct pollfd *fds, struct buf *in, size_t n, struct arena *a)
{
	struct timespec end;
	size_t open = 0;
	int ms;

	for (size_t i = 0; i < n; i++)
		open += fds[i].fd >= 0;
	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += INQUIRY_SECONDS;
	while (open > 0 && (ms = milliseconds_until(&end)) > 0) {
		poll(fds, n, ms);
		for (size_t i = 0; i < n; i++) {
			if (fds[i].fd < 0 || fds[i].revents == 0 ||
			    !take_answer(&all[i], fds[i].fd, &in[i], a))
				continue;
			close(fds[i].fd);
			fds[i].fd = -1; /* which poll() passes over */
			open--;
		}
	}
}

void
inquire(struct inquiry *all, size_t n, struct arena *a)
{
	struct pollfd *fds = xcalloc(n, sizeof *fds);
	struct buf *in = xcalloc(n, sizeof *in);

	for (size_t i = 0; i < n; i++) {
		all[i].answer = NULL;
		all[i].error = "no answer within two seconds";
		fds[i].fd = connect_and_ask(&all[i], &all[i].error);
		fds[i].events = POLLIN;
	}
	await_all(all, fds, in, n, a);
	for (size_t i = 0; i < n; i++) {
		if (fds[i].fd >= 0)
			close(fds[i].fd);
		buf_clear(&in[i]);
	}
	free(in);
	free(fds);
}
