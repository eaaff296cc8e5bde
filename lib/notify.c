/* Notification of supervisors: s6 by a newline on a descriptor, systemd by datagrams. */
#include "notify.h"

#include <errno.h>
#include <ev.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "log.h"
#include "peer.h"
#include "xalloc.h"

static void
tell_systemd(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	size_t n = path != NULL ? strlen(path) : 0;
	int fd;

	if (n == 0)
		return;
	if (n >= sizeof addr.sun_path || (path[0] != '/' && path[0] != '@')) {
		log_warning("notify", "variable=NOTIFY_SOCKET error=%s", log_quote("not a path of a socket"));
		return;
	}
	memcpy(addr.sun_path, path, n);
	if (path[0] == '@')
		addr.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&addr,
			  (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)) < 0)
		log_warning("notify", "variable=NOTIFY_SOCKET error=%s", log_quote(strerror(errno)));
	if (fd >= 0)
		close(fd);
}

void
notify_ready(unsigned fd, const char *details)
{
	char *state = xasprintf("READY=1\nSTATUS=%s", details);

	if (fd != NOTIFY_NO_FD) {
		if (write((int)fd, "\n", 1) != 1)
			log_warning("notify", "flag=--notify-fd error=%s", log_quote(strerror(errno)));
		close((int)fd);
	}
	tell_systemd(state);
	free(state);
}

void
notify_stopping(void)
{
	tell_systemd("STOPPING=1");
}

static void
on_time_to_bark(struct ev_loop *l, ev_timer *w, int events)
{
	(void)l;
	(void)w;
	(void)events;
	tell_systemd("WATCHDOG=1");
}

void
notify_watchdog(void)
{
	static ev_timer bark;
	const char *granted = getenv("WATCHDOG_USEC"), *whose = getenv("WATCHDOG_PID");
	double seconds = granted != NULL ? strtod(granted, NULL) / 1e6 : 0;

	if (seconds <= 0 || (whose != NULL && atol(whose) != (long)getpid()))
		return;
	ev_timer_init(&bark, on_time_to_bark, 0., seconds / 2);
	ev_timer_start(loop(), &bark);
}
