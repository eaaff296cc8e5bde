/*
 * Durable appends of log-store beside a plain file's append and fdatasync, in batches of the same size: the
 * next batch goes when the one before is safe. Prints MB/s of both and the ratio, for some sizes.
 *
 * append DIR: both write there; log-store is started with its socket in it.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "exits.h"
#include "measure.h"
#include "peer.h"
#include "service.h"
#include "xalloc.h"

#define SECONDS	    2.0 /* of each measurement */
#define IN_FLIGHT   8	/* batches */
#define TRANSACTION 250 /* bytes of a transaction's change */

static const size_t batches[] = { 1, 16, 256, 1024 }; /* transactions */

static struct peer *log_store;
static bool is_up, is_open;
static uint64_t safe_lsn;
static uint64_t commit_lsn = 1000;

static void
on_up(struct peer *p)
{
	(void)p;
	is_up = true;
}

static void
on_opened(struct peer *p, const Frame *f)
{
	StartLife start = START_LIFE__INIT;

	is_open = !f->log_opened->new_life;
	start.instance = 1;
	start.slot_lsn = commit_lsn;
	start.database = (char *)(uintptr_t) "bench";
	if (!is_open)
		peer_send(p, FRAME__BODY_START_LIFE, &start);
}

static void
on_appended(struct peer *p, const Frame *f)
{
	(void)p;
	safe_lsn = f->log_appended->commit_lsn;
}

static void
await(const bool *what)
{
	while (!*what)
		ev_run(loop(), EVRUN_ONCE);
}

/* n transactions of one row each; the caller frees. */
static void
append_batch(size_t n)
{
	AppendLog append = APPEND_LOG__INIT;
	ProtobufCBinaryData *list = xcalloc(n, sizeof *list);
	uint8_t *packed = xcalloc(n, 2 * TRANSACTION);
	static uint8_t op[TRANSACTION];
	Change change = CHANGE__INIT, *changes[] = { &change };
	Transaction t = TRANSACTION__INIT;

	change.kind = CHANGE_KIND__INSERT;
	change.relation = 16384;
	change.op = (ProtobufCBinaryData){ sizeof op, op };
	t.last = t.closes = true;
	t.instance = 1;
	t.origin = (char *)(uintptr_t) "postgres_1";
	t.changes = changes;
	t.n_changes = 1;
	for (size_t i = 0; i < n; i++) {
		list[i].data = packed + i * 2 * TRANSACTION;
		t.xid = t.commit_lsn = ++commit_lsn;
		list[i].len = transaction__pack(&t, list[i].data);
	}
	append.transactions = list;
	append.n_transactions = n;
	peer_send(log_store, FRAME__BODY_APPEND_LOG, &append);
	free(packed);
	free(list);
}

/* Transactions a second, with so many batches that are not yet safe. */
static double
measure_log(size_t n, size_t in_flight)
{
	double start = measure_now(), end;
	size_t done = 0;

	do {
		append_batch(n);
		done += n;
		while (commit_lsn - safe_lsn > n * (in_flight - 1))
			ev_run(loop(), EVRUN_ONCE);
		end = measure_now();
	} while (end - start < SECONDS);
	while (safe_lsn < commit_lsn)
		ev_run(loop(), EVRUN_ONCE);
	return (double)done / (measure_now() - start);
}

static double
measure_file(const char *dir, size_t n)
{
	char *path = xasprintf("%s/plain", dir);
	int fd = open(path, O_CREAT | O_WRONLY | O_APPEND | O_TRUNC | O_CLOEXEC, 0600);
	char *bytes = xcalloc(n, TRANSACTION);
	double start = measure_now(), end;
	size_t done = 0;

	do {
		if (write(fd, bytes, n * TRANSACTION) < 0 || fdatasync(fd) != 0) {
			perror(path);
			exit(1);
		}
		done += n;
		end = measure_now();
	} while (end - start < SECONDS);
	close(fd);
	unlink(path);
	free(path);
	free(bytes);
	return (double)done / (end - start);
}

static pid_t
start_log_store(const char *dir)
{
	pid_t pid = fork();

	if (pid == 0) {
		char *file = xasprintf("%s/log", dir);

		execl(TEST_BIN "/log-store", "log-store", "--run-dir", dir, "--file", file, (char *)NULL);
		perror("log-store");
		_exit(1);
	}
	return pid;
}

static int
measure(int argc, char **argv)
{
	static const struct handler handlers[] = { { FRAME__BODY_LOG_OPENED, NULL, on_opened },
		{ FRAME__BODY_LOG_APPENDED, NULL, on_appended }, { 0 } };
	static const struct peer_hooks hooks = { .handlers = handlers, .up = on_up };
	OpenLog open = OPEN_LOG__INIT;
	pid_t pid;

	if (argc != 1) {
		fprintf(stderr, "usage: append DIR\n");
		return EX_USAGE;
	}
	pid = start_log_store(argv[0]);
	peer_set_run_dir(argv[0]);
	log_store = peer_connect("log-store", &hooks, NULL);
	await(&is_up);
	open.instance = 1;
	open.database = (char *)(uintptr_t) "bench";
	peer_send(log_store, FRAME__BODY_OPEN_LOG, &open);
	await(&is_open);
	for (size_t i = 0; i < sizeof batches / sizeof *batches; i++) {
		double file = measure_file(argv[0], batches[i]), one = measure_log(batches[i], 1);
		double log = measure_log(batches[i], IN_FLIGHT);

		printf("durable appends in batches of %4zu of %d bytes: plain file %7.0f/s, log-store "
		       "%7.0f/s, ratio %.2f"
		       " (one at a time %7.0f/s, %.2f)\n",
		    batches[i], TRANSACTION, file, log, log / file, one, one / file);
		fflush(stdout);
	}
	kill(pid, SIGTERM);
	waitpid(pid, NULL, 0);
	return EX_OK;
}

/* Log-store takes appends from pg-ingest only. */
int
main(int argc, char **argv)
{
	static const struct handler none[] = { { 0 } };
	static const struct option_def no_options[] = { { 0 } };
	static const struct service bench = { .name = "pg-ingest",
		.summary = "stands in for pg-ingest",
		.options = no_options,
		.peers = { .handlers = none },
		.command = measure };

	return service_run(&bench, argc, argv);
}
