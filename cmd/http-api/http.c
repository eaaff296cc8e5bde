/*
 * The HTTP server: libmicrohttpd without a thread of its own. Its epoll fd is watched by the loop; a request
 * that waits is suspended, and resumed when it has its answer. Only GET is known here, everything else is not
 * found.
 */
#include "http.h"

#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>

#include "certificate.h"
#include "log.h"
#include "peer.h"
#include "xalloc.h"

#define CONNECTIONS_MAX 1024
#define IDLE_SECONDS	30

struct request {
	struct MHD_Connection *connection;
	struct MHD_Response *response;
	unsigned status;
	bool waits;
	ev_timer limit;
	void (*late)(struct request *r);
	struct request *next; /* that waits */
};

static struct MHD_Daemon *daemon_;
static struct request *waiting;
static ev_io io;
static ev_timer timer;

const char *
http_parameter(const struct request *r, const char *name)
{
	return MHD_lookup_connection_value(r->connection, MHD_GET_ARGUMENT_KIND, name);
}

static void
stop_waiting(struct request *r)
{
	struct request **at = &waiting;

	if (!r->waits)
		return;
	while (*at != r)
		at = &(*at)->next;
	*at = r->next;
	r->waits = false;
	ev_timer_stop(loop(), &r->limit);
	MHD_resume_connection(r->connection);
	ev_feed_event(loop(), &io, EV_READ); /* the epoll fd does not tell of it */
}

void
http_answer(struct request *r, unsigned status, const char *type, const struct buf *body)
{
	if (r->response != NULL)
		return;
	r->status = status;
	r->response = MHD_create_response_from_buffer(
	    body->len, body->len > 0 ? buf_data(body) : NULL, MHD_RESPMEM_MUST_COPY);
	if (r->response != NULL && type != NULL)
		MHD_add_response_header(r->response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	stop_waiting(r);
}

void
http_answer_text(struct request *r, unsigned status, const char *text)
{
	struct buf body = { 0 };

	buf_puts(&body, text);
	http_answer(r, status, NULL, &body);
	buf_clear(&body);
}

static void
on_late(struct ev_loop *l, ev_timer *w, int events)
{
	struct request *r = w->data;

	(void)l;
	(void)events;
	r->late(r);
}

void
http_wait(struct request *r, double seconds, void (*fn)(struct request *r))
{
	r->late = fn;
	r->waits = true;
	r->next = waiting;
	waiting = r;
	ev_timer_init(&r->limit, on_late, seconds, 0.);
	r->limit.data = r;
	ev_timer_start(loop(), &r->limit);
	MHD_suspend_connection(r->connection);
}

struct request *
http_waiting(const struct request *r)
{
	return r == NULL ? waiting : r->next;
}

/* Called for each request when its head has come, again when it has come whole, and again after it has
 * waited. */
static enum MHD_Result
on_request(void *cls, struct MHD_Connection *connection, const char *url, const char *method,
    const char *version, const char *data, size_t *n, void **state)
{
	struct request *r = *state;

	(void)cls;
	(void)version;
	(void)data;
	if (r == NULL) {
		r = *state = xcalloc(1, sizeof *r);
		r->connection = connection;
		if (strcmp(method, MHD_HTTP_METHOD_GET) == 0)
			return MHD_YES;
		http_answer_text(r, MHD_HTTP_NOT_FOUND, "Not found");
	}
	*n = 0;
	if (r->response == NULL) {
		log_debug("request", "path=%s", log_quote(url));
		api_get(r, url);
	}
	if (r->waits)
		return MHD_YES;
	return r->response != NULL ? MHD_queue_response(connection, r->status, r->response) : MHD_NO;
}

static void
on_completed(void *cls, struct MHD_Connection *connection, void **state, enum MHD_RequestTerminationCode code)
{
	struct request *r = *state;

	(void)cls;
	(void)connection;
	(void)code;
	if (r == NULL)
		return;
	if (r->response != NULL)
		MHD_destroy_response(r->response);
	free(r);
	*state = NULL;
}

static void
run(void)
{
	MHD_UNSIGNED_LONG_LONG ms;

	MHD_run(daemon_);
	ev_timer_stop(loop(), &timer);
	if (MHD_get_timeout(daemon_, &ms) == MHD_YES) {
		ev_timer_set(&timer, (double)ms / 1000, 0.);
		ev_timer_start(loop(), &timer);
	}
}

static void
on_io(struct ev_loop *l, ev_io *w, int events)
{
	(void)l;
	(void)w;
	(void)events;
	run();
}

static void
on_timer(struct ev_loop *l, ev_timer *w, int events)
{
	(void)l;
	(void)w;
	(void)events;
	run();
}

bool
http_open(int fd, bool tls)
{
	const union MHD_DaemonInfo *info;
	const struct MHD_OptionItem with_tls[] = {
		{ MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)CERTIFICATE_PRIORITIES },
		{ MHD_OPTION_HTTPS_CERT_CALLBACK, 0, (void *)(uintptr_t)certificate_retrieve },
		{ MHD_OPTION_END, 0, NULL },
	};

	daemon_ = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | (tls ? MHD_USE_TLS : 0), 0,
	    NULL, NULL, on_request, NULL, MHD_OPTION_ARRAY, tls ? with_tls : with_tls + 2,
	    MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,
	    MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
	    (unsigned)IDLE_SECONDS, MHD_OPTION_END);
	if (daemon_ == NULL || (info = MHD_get_daemon_info(daemon_, MHD_DAEMON_INFO_EPOLL_FD)) == NULL)
		return false;
	ev_io_init(&io, on_io, info->epoll_fd, EV_READ);
	ev_io_start(loop(), &io);
	ev_init(&timer, on_timer);
	run();
	return true;
}

void
http_close(void)
{
	if (daemon_ == NULL)
		return;
	MHD_run(daemon_); /* what was answered last goes out */
	ev_io_stop(loop(), &io);
	ev_timer_stop(loop(), &timer);
	MHD_stop_daemon(daemon_);
	daemon_ = NULL;
}
