/* What Postgres holds of the tables and their migrations. */
#include "history.h"

#include <stdlib.h>
#include <string.h>

#include "catalog.h"
#include "pgtext.h"

const char HISTORY[] =
    "SELECT id, version, txts, definition, oid, shadow FROM ("
    " SELECT c.id, c.version, c.txts, c.definition, NULL::oid AS oid, NULL::oid AS shadow, c.txid"
    " FROM electric.ddl_commands AS c"
    " JOIN electric.migration_versions AS v ON v.txid = c.txid AND v.version = c.version"
    " UNION ALL SELECT NULL, NULL, NULL, NULL, e.oid, e.shadow, '0' FROM electric.electrified AS e"
    ") AS h ORDER BY txid, id";

static uint32_t
oid_at(const PGresult *r, int row, int column)
{
	return (uint32_t)strtoul(PQgetvalue(r, row, column), NULL, 10);
}

void
history_load(const PGresult *r)
{
	int64_t ms;

	catalog_reset();
	for (int i = 0; i < PQntuples(r); i++) {
		const char *txts = PQgetvalue(r, i, 2);

		if (PQgetisnull(r, i, 0)) {
			catalog_add_shadow(oid_at(r, i, 4), oid_at(r, i, 5));
			continue;
		}
		if (!pgtext_timestamp_ms(txts, strlen(txts), &ms))
			ms = 0;
		catalog_add(strtoll(PQgetvalue(r, i, 0), NULL, 10), PQgetvalue(r, i, 1), (uint64_t)ms,
		    PQgetvalue(r, i, 3));
	}
}
