/* What a person does about transactions that Postgres refused. */
#include "rejected.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <string.h>

#include "exits.h"
#include "log.h"
#include "pg.h"
#include "satellite.h"
#include "service.h"

/* NULL, with a line said, when Postgres cannot be reached. */
static PGconn *
connect_to(const char *url)
{
	const char *keywords[] = { "dbname", "application_name", "client_encoding", "options", NULL };
	const char *values[] = { url, "leyden pg-publish", "UTF8",
		"-c datestyle=ISO -c intervalstyle=postgres -c timezone=UTC -c search_path=pg_catalog",
		NULL };
	PGconn *conn = PQconnectdbParams(keywords, values, 1);

	if (PQstatus(conn) == CONNECTION_OK)
		return conn;
	fprintf(stderr, "pg-publish: %s\n", pg_message(PQerrorMessage(conn)));
	PQfinish(conn);
	return NULL;
}

int
rejected_list(const char *url)
{
	PGconn *conn = connect_to(url);
	PGresult *r;
	int code = EX_OK;

	if (conn == NULL)
		return EX_UNAVAILABLE;
	r = PQexec(conn,
	    "SELECT id, to_char(rejected_at, 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), client_id, user_id,"
	    " encode(lsn, 'hex'), sqlstate, message, operations FROM electric.rejected_writes ORDER BY id");
	if (PQresultStatus(r) != PGRES_TUPLES_OK) {
		fprintf(stderr, "pg-publish: %s\n", pg_message(PQresultErrorMessage(r)));
		code = EX_UNAVAILABLE;
	}
	for (int i = 0; i < PQntuples(r); i++) {
		printf("id=%s time=%s client_id=%s", PQgetvalue(r, i, 0), PQgetvalue(r, i, 1),
		    log_quote(PQgetvalue(r, i, 2)));
		printf(" user_id=%s lsn=%s sqlstate=%s", log_quote(PQgetvalue(r, i, 3)), PQgetvalue(r, i, 4),
		    PQgetvalue(r, i, 5));
		printf(" message=%s operations=%s\n", log_quote(PQgetvalue(r, i, 6)), PQgetvalue(r, i, 7));
	}
	PQclear(r);
	PQfinish(conn);
	return code;
}

int
rejected_settle(const char *url, unsigned id, bool retry)
{
	PGconn *conn = connect_to(url);
	char text[16];
	char own[32];
	const char *params[] = { text, own };
	PGresult *r;
	bool ok, none;

	if (conn == NULL)
		return EX_UNAVAILABLE;
	snprintf(text, sizeof text, "%u", id);
	snprintf(own, sizeof own, SAT_POSTGRES_ORIGIN, service_instance());
	r = PQexecParams(conn,
	    retry ? "SELECT electric.retry_rejected($1, $2)"
		  : "DELETE FROM electric.rejected_writes WHERE id = $1",
	    retry ? 2 : 1, NULL, params, NULL, NULL, 0);
	ok = PQresultStatus(r) == PGRES_TUPLES_OK || PQresultStatus(r) == PGRES_COMMAND_OK;
	none = ok && !retry && strcmp(PQcmdTuples(r), "0") == 0;
	if (none)
		fprintf(stderr, "pg-publish: there is no rejected write %u\n", id);
	else if (!ok)
		fprintf(stderr, "pg-publish: %s\n",
		    pg_message(PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY) != NULL
				   ? PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY)
				   : PQerrorMessage(conn)));
	else
		printf("id=%u %s\n", id, retry ? "applied" : "discarded");
	PQclear(r);
	PQfinish(conn);
	return ok && !none ? EX_OK : EX_DATAERR;
}
