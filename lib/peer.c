/* Connections between tools. */
#include "peer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "log.h"
#include "service.h"
#include "xalloc.h"

#define READ_SIZE  (128 * 1024)
#define FIRST_WAIT 0.02 /* seconds; doubles with each failure */
#define LONGEST	   1.0

static const char *run_dir = "/run/leyden";
static struct peer *dirty_peers;
static ev_prepare flusher;
static struct arena frames; /* of the frame that is being handled */
static int handling;	    /* depth of handlers: a nested loop would reuse the arena */

struct ev_loop *
loop(void)
{
	return ev_default_loop(EVFLAG_AUTO);
}

void
peer_set_run_dir(const char *dir)
{
	run_dir = dir;
}

char *
peer_path(const char *tool)
{
	return xasprintf("%s/%s.sock", run_dir, tool);
}

static void
watch(struct peer *p)
{
	int events = (p->paused ? 0 : EV_READ) | (p->out.len > 0 ? EV_WRITE : 0);

	if (ev_is_active(&p->io)) {
		if ((p->io.events & (EV_READ | EV_WRITE)) == events)
			return;
		ev_io_stop(loop(), &p->io);
	}
	if (p->fd >= 0 && events != 0) {
		ev_io_set(&p->io, p->fd, events);
		ev_io_start(loop(), &p->io);
	}
}

static void
schedule_retry(struct peer *p)
{
	ev_timer_stop(loop(), &p->retry);
	ev_timer_set(&p->retry, p->delay, 0.);
	ev_timer_start(loop(), &p->retry);
	p->delay = p->delay * 2 > LONGEST ? LONGEST : p->delay * 2;
}

static void mark_dirty(struct peer *p);

static void
free_peer(struct peer *p)
{
	buf_clear(&p->in);
	buf_clear(&p->out);
	free(p->said);
	free(p);
}

/* Drops the connection; an accepted peer is freed at the end of the turn, when none of its handlers runs. */
static void
drop(struct peer *p)
{
	bool was_up = p->is_up;

	if (p->fd < 0)
		return;
	ev_io_stop(loop(), &p->io);
	close(p->fd);
	p->fd = -1;
	p->is_up = p->paused = false;
	buf_take(&p->in, p->in.len);
	buf_take(&p->out, p->out.len);
	if (was_up && p->hooks->down != NULL)
		p->hooks->down(p);
	if (p->path != NULL) {
		schedule_retry(p);
	} else {
		p->closing = true;
		mark_dirty(p);
	}
}

void
peer_close(struct peer *p, const char *why)
{
	if (p->fd >= 0)
		log_warning("peer-dropped", "peer=%s why=%s", p->tool, log_quote(why));
	drop(p);
}

static void
flush(struct peer *p)
{
	while (p->fd >= 0 && p->out.len > 0) {
		ssize_t n = send(p->fd, buf_data(&p->out), p->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n > 0) {
			buf_take(&p->out, (size_t)n);
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			break;
		log_debug("peer-lost", "peer=%s error=%s", p->tool, log_quote(strerror(errno)));
		drop(p);
		return;
	}
	if (p->fd >= 0) {
		watch(p);
		if (p->out.len == 0 && p->is_up && p->hooks->drained != NULL)
			p->hooks->drained(p);
	}
}

/* At the end of each turn of the loop: everything that was queued goes out. */
static void
on_prepare(struct ev_loop *l, ev_prepare *w, int events)
{
	(void)l;
	(void)w;
	(void)events;
	while (dirty_peers != NULL) {
		struct peer *p = dirty_peers;

		dirty_peers = p->next_dirty;
		p->dirty = false;
		if (!p->closing)
			flush(p);
		if (p->closing && !p->dirty)
			free_peer(p);
	}
}

static void
mark_dirty(struct peer *p)
{
	if (!ev_is_active(&flusher)) {
		ev_prepare_init(&flusher, on_prepare);
		ev_prepare_start(loop(), &flusher);
		ev_unref(loop());
	}
	if (!p->dirty) {
		p->dirty = true;
		p->next_dirty = dirty_peers;
		dirty_peers = p;
	}
}

void
peer_send(struct peer *p, Frame__BodyCase body_case, const void *message)
{
	if (!p->is_up)
		return;
	frame_put(&p->out, body_case, message);
	mark_dirty(p);
}

void
peer_send_with(struct peer *p, Frame__BodyCase body_case, const struct buf *body, unsigned field,
    const void *bytes, size_t n)
{
	if (!p->is_up)
		return;
	frame_put_packed(&p->out, body_case, body, field, bytes, n);
	mark_dirty(p);
}

void
peer_send_packed(struct peer *p, Frame__BodyCase body_case, const struct buf *body)
{
	peer_send_with(p, body_case, body, 0, NULL, 0);
}

size_t
peer_pending(const struct peer *p)
{
	return p->out.len;
}

void
peer_pause(struct peer *p)
{
	p->paused = true;
	watch(p);
}

void
peer_resume(struct peer *p)
{
	if (!p->paused)
		return;
	p->paused = false;
	watch(p);
	/* Frames may wait in the buffer already: look at them on the next turn. */
	if (p->fd >= 0 && p->in.len > 0)
		ev_feed_event(loop(), &p->io, EV_READ);
}

static void
say_hello(struct peer *p)
{
	Hello hello = HELLO__INIT;

	hello.tool = (char *)(uintptr_t)service_name();
	hello.version = PIPELINE_VERSION;
	frame_put(&p->out, FRAME__BODY_HELLO, &hello);
	mark_dirty(p);
}

/* Returns false when the peer was dropped. */
static bool
hear_hello(struct peer *p, const Frame *f)
{
	if (f->body_case != FRAME__BODY_HELLO) {
		peer_close(p, "its first frame is not Hello");
		return false;
	}
	if (f->hello->version != PIPELINE_VERSION) {
		log_error("peer-version", "peer=%s theirs=%u ours=%d hint=%s", f->hello->tool,
		    f->hello->version, PIPELINE_VERSION, log_quote("old and new binaries are mixed"));
		peer_close(p, "it speaks another version of the catalogue");
		return false;
	}
	if (p->path == NULL) {
		p->said = xstrdup(f->hello->tool);
		p->tool = p->said;
		say_hello(p);
	}
	p->is_up = true;
	p->delay = FIRST_WAIT;
	p->said_waiting = false;
	if (p->hooks->up != NULL)
		p->hooks->up(p);
	return p->fd >= 0;
}

static void
dispatch(struct peer *p, const Frame *f)
{
	if (f->body_case == FRAME__BODY_ASK_STATUS) {
		StatusTold told = STATUS_TOLD__INIT;

		told.json = service_status();
		peer_send(p, FRAME__BODY_STATUS_TOLD, &told);
		free(told.json);
		return;
	}
	if (f->body_case == FRAME__BODY_ASK_METRICS) {
		struct metrics m;

		service_metrics(&m);
		peer_send(p, FRAME__BODY_METRICS_TOLD, &m.told);
		arena_clear(&m.memory);
		return;
	}
	for (const struct handler *h = p->hooks->handlers; h->fn != NULL; h++) {
		if (h->body_case != f->body_case)
			continue;
		if (h->from != NULL && strcmp(h->from, p->tool) != 0)
			continue;
		h->fn(p, f);
		return;
	}
	peer_close(p, "it sent a frame that is not for this tool");
}

/* Handles the frames that have come whole. */
static void
take_frames(struct peer *p)
{
	while (p->fd >= 0 && !p->paused) {
		Frame *f = NULL;
		enum frame_result r;

		if (handling++ == 0)
			arena_reset(&frames);
		r = frame_take(&p->in, FRAME_MAX, &frames, &f);
		if (r == FRAME_WHOLE) {
			if (p->is_up)
				dispatch(p, f);
			else
				hear_hello(p, f);
		}
		handling--;
		if (r == FRAME_SHORT)
			break;
		if (r == FRAME_TOO_LONG)
			peer_close(p, "its frame is over the limit");
		else if (r == FRAME_BAD)
			peer_close(p, "its frame does not parse");
	}
}

static void
on_io(struct ev_loop *l, ev_io *w, int events)
{
	struct peer *p = w->data;

	(void)l;
	if (events & EV_READ) {
		ssize_t n = recv(p->fd, buf_room(&p->in, READ_SIZE), READ_SIZE, MSG_DONTWAIT);

		if (n > 0)
			buf_added(&p->in, (size_t)n);
		if (p->in.len > 0)
			take_frames(p);
		if (p->fd >= 0 && (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))) {
			log_debug("peer-gone", "peer=%s", p->tool);
			drop(p);
		}
	}
	if ((events & EV_WRITE) && p->fd >= 0)
		mark_dirty(p);
}

static struct peer *
peer_new(const struct peer_hooks *hooks)
{
	struct peer *p = xcalloc(1, sizeof *p);

	p->hooks = hooks;
	p->fd = -1;
	p->tool = "unknown";
	p->delay = FIRST_WAIT;
	ev_init(&p->io, on_io);
	p->io.data = p;
	return p;
}

struct peer *
peer_accept(int fd, const struct peer_hooks *hooks)
{
	struct peer *p = peer_new(hooks);

	p->fd = fd;
	watch(p);
	return p;
}

static void
try_connect(struct peer *p)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	strncpy(addr.sun_path, p->path, sizeof addr.sun_path - 1);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&addr, sizeof addr) == 0) {
		p->fd = fd;
		say_hello(p);
		watch(p);
		return;
	}
	if (p->delay >= LONGEST && !p->said_waiting) {
		log_warning("peer-waited-for", "peer=%s socket=%s error=%s", p->tool, p->path,
		    log_quote(strerror(errno)));
		p->said_waiting = true;
	}
	if (fd >= 0)
		close(fd);
	schedule_retry(p);
}

static void
on_retry(struct ev_loop *l, ev_timer *w, int events)
{
	(void)l;
	(void)events;
	try_connect(w->data);
}

struct peer *
peer_connect(const char *tool, const struct peer_hooks *hooks, void *data)
{
	struct peer *p = peer_new(hooks);

	p->tool = tool;
	p->data = data;
	p->path = peer_path(tool);
	ev_init(&p->retry, on_retry);
	p->retry.data = p;
	try_connect(p);
	return p;
}
