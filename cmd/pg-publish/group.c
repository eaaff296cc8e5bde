/* A group of clients' transactions as one Postgres transaction. */
#include "group.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "literal.h"
#include "xalloc.h"

#define SQL_MARK "SELECT pg_logical_emit_message(true, 'electric', $1::bytea)"
#define SQL_PROGRESS                                                                                         \
	"INSERT INTO electric.publish_progress AS p (id, position) VALUES ($1, $2) "                         \
	"ON CONFLICT (id) DO UPDATE SET position = excluded.position"
#define SQL_REPAIR "SELECT electric.repair($1, $2, $3, $4)"
#define SQL_REJECTED                                                                                         \
	"INSERT INTO electric.rejected_writes (client_id, lsn, user_id, sqlstate, message, operations, "     \
	"written_ms) "                                                                                       \
	"VALUES ($1, $2, $3, $4, $5, $6, $7)"

/* Relations whose apply function is prepared on this connection, as "a<oid>". */
static uint32_t *prepared;
static size_t n_prepared;
static bool prepare_anew;

void
group_new_connection(void)
{
	n_prepared = 0;
	prepare_anew = false;
}

void
group_failed_before(void)
{
	prepare_anew = true;
}

static bool
prepare(PGconn *conn, uint32_t relation, char name[24])
{
	char sql[96];

	snprintf(name, 24, "a%" PRIu32, relation);
	for (size_t i = 0; i < n_prepared; i++)
		if (prepared[i] == relation)
			return true;
	snprintf(sql, sizeof sql, "SELECT electric.apply_%" PRIu32 "($1, $2, $3, $4, $5)", relation);
	prepared = xrealloc(prepared, (n_prepared + 1) * sizeof *prepared);
	prepared[n_prepared++] = relation;
	return PQsendPrepare(conn, name, sql, 0, NULL) == 1;
}

static bool
send_mark(PGconn *conn, const ClientTransaction *t)
{
	ClientTransaction mark = CLIENT_TRANSACTION__INIT;
	uint8_t *packed;
	const char *value;
	int length, binary = 1;
	bool ok;

	mark.client_id = t->client_id;
	mark.user_id = t->user_id;
	mark.lsn = t->lsn;
	mark.timestamp = t->timestamp;
	length = (int)client_transaction__get_packed_size(&mark);
	packed = xmalloc((size_t)length);
	client_transaction__pack(&mark, packed);
	value = (const char *)packed;
	ok = PQsendQueryParams(conn, SQL_MARK, 1, NULL, &value, &length, &binary, 0) == 1;
	free(packed);
	return ok;
}

static bool
send_op(PGconn *conn, const ClientTransaction *t, const ClientOp *op)
{
	struct buf tag = { 0 }, observed = { 0 }, values = { 0 }, claims = { 0 };
	char name[24];
	bool ok;

	literal_tag(&tag, t->timestamp, t->client_id);
	literal_tags(&observed, op->observed, op->n_observed);
	literal_values(&values, op);
	literal_claims(&claims, op);
	ok = prepare(conn, op->relation, name);
	if (ok) {
		const char *params[] = { op->kind == CHANGE_KIND__DELETE ? "t" : "f", buf_cstr(&tag),
			buf_cstr(&observed), buf_cstr(&values), buf_cstr(&claims) };

		ok = PQsendQueryPrepared(conn, name, 5, params, NULL, NULL, 0) == 1;
	}
	buf_clear(&tag);
	buf_clear(&observed);
	buf_clear(&values);
	buf_clear(&claims);
	return ok;
}

static bool
send_progress(PGconn *conn, const char *life, uint64_t position)
{
	char text[24];
	const char *params[] = { life, text };

	snprintf(text, sizeof text, "%" PRIu64, position);
	return PQsendQueryParams(conn, SQL_PROGRESS, 2, NULL, params, NULL, NULL, 0) == 1 &&
	       PQpipelineSync(conn) == 1;
}

bool
group_send(PGconn *conn, const char *life, ClientTransaction **transactions, size_t n)
{
	if (prepare_anew) {
		if (PQsendQueryParams(conn, "DEALLOCATE ALL", 0, NULL, NULL, NULL, NULL, 0) != 1)
			return false;
		group_new_connection();
	}
	for (size_t i = 0; i < n; i++) {
		const ClientTransaction *t = transactions[i];

		if (!send_mark(conn, t))
			return false;
		for (size_t k = 0; k < t->n_ops; k++)
			if (!send_op(conn, t, t->ops[k]))
				return false;
	}
	return send_progress(conn, life, transactions[n - 1]->position);
}

/* The operations for a person to read, and to bring in again. */
static char *
operations_json(const ClientTransaction *t)
{
	static const char *const kinds[] = { "unknown", "insert", "update", "delete", "migrate" };
	json_t *ops = json_array();
	char *text;

	for (size_t i = 0; i < t->n_ops; i++) {
		const ClientOp *op = t->ops[i];
		json_t *values = json_object(), *observed = json_array(), *claimed = json_array();

		for (size_t k = 0; k < op->n_values; k++) {
			const Value *v = op->values[k];
			char num[16];
			/* What is no UTF-8 could not be stored either: it is shown as missing. */
			json_t *value =
			    v->null ? json_null() : json_stringn((const char *)v->text.data, v->text.len);

			snprintf(num, sizeof num, "%" PRIu32, v->num);
			json_object_set_new(values, num, value != NULL ? value : json_null());
			if (v->claimed)
				json_array_append_new(claimed, json_integer(v->num));
		}
		for (size_t k = 0; k < op->n_observed; k++)
			json_array_append_new(observed, json_string(op->observed[k]));
		json_array_append_new(ops, json_pack("{s:s, s:I, s:o, s:o, s:o}", "kind",
					       kinds[op->kind <= CHANGE_KIND__MIGRATE ? op->kind : 0],
					       "relation", (json_int_t)op->relation, "values", values,
					       "claimed", claimed, "observed", observed));
	}
	text = json_dumps(ops, JSON_COMPACT);
	json_decref(ops);
	return text;
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

bool
group_send_refusal(
    PGconn *conn, const char *life, const ClientTransaction *t, const char *sqlstate, const char *message)
{
	char *operations = operations_json(t), written[24];
	const char *params[] = { t->client_id, (const char *)t->lsn.data, t->user_id, sqlstate, message,
		operations, written };
	int lengths[7] = { 0, (int)t->lsn.len }, formats[7] = { 0, 1 };
	bool ok;

	snprintf(written, sizeof written, "%" PRIu64, t->timestamp);
	ok = send_mark(conn, t) &&
	     PQsendQueryParams(conn, SQL_REJECTED, 7, NULL, params, lengths, formats, 0) == 1;

	for (size_t i = 0; ok && i < t->n_ops; i++)
		ok = send_repair(conn, t, t->ops[i]);
	ok = ok && send_progress(conn, life, t->position);
	free(operations);
	return ok;
}
