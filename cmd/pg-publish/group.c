/* A group of clients' transactions as one Postgres transaction. */
#include "group.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "literal.h"
#include "merge.h"
#include "merge_run.h"
#include "statement.h"
#include "tables.h"
#include "transaction.h"
#include "xalloc.h"

#define N_ARRAYS      8	   /* parameters of electric.apply_all_<oid> */
#define RUN_MAX	      1000 /* operations of a statement */
#define SQL_TOLD      "SELECT pg_logical_emit_message(true, 'electric.told', '')"
#define SQL_INTRODUCE "SELECT electric.introduce($1)"
#define SQL_ROLE      "SELECT set_config('session_replication_role', $1, true)"
#define SQL_MARK      "SELECT pg_logical_emit_message(true, 'electric', $1::bytea)"
#define SQL_PROGRESS  "SELECT electric.advance($1, $2, $3, $4)"
#define SQL_REPAIR    "SELECT electric.repair($1, $2, $3, $4)"
#define SQL_REJECTED                                                                                         \
	"INSERT INTO electric.rejected_writes (client_id, lsn, user_id, sqlstate, message, operations, "     \
	"written_ms) "                                                                                       \
	"VALUES ($1, $2, $3, $4, $5, $6, $7)"

static bool row_by_row;
static bool role_is_replica, said_told; /* in the Postgres transaction that is being sent */

/* Operations on one relation that are to go in one statement: its parameters, as array literals. */
static struct {
	uint32_t relation;
	size_t n;
	struct buf marks, users, tags, deleted, observed, values, claims, runs;
} run;

void
group_new_connection(void)
{
	row_by_row = role_is_replica = said_told = false;
	statement_new_connection();
	merge_forget();
}

bool
group_failed_before(const char *sqlstate)
{
	bool not_new = strcmp(sqlstate, "LE002") == 0 || strcmp(sqlstate, "23505") == 0;

	statement_failed();
	role_is_replica = said_told = false;
	merge_forget();
	row_by_row = not_new && !row_by_row;
	return row_by_row;
}

void
group_succeeded(void)
{
	row_by_row = false;
}

static bool
send_mark(PGconn *conn, const ClientTransaction *t)
{
	struct buf mark = { 0 };
	bool ok;

	transaction_mark(&mark, t);
	ok = statement_send(conn, SQL_MARK, 1, (const char *[]){ (const char *)buf_data(&mark) },
	    (const int[]){ (int)mark.len }, (const int[]){ 1 });
	buf_clear(&mark);
	return ok;
}

static bool
send_run(PGconn *conn)
{
	struct buf *arrays[] = { &run.marks, &run.users, &run.tags, &run.deleted, &run.observed, &run.values,
		&run.claims, &run.runs };
	const char *params[N_ARRAYS];
	char sql[96];
	bool ok;

	if (run.n == 0)
		return true;
	for (size_t i = 0; i < N_ARRAYS; i++) {
		buf_puts(arrays[i], "}");
		params[i] = buf_cstr(arrays[i]);
	}
	snprintf(sql, sizeof sql, "SELECT electric.apply_all_%" PRIu32 "($1, $2, $3, $4, $5, $6, $7, $8)",
	    run.relation);
	ok = statement_send(conn, sql, N_ARRAYS, params, NULL, NULL);
	for (size_t i = 0; i < N_ARRAYS; i++)
		buf_take(arrays[i], arrays[i]->len);
	run.n = 0;
	return ok;
}

static bool
same_columns(const ClientOp *a, const ClientOp *b)
{
	if (a->n_values != b->n_values)
		return false;
	for (size_t i = 0; i < a->n_values; i++)
		if (a->values[i]->num != b->values[i]->num)
			return false;
	return true;
}

/* How many operations from this one on insert rows of one table, and so may go together. */
static size_t
inserts_from(const ClientTransaction *t, size_t k)
{
	const ClientOp *first = t->ops[k];
	size_t n = 1;

	while (k + n < t->n_ops && n < RUN_MAX && first->kind == CHANGE_KIND__INSERT &&
	       t->ops[k + n]->kind == CHANGE_KIND__INSERT && t->ops[k + n]->relation == first->relation &&
	       same_columns(t->ops[k + n], first))
		n++;
	return n;
}

static void
add_op(const ClientTransaction *t, const ClientOp *op, bool first, size_t together)
{
	const char *comma = run.n > 0 ? "," : "{";
	struct buf packed = { 0 };

	run.n++;
	run.relation = op->relation;
	buf_puts(&run.marks, comma);
	buf_puts(&run.users, comma);
	if (first) {
		transaction_mark(&packed, t);
		literal_bytes(&run.marks, buf_data(&packed), packed.len);
		buf_clear(&packed);
		buf_puts(&packed, t->user_id);
		literal_element(&run.users, &packed);
	} else {
		buf_puts(&run.marks, "NULL");
		buf_puts(&run.users, "NULL");
	}
	buf_take(&packed, packed.len);
	buf_puts(&run.tags, comma);
	literal_tag(&packed, t->timestamp, t->client_id);
	literal_element(&run.tags, &packed);
	buf_puts(&run.observed, comma);
	literal_tags(&packed, op->observed, op->n_observed);
	literal_element(&run.observed, &packed);
	buf_puts(&run.values, comma);
	literal_values(&packed, op);
	literal_element(&run.values, &packed);
	buf_puts(&run.claims, comma);
	literal_claims(&packed, op);
	literal_element(&run.claims, &packed);
	buf_clear(&packed);
	buf_printf(&run.deleted, "%s%s", comma, op->kind == CHANGE_KIND__DELETE ? "t" : "f");
	buf_printf(&run.runs, "%s%zu", comma, together);
}

static bool
send_transaction(PGconn *conn, const ClientTransaction *t)
{
	size_t together = 0; /* operations that go with the one before */

	if (t->n_ops == 0)
		return send_run(conn) && send_mark(conn, t);
	for (size_t k = 0; k < t->n_ops; k++) {
		size_t n = row_by_row ? 1 : together > 0 ? together : inserts_from(t, k);

		if (run.n > 0 &&
		    (run.relation != t->ops[k]->relation || (together == 0 && run.n + n > RUN_MAX)) &&
		    !send_run(conn))
			return false;
		add_op(t, t->ops[k], k == 0, together > 0 ? 1 : n);
		together = n > 1 ? n - 1 : 0;
	}
	return true;
}

static bool
send_progress(PGconn *conn, const struct progress *progress, uint64_t position)
{
	char session[24], was[24], now[24];
	const char *params[] = { progress->life, session, was, now };

	snprintf(session, sizeof session, "%" PRId64, progress->session);
	snprintf(was, sizeof was, "%" PRIu64, progress->was);
	snprintf(now, sizeof now, "%" PRIu64, position);
	role_is_replica = said_told = false; /* they were for the transaction that ends here */
	return PQsendQueryParams(conn, SQL_PROGRESS, 4, NULL, params, NULL, NULL, 0) == 1 &&
	       PQpipelineSync(conn) == 1;
}

// ---- what another Postgres tells

static bool
set_role(PGconn *conn, bool replica)
{
	const char *params[] = { replica ? "replica" : "origin" };

	if (role_is_replica == replica)
		return true;
	role_is_replica = replica;
	return statement_send(conn, SQL_ROLE, 1, params, NULL, NULL);
}

/* What the leader tells goes no further. To the leader, it is marked like a client's: it is told to all, its
 * author included. */
static bool
send_preamble(PGconn *conn, const struct write *w, bool follows)
{
	if (follows && said_told)
		return true;
	said_told = follows;
	if (follows)
		return statement_send(conn, SQL_TOLD, 0, NULL, NULL, NULL);
	return set_role(conn, true) && (w->told->part > 0 || send_mark(conn, w->client));
}

static bool
send_rows(PGconn *conn, const struct write *w, bool follows)
{
	/* The leader's echo of what was written here brings nothing new. */
	bool known = strcmp(w->told->origin, literal_own_origin()) == 0;
	enum merge_way way = row_by_row ? MERGE_ROW_BY_ROW : known ? MERGE_KNOWN : MERGE_FAST;

	/* What one that follows takes over is told to nobody: rows of many transactions go together. */
	if (follows)
		return merge_send(conn, w->told, true, way);
	return merge_send(conn, w->told, false, way) && merge_run_flush(conn, false) &&
	       (!w->last || merge_send_checks(conn));
}

/*
 * Of another Postgres: to be told of some rows again, or of all that there is. One of its own, from before it
 * led, about rows that it could not take: all others are told that it has not got them.
 */
static bool
send_wish(PGconn *conn, const struct write *w)
{
	const char *params[] = { w->client->client_id };
	bool own = strcmp(w->client->client_id, literal_own_origin()) == 0;

	if (!send_mark(conn, w->client))
		return false;
	if (own)
		return w->told == NULL || merge_send_repair(conn, w->told, NULL);
	return w->told != NULL ? merge_send_repair(conn, w->told, w->client->client_id)
			       : PQsendQueryParams(conn, SQL_INTRODUCE, 1, NULL, params, NULL, NULL, 0) == 1;
}

static bool
send_told(PGconn *conn, const struct write *w, bool follows)
{
	if (follows && !merge_concerns(w->told, literal_own_origin()))
		return true;
	return send_preamble(conn, w, follows) && send_rows(conn, w, follows);
}

bool
group_send_introduction(PGconn *conn, const struct progress *progress)
{
	const char *to_all[] = { NULL };

	return PQsendQueryParams(conn, SQL_INTRODUCE, 1, NULL, to_all, NULL, NULL, 0) == 1 &&
	       send_progress(conn, progress, progress->was);
}

bool
group_send_tables(PGconn *conn, const struct write *w, bool follows)
{
	return send_preamble(conn, w, follows) &&
	       (!merge_concerns(w->told, literal_own_origin()) || merge_send_tables(conn, w->told)) &&
	       PQsendQueryParams(conn, TABLES_QUERY, 0, NULL, NULL, NULL, NULL, 0) == 1 &&
	       PQsendFlushRequest(conn) == 1;
}

bool
group_send_rest(PGconn *conn, const struct progress *progress, const struct write *w, bool done, bool follows)
{
	return (!merge_concerns(w->told, literal_own_origin()) || send_rows(conn, w, follows)) &&
	       merge_run_flush(conn, follows) && (!done || send_progress(conn, progress, w->position));
}

// ---- a group

bool
group_send(PGconn *conn, const struct progress *progress, const struct write *writes, size_t n, bool done,
    bool follows)
{
	for (size_t i = 0; i < n; i++) {
		const struct write *w = &writes[i];

		if (w->client->introduce) {
			if (!send_run(conn) || !send_wish(conn, w))
				return false;
		} else if (w->told != NULL) {
			if (!send_run(conn) || !send_told(conn, w, follows))
				return false;
		} else if (!set_role(conn, false) || !send_transaction(conn, w->client)) {
			return false;
		}
	}
	return send_run(conn) && merge_run_flush(conn, follows) &&
	       (!done || send_progress(conn, progress, writes[n - 1].position));
}

/* What the author has on its rows is not what Postgres has: each row is sent to it again. */
static bool
send_repair(PGconn *conn, const ClientTransaction *t, const ClientOp *op)
{
	struct buf values = { 0 };
	char relation[16];
	bool ok;

	literal_values(&values, op);
	snprintf(relation, sizeof relation, "%" PRIu32, op->relation);
	ok = PQsendQueryParams(conn, SQL_REPAIR, 4, NULL,
		 (const char *[]){
		     t->client_id, relation, buf_cstr(&values), op->kind == CHANGE_KIND__DELETE ? "t" : "f" },
		 NULL, NULL, 0) == 1;
	buf_clear(&values);
	return ok;
}

static bool
send_record(PGconn *conn, const ClientTransaction *t, const char *sqlstate, const char *message)
{
	char *operations = transaction_operations(t), written[24];
	const char *params[] = { t->client_id, (const char *)t->lsn.data, t->user_id, sqlstate, message,
		operations, written };
	int lengths[7] = { 0, (int)t->lsn.len }, formats[7] = { 0, 1 };
	bool ok;

	/* A Postgres' own transaction has no number but its place in the log. */
	if (t->lsn.data == NULL)
		params[1] = "";
	snprintf(written, sizeof written, "%" PRIu64, t->timestamp);
	ok = PQsendQueryParams(conn, SQL_REJECTED, 7, NULL, params, lengths, formats, 0) == 1;
	free(operations);
	return ok;
}

bool
group_send_refusal(PGconn *conn, const struct progress *progress, const struct write *w, bool first,
    bool follows, const char *sqlstate, const char *message)
{
	const ClientTransaction *t = w->client;

	if (first && !follows && !send_mark(conn, t))
		return false;
	/* It asks for rows that it could not take again and again: one record of that is enough. */
	if (first && (w->told == NULL || w->told->only_client[0] == '\0') &&
	    !send_record(conn, t, sqlstate, message))
		return false;
	if (w->told != NULL && !follows && !merge_send_repair(conn, w->told, t->client_id))
		return false;
	for (size_t i = 0; i < t->n_ops; i++)
		if (!send_repair(conn, t, t->ops[i]))
			return false;
	return !w->last || send_progress(conn, progress, w->position);
}
