/*
 * Exactness: subscriptions that begin at random moments while others write.
 *
 * Writers move amounts between two tables, so that the sum over both is zero in every committed state, and
 * count each row's versions. A client that at any moment holds another sum has seen half a transaction; a
 * version that does not follow the one that it holds was missed or came twice. Some clients are cut off while
 * their rows come, or after, and resume. In the end the last of them hold what Postgres holds.
 *
 *   exact SUBSCRIPTIONS [SEED [EPOCH]]      EPOCH: of transaction ids, set before anything is written
 */
#include <libpq-fe.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fail.h"
#include "peer.h"
#include "sat_client.h"
#include "testbed.h"
#include "xalloc.h"

#define WRITERS	 3
#define SLOTS	 12	/* clients at once */
#define BASE	 300	/* rows that stay, in each table */
#define ROWS_MAX 200000 /* ids */
#define LIFE	 0.3	/* seconds that a client stays, at most, after its rows */
#define CUT_ODDS 4	/* one in so many is cut off while its rows come, and as many after */
#define QUIET	 20.

struct row {
	bool held;
	int v, n;
};

/* A client and what it holds. */
struct watcher {
	struct sat_client *c;
	char subscription[40];
	struct row *rows[2];
	long sum;
	bool delivering, delivered, inside;
	unsigned cut_after; /* rows of the delivery; 0: never */
	bool resumed;
	double until;
};

static const char *const tables[] = { "credits", "debits" };
static struct test_service service = { .env = { "AUTH_MODE=insecure", NULL } };
static struct watcher watchers[SLOTS];
static unsigned asked, deliveries, cuts, wanted;
static pid_t writers[WRITERS];

// ---- writers

static void
run_sql(PGconn *conn, const char *sql)
{
	PGresult *r = PQexec(conn, sql);

	if (PQresultStatus(r) == PGRES_FATAL_ERROR) {
		fprintf(stderr, "%s: %s", sql, PQerrorMessage(conn));
		_exit(1);
	}
	PQclear(r);
}

static volatile sig_atomic_t stopped;

static void
on_term(int signal)
{
	(void)signal;
	stopped = 1;
}

static _Noreturn void
write_rows(unsigned number, unsigned seed)
{
	PGconn *conn = PQconnectdb(service.url);
	unsigned next = BASE + 1 + number, oldest = next;
	char sql[512];

	signal(SIGTERM, on_term);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	srandom(seed + number);
	while (!stopped) {
		unsigned a = (unsigned)random() % BASE + 1, b = (unsigned)random() % BASE + 1;
		int x = (int)(random() % 100) + 1;

		switch (random() % 8) {
		case 0: /* a pair comes */
			if (next < ROWS_MAX) {
				snprintf(sql, sizeof sql,
				    "BEGIN; INSERT INTO credits VALUES (%u, %d, 1); INSERT INTO debits "
				    "VALUES (%u, %d, 1); COMMIT",
				    next, x, next, -x);
				next += WRITERS;
				break;
			}
			/* fallthrough */
		case 1: /* a pair goes */
			if (oldest < next) {
				snprintf(sql, sizeof sql,
				    "BEGIN; DELETE FROM debits WHERE id = %u; DELETE FROM credits WHERE id = "
				    "%u; COMMIT",
				    oldest, oldest);
				oldest += WRITERS;
				break;
			}
			/* fallthrough */
		case 2: /* one that takes its time, with a part that is rolled back */
			snprintf(sql, sizeof sql,
			    "BEGIN; UPDATE credits SET v = v + %d, n = n + 1 WHERE id = %u; SAVEPOINT s; "
			    "INSERT INTO debits VALUES (-%u, 1, 1); SELECT pg_sleep(%f); ROLLBACK TO s; "
			    "UPDATE debits SET v = v - %d, n = n + 1 WHERE id = %u; COMMIT",
			    x, a, number + 1, (double)(random() % 20) / 1000., x, b);
			break;
		default:
			snprintf(sql, sizeof sql,
			    "BEGIN; UPDATE credits SET v = v + %d, n = n + 1 WHERE id = %u; "
			    "UPDATE debits SET v = v - %d, n = n + 1 WHERE id = %u; COMMIT",
			    x, a, x, b);
			break;
		}
		run_sql(conn, sql);
		if (random() % 3 == 0)
			usleep((unsigned)random() % 3000);
	}
	PQfinish(conn);
	_exit(0);
}

// ---- a watcher's rows

static _Noreturn void
wrong(const struct watcher *w, const char *what, unsigned table, long id)
{
	test_fail("client %s: %s: %s %ld holds v=%d n=%d", w->c->id, what, tables[table], id,
	    w->rows[table][id].v, w->rows[table][id].n);
}

static void
forget_rows(struct watcher *w)
{
	for (unsigned t = 0; t < 2; t++)
		memset(w->rows[t], 0, ROWS_MAX * sizeof **w->rows);
	w->sum = 0;
	w->delivered = w->delivering = false;
}

static void
take_op(struct watcher *w, uint32_t relation, const SatOpRow *values, bool deleted)
{
	const struct sat_relation *r = sat_relation(w->c, relation);
	unsigned t = r != NULL && strcmp(r->name, tables[1]) == 0;
	long id = r != NULL ? atol(sat_value(r, values, "id")) : -1;
	struct row *row;
	int v, n;

	if (id < 0 || id >= ROWS_MAX)
		test_fail("client %s: a row of nobody", w->c->id);
	row = &w->rows[t][id];
	if (deleted) {
		if (!row->held)
			wrong(w, "a delete of what it does not hold", t, id);
		w->sum -= row->v;
		row->held = false;
		row->n = -1; /* ids are not used again */
		return;
	}
	v = atoi(sat_value(r, values, "v"));
	n = atoi(sat_value(r, values, "n"));
	if (w->delivering ? row->held : n != row->n + 1)
		wrong(w, n <= row->n ? "a version twice" : "a version is missing", t, id);
	w->sum += v - row->v;
	*row = (struct row){ true, v, n };
}

static void
check_sum(const struct watcher *w)
{
	if (w->sum != 0)
		test_fail("client %s: half a transaction is visible: the sum is %ld", w->c->id, w->sum);
}

static void
take_log(struct watcher *w, const SatOpLog *log)
{
	for (size_t i = 0; i < log->n_ops; i++) {
		const SatTransOp *op = log->ops[i];

		switch (op->op_case) {
		case SAT_TRANS_OP__OP_INSERT:
			take_op(w, op->insert->relation_id, op->insert->row_data, false);
			break;
		case SAT_TRANS_OP__OP_UPDATE:
			take_op(w, op->update->relation_id, op->update->row_data, false);
			break;
		case SAT_TRANS_OP__OP_DELETE:
			take_op(w, op->delete_->relation_id, op->delete_->old_row_data, true);
			break;
		case SAT_TRANS_OP__OP_COMMIT:
			check_sum(w);
			break;
		default:
			break;
		}
	}
}

// ---- its life

static void
connect_watcher(struct watcher *w)
{
	if (!sat_reopen(w->c, service.port))
		test_fail("client %s cannot connect", w->c->id);
	sat_auth(w->c, sat_token("ann"));
}

static void
cut(struct watcher *w)
{
	cuts++;
	sat_close(w->c);
	w->cut_after = 0;
	/* As the npm client: what did not come whole was never asked for. */
	if (!w->delivered) {
		forget_rows(w);
		w->c->server_lsn[0] = '\0';
	}
	w->resumed = true;
	connect_watcher(w);
}

static void
subscribe(struct watcher *w)
{
	snprintf(w->subscription, sizeof w->subscription, "%08x-0000-4000-8000-000000000000", ++asked);
	sat_ask_subscription(w->c, w->subscription, tables, 2);
}

static void
on_message(struct sat_client *c, const struct sat_message *m)
{
	struct watcher *w = c->data;
	char *ids[] = { w->subscription };

	switch (m->code) {
	case SAT_AUTH_RESP:
		sat_ask_start(c, ids, w->resumed && c->server_lsn[0] != '\0' ? 1 : 0);
		break;
	case SAT_START_RESP:
		if (((const SatInStartReplicationResp *)m->body)->err != NULL)
			test_fail("client %s: replication does not start: %s", c->id,
			    ((const SatInStartReplicationResp *)m->body)->err->message);
		if (!w->resumed || c->server_lsn[0] == '\0')
			subscribe(w);
		break;
	case SAT_SUBS_RESP:
		if (((const SatSubsResp *)m->body)->err != NULL)
			test_fail("client %s: no subscription", c->id);
		break;
	case SAT_SUBS_DATA_BEGIN:
		if (w->delivered)
			test_fail("client %s: rows again", c->id);
		w->delivering = true;
		break;
	case SAT_SUBS_DATA_END:
		w->delivering = false;
		w->delivered = true;
		deliveries++;
		check_sum(w);
		w->until = ev_now(loop()) + LIFE * (double)(random() % 100) / 100.;
		break;
	case SAT_SUBS_DATA_ERROR:
		test_fail("client %s: the delivery failed", c->id);
	case SAT_ERROR_RESP:
		test_fail("client %s: error %d", c->id, (int)((const SatErrorResp *)m->body)->error_type);
	case SAT_OP_LOG:
		if (w->delivering || w->delivered)
			take_log(w, (const SatOpLog *)m->body);
		break;
	default:
		break;
	}
}

static void
begin_watcher(struct watcher *w)
{
	static unsigned n;
	char id[16];

	snprintf(id, sizeof id, "w%u", n++);
	w->c = sat_new(id);
	w->c->data = w;
	w->c->on_message = on_message;
	w->resumed = false;
	w->cut_after = random() % CUT_ODDS == 0 ? 1 : 0;
	w->until = 0;
	forget_rows(w);
	connect_watcher(w);
}

/* One turn for each. True: there is nothing left to do. */
static bool
step(void)
{
	bool all = true;

	for (unsigned i = 0; i < SLOTS; i++) {
		struct watcher *w = &watchers[i];

		if (w->c->fd < 0)
			test_fail("client %s was closed", w->c->id);
		if (w->delivering && w->cut_after > 0) {
			cut(w);
		} else if (w->delivered && ev_now(loop()) > w->until) {
			if (!w->resumed && random() % CUT_ODDS == 0) {
				cut(w);
				w->until = ev_now(loop()) + LIFE / 2;
			} else if (deliveries < wanted) {
				sat_free(w->c);
				begin_watcher(w);
			}
		}
		all = all && w->delivered && deliveries >= wanted;
	}
	return all;
}

static bool
equals(PGconn *conn, const struct watcher *w)
{
	for (unsigned t = 0; t < 2; t++) {
		char sql[64];
		PGresult *r;
		int held = 0, n;
		bool same = true;

		snprintf(sql, sizeof sql, "SELECT id, v, n FROM %s", tables[t]);
		r = PQexec(conn, sql);
		n = PQntuples(r);
		for (int i = 0; i < n; i++) {
			const struct row *row = &w->rows[t][atol(PQgetvalue(r, i, 0))];

			same &= row->held && row->v == atoi(PQgetvalue(r, i, 1)) &&
				row->n == atoi(PQgetvalue(r, i, 2));
		}
		PQclear(r);
		for (int i = 0; i < ROWS_MAX; i++)
			held += w->rows[t][i].held;
		if (!same || held != n)
			return false;
	}
	return true;
}

static void
await_equality(void)
{
	PGconn *conn = PQconnectdb(service.url);
	double end;

	ev_now_update(loop());
	end = ev_now(loop()) + QUIET;
	for (unsigned i = 0; i < SLOTS;) {
		if (equals(conn, &watchers[i]))
			i++;
		else if (ev_now(loop()) > end)
			test_fail("client %s does not hold what Postgres holds", watchers[i].c->id);
		else
			sat_turn();
	}
	PQfinish(conn);
}

int
main(int argc, char **argv)
{
	unsigned seed = argc > 2 ? (unsigned)atoi(argv[2]) : (unsigned)getpid();
	unsigned epoch = argc > 3 ? (unsigned)atoi(argv[3]) : 0;
	int failed;

	wanted = argc > 1 ? (unsigned)atoi(argv[1]) : 2000;
	setvbuf(stdout, NULL, _IOLBF, 0);
	srandom(seed);
	test_postgres_start(&service, "fsync=off");
	if (epoch > 0) {
		test_postgres_stop(&service, "fast");
		test_shell("scripts/postgres epoch %s/pg %u && echo", service.dir, epoch);
		test_postgres_again(&service);
		if (strtoull(test_sql(&service, "SELECT pg_current_xact_id()"), NULL, 10) >> 32 != epoch)
			test_fail("the epoch could not be moved");
	}
	test_leyden_start(&service);
	test_sql(&service,
	    "CREATE TABLE credits (id int PRIMARY KEY, v int, n int); CREATE TABLE debits (id int PRIMARY "
	    "KEY, v int, n int);"
	    "INSERT INTO credits SELECT i, 0, 1 FROM generate_series(1, %d) AS i; INSERT INTO debits SELECT "
	    "* FROM credits;"
	    "SELECT electric.migration_version('1'); CALL electric.electrify('credits'); CALL "
	    "electric.electrify('debits')",
	    BASE);
	test_schema_await(&service);
	for (unsigned i = 0; i < WRITERS; i++)
		if ((writers[i] = fork()) == 0)
			write_rows(i, seed);
	for (unsigned i = 0; i < SLOTS; i++) {
		for (unsigned t = 0; t < 2; t++)
			watchers[i].rows[t] = xcalloc(ROWS_MAX, sizeof **watchers[i].rows);
		begin_watcher(&watchers[i]);
	}
	while (!step())
		sat_turn();
	for (unsigned i = 0; i < WRITERS; i++) {
		int status;

		kill(writers[i], SIGTERM);
		waitpid(writers[i], &status, 0);
		if (status != 0)
			test_fail("a writer failed");
	}
	await_equality();
	printf("exact: seed=%u epoch=%u deliveries=%u cut=%u transactions=%s\n", seed, epoch, deliveries,
	    cuts, test_sql(&service, "SELECT sum(n) FROM credits"));
	failed = test_leyden_stop(&service) != 0;
	test_service_end(&service);
	printf("%d passed, %d failed\n", !failed, failed);
	return failed;
}
