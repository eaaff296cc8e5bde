#!/bin/sh
# Tests the SQL that pg-ingest installs, by psql alone. Wants an empty database and a role that may create in it,
# named by PGHOST, PGPORT, PGUSER and PGDATABASE. Prints a line for each check and a count at the end.
set -u
here=$(cd "$(dirname "$0")" && pwd)
sources=$here/../../cmd/pg-ingest/sql
out=$(mktemp)
trap 'rm -f "$out" "$out".*' EXIT

# As pg-ingest does it: one transaction, one at a time.
install_schema() {
    { echo "SELECT pg_advisory_xact_lock(7310);"; cat "$sources"/*.sql; } |
        PGOPTIONS='-c client_min_messages=warning' psql -qXAt -1 -v ON_ERROR_STOP=1 -f - >"$1" 2>&1
}

check() {
    name=$1; shift
    if "$@"; then echo "ok - $name"; else echo "not ok - $name: expected success got $(cat "$out".* | tr '\n' ' ')"; fi
}

both_at_once() {
    install_schema "$out.2" & first=$!
    install_schema "$out.3" & second=$!
    wait $first && wait $second
}

write_busily() {
    pids=
    for who in A B pg pg; do
        psql -qX -v ON_ERROR_STOP=1 -c "CALL checks.write_busily('$who', 500)" >"$out.$who" 2>&1 & pids="$pids $!"
    done
    for pid in $pids; do wait "$pid" || return 1; done
}

{
    check 'two installations at the same time' both_at_once
    check 'an installation over another' install_schema "$out.4"
    for file in "$here"/sql/*.sql; do
        # A setting of the session must not matter to what is generated.
        PGOPTIONS='-c client_min_messages=error' psql -qXAt -v ON_ERROR_STOP=1 -f "$file" 2>&1 |
            sed -e '/^ok - /b' -e '/^not ok - /b' -e '/./!d' -e "s|^|not ok - $(basename "$file"): |"
    done
    check 'clients and Postgres write at the same time' write_busily
    psql -qXAt -c "SELECT checks.is('rows have tags, others have a tombstone', count(*)::text, '0')
                     FROM busy AS m FULL JOIN electric.shadow__public__busy AS s ON s.k1 = m.id
                    WHERE m.id IS NULL AND (s._tags <> '{}' OR s._tombstone IS NULL)
                       OR m.id IS NOT NULL AND (s._tags IS NULL OR s._tags = '{}' OR s._tombstone IS NOT NULL)"
    check 'an installation over tables in use' install_schema "$out.5"
} >"$out"

cat "$out"
passed=$(grep -c '^ok - ' "$out")
failed=$(grep -c -v '^ok - ' "$out")
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
