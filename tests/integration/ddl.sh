#!/bin/sh
# Tests what event triggers make of DDL, by psql alone. Wants an empty database and a superuser, named by PGHOST, PGPORT,
# PGUSER and PGDATABASE. Prints a line for each check and a count at the end.
set -u
here=$(cd "$(dirname "$0")" && pwd)
out=$(mktemp)
trap 'rm -f "$out"' EXIT
{
    cat "$here"/../../cmd/pg-ingest/sql/*.sql | PGOPTIONS='-c client_min_messages=warning' psql -qXAt -1 -v ON_ERROR_STOP=1 -f - 2>&1 |
        sed '/./!d; s/^/not ok - installation: /'
    for file in "$here"/sql/00_checks.sql "$here"/ddl/*.sql; do
        PGOPTIONS='-c client_min_messages=error' psql -qXAt -v ON_ERROR_STOP=1 -f "$file" 2>&1 |
            sed -e '/^ok - /b' -e '/^not ok - /b' -e '/./!d' -e "s|^|not ok - $(basename "$file"): |"
    done
} >"$out"
cat "$out"
passed=$(grep -c '^ok - ' "$out")
failed=$(grep -c -v '^ok - ' "$out")
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
