/*
 * log-store: the one durable place. The log from Postgres, the log of clients' writes, what is kept of each
 * client and the schema's history, in one LMDB file.
 */
#include <signal.h>
#include <stdio.h>

#include "dump.h"
#include "exits.h"
#include "figures.h"
#include "serve.h"
#include "service.h"
#include "store.h"
#include "translog.h"
#include "verify.h"

#define TRIM_EVERY 1.0	 /* seconds */
#define TRIM_AGAIN 0.005 /* while there is more to trim */

static char *file;
static uint64_t keep_bytes, keep_age, max_file, lead_time, dump_from;
static bool dump, check;

static const struct option_def options[] = {
	{ "file", "OFFSET_STORAGE_FILE", OPT_STRING, &file, "./offset_storage_data.dat", "the log's file", 0,
	    0 },
	{ "keep-bytes", "LOG_STORE_KEEP_BYTES", OPT_BYTES, &keep_bytes, "8G",
	    "forget transactions beyond this", 0, 0 },
	{ "keep-age", "LOG_STORE_KEEP_AGE", OPT_SECONDS, &keep_age, "30d",
	    "forget transactions older than this", 0, 0 },
	{ "max-file", "LOG_STORE_MAX_FILE", OPT_BYTES, &max_file, "64G", "the file never grows beyond this",
	    0, 0 },
	{ "lead-time", "LOG_STORE_LEAD_TIME", OPT_SECONDS, &lead_time, "10",
	    "another Postgres leads once the leader was away so long; 0: never", 0, 0 },
	{ "dump", NULL, OPT_BOOL, &dump, NULL, "print the log as text and exit", 0, 0 },
	{ "check", NULL, OPT_BOOL, &check, NULL,
	    "read every record of the file, say what is damaged, and exit", 0, 0 },
	{ "from", NULL, OPT_BYTES, &dump_from, NULL, "with --dump: from this position on", 0, 0 },
	{ 0 },
};

static void
on_trim(struct ev_loop *l, ev_timer *w, int events)
{
	(void)l;
	(void)events;
	ev_timer_set(w, translog_trim(keep_bytes, keep_age) ? TRIM_AGAIN : TRIM_EVERY, 0.);
	ev_timer_start(loop(), w);
}

static int
command(int argc, char **argv)
{
	int code;

	if (argc > 0) {
		fprintf(stderr, "log-store: unexpected argument: %s\n", argv[0]);
		return EX_USAGE;
	}
	if (!dump && !check)
		return -1;
	if ((code = store_open(file, max_file, true)) != 0)
		return code;
	return check ? verify_log() : dump_log(dump_from);
}

static void
check_limits(bool to_print)
{
	(void)to_print;
	/* Pages are not full, and writes and clients need room too. */
	if (keep_bytes == 0 || keep_bytes > max_file / 2)
		service_config_error("LOG_STORE_KEEP_BYTES", "must be from 1 to half of LOG_STORE_MAX_FILE");
}

static int
open_log_store(void)
{
	static ev_timer trim;
	int code;

	/* A file that may not grow is an error of the write, not the end of the process. */
	signal(SIGXFSZ, SIG_IGN);
	if ((code = store_open(file, max_file, false)) != 0)
		return code;
	serve_open(lead_time);
	figures_open(max_file);
	ev_timer_init(&trim, on_trim, TRIM_EVERY, 0.);
	ev_timer_start(loop(), &trim);
	service_ready("");
	return 0;
}

static void
stop(void)
{
	store_close();
	service_exit(EX_OK);
}

static const struct service log_store = {
	.name = "log-store",
	.summary = "Keeps the log, clients' writes and subscriptions in one durable file.",
	.options = options,
	.peers = { .handlers = serve_handlers, .down = serve_peer_down },
	.command = command,
	.check = check_limits,
	.open = open_log_store,
	.sandbox = SANDBOX_FILES,
	.stop = stop,
	.status = figures_status,
	.metrics = figures_metrics,
};

int
main(int argc, char **argv)
{
	return service_run(&log_store, argc, argv);
}
