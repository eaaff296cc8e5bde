/*
 * Logical publication.
 *
 * When the worker asks for the stream, Postgres is asked how far it is: the progress that it commits with
 * every transaction, not the worker's LSN, says where to go on. The log of writes is then read ahead of what
 * the worker has confirmed, as far as its connection takes it.
 */
#include "logical.h"

#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/rand.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "exits.h"
#include "log.h"
#include "peer.h"
#include "publisher.h"
#include "service.h"
#include "subscription.h"
#include "writes.h"
#include "xalloc.h"

#define PASSWORD_BYTES 32
#define LOOK_AFTER     0.5	     /* seconds */
#define AHEAD_MAX      (1024 * 1024) /* bytes that may wait for the worker before more is read */

static const char *shown_host;
static unsigned shown_port;
static bool starting, streaming; /* the worker wants the stream; has it */
static bool reading;		 /* a page was asked for */
static uint64_t sent, applied;	 /* positions */
static uint64_t n_applied, n_rejected;
static ev_timer look; /* for what was set aside, while the worker goes on */

static void
read_on(void)
{
	if (!streaming || reading || publisher_pending() > AHEAD_MAX)
		return;
	reading = true;
	writes_read(sent, 0);
}

// ---- the worker

static void
on_start(void)
{
	starting = true;
	streaming = false;
	if (writes_life()[0] != '\0')
		subscription_progress(writes_life());
}

static void
on_stopped(void)
{
	starting = streaming = false;
}

static void
on_flushed(uint64_t lsn)
{
	if (!streaming || lsn <= applied || lsn > sent)
		return;
	applied = lsn;
	writes_applied(applied, 0);
	if (!ev_is_active(&look)) {
		ev_timer_set(&look, LOOK_AFTER, 0.);
		ev_timer_start(loop(), &look);
	}
}

static const struct publisher_hooks publisher_hooks = { on_start, on_flushed, read_on, on_stopped };

// ---- Postgres

static void
on_progress(uint64_t position)
{
	applied = position;
	writes_applied(applied, 0);
	if (!starting)
		return;
	starting = false;
	streaming = true;
	reading = false;
	sent = applied;
	log_info("publishing", "after=%" PRIu64, applied);
	publisher_begin(sent);
	read_on();
}

static void
on_ready(void)
{
	char *details =
	    xasprintf("mode=logical_replication publisher=%s:%u", log_quote(shown_host), shown_port);

	service_ready(details);
	free(details);
	if (writes_life()[0] != '\0')
		subscription_progress(writes_life());
}

static void
on_rejected(unsigned n)
{
	n_rejected += n;
}

static void
on_look(struct ev_loop *l, ev_timer *w, int events)
{
	(void)l;
	(void)w;
	(void)events;
	subscription_rejected();
}

static const struct subscription_hooks subscription_hooks = { on_ready, on_progress, on_rejected };

// ---- the log

static void
on_opened(bool new_life)
{
	if (new_life && streaming)
		publisher_drop("the log of writes is another one");
	if (new_life)
		subscription_progress(writes_life());
}

static void
on_page(const struct write *writes, size_t n)
{
	reading = false;
	if (!streaming)
		return;
	for (size_t i = 0; i < n; i++) {
		if (writes[i].position <= sent)
			continue;
		publisher_send(writes_life(), writes[i].client);
		sent = writes[i].position;
		n_applied++;
	}
	read_on();
}

static const struct writes_hooks writes_hooks = { on_opened, on_page, NULL };

// ---- the password

/* It is the worker's only: made once, kept in the run directory, told to Postgres in the subscription. */
static char *
own_password(void)
{
	char *path = xasprintf("%s/pg-publish-%u.password", service_run_dir(), service_instance());
	char *password = xcalloc(1, 2 * PASSWORD_BYTES + 1);
	unsigned char bytes[PASSWORD_BYTES];
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd >= 0 && read(fd, password, 2 * PASSWORD_BYTES) == 2 * PASSWORD_BYTES &&
	    strspn(password, "0123456789abcdef") == 2 * PASSWORD_BYTES) {
		close(fd);
		free(path);
		return password;
	}
	if (fd >= 0)
		close(fd);
	if (RAND_bytes(bytes, sizeof bytes) != 1) {
		log_error("no-randomness", "next=%s", log_quote("ends"));
		exit(EX_OSERR);
	}
	for (int i = 0; i < PASSWORD_BYTES; i++)
		snprintf(password + 2 * i, 3, "%02x", bytes[i]);
	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, password, 2 * PASSWORD_BYTES) != 2 * PASSWORD_BYTES)
		log_warning(
		    "password-not-kept", "path=%s error=%s", log_quote(path), log_quote(strerror(errno)));
	if (fd >= 0)
		close(fd);
	free(path);
	return password;
}

void
logical_open(const char *url, const char *host, const char *address, unsigned port)
{
	char *password = own_password();

	shown_host = host;
	shown_port = publisher_open(address, port, password, &publisher_hooks);
	ev_init(&look, on_look);
	writes_open(&writes_hooks);
	subscription_open(url, host, shown_port, password, &subscription_hooks);
}

char *
logical_status(void)
{
	return xasprintf(
	    "\"mode\":\"logical_replication\",\"connected\":%s,\"worker\":%s,\"publisher_port\":%u,"
	    "\"sent_position\":%" PRIu64 ",\"applied_position\":%" PRIu64 ",\"applied\":%" PRIu64
	    ",\"rejected\":%" PRIu64,
	    subscription_is_ready() ? "true" : "false", streaming ? "true" : "false", shown_port, sent,
	    applied, n_applied, n_rejected);
}

void
logical_metrics(struct metrics *m)
{
	metrics_gauge(
	    m, "leyden_publish_connected", "Whether Postgres' worker takes what is written.", streaming);
	metrics_counter(
	    m, "leyden_applied_writes_total", "Client transactions that Postgres took.", (double)n_applied);
	metrics_counter(m, "leyden_rejected_writes_total", "Client transactions that Postgres refused.",
	    (double)n_rejected);
	metrics_gauge(m, "leyden_publish_queue_bytes", "What waits for Postgres' worker to take it.",
	    (double)publisher_pending());
}
