#!/bin/bash
# README.md's walk-through, from its own words: the SQL in psql, then the app with the npm client, on a throwaway Postgres;
# and how leyden-operations(7) puts an end to it.
set -uo pipefail
cd "$(dirname "$0")/../.."
. tests/support/checks.sh
build=$(realpath "${BUILD:-build}")
work=$(mktemp -d)
chmod 711 "$work"
service=''
end() {
	[ -z "$service" ] || { kill "$service"; wait "$service"; }
	scripts/postgres remove "$work/pg"
	rm -rf "$work"
}
trap end EXIT

block() { sed -n '/^## A walk through it/,/^## /p' README.md | sed -n "/^\`\`\`$1\$/,/^\`\`\`\$/p" | sed '/^```/d'; }
both_rows() { same $'1|from psql\n2|from SQLite' "$@"; }
in_postgres() { psql -qXAt "$url" -c 'SELECT * FROM items ORDER BY id'; }
in_sqlite() { node -e 'for (const r of new (require("better-sqlite3"))("app.db").prepare("SELECT * FROM items ORDER BY id").all()) console.log(r.id + "|" + r.value)'; }

url=$(LEYDEN_PG_OPTIONS='fsync=off' scripts/postgres start "$work/pg") || exit
mkfifo "$work/ready"
DATABASE_URL=$url AUTH_MODE=insecure LEYDEN_RUN_DIR=$work/run OFFSET_STORAGE_FILE=$work/log LISTEN_ADDRESS=127.0.0.1 WEBSOCKET_PORT=0 \
	HTTP_API_PORT=0 "$build/bin/leyden" --notify-fd 3 3>"$work/ready" 2>"$work/log.txt" &
service=$!
read -r < "$work/ready"
port=$(sed -n 's/.*leyden: ready websocket=[^ ]*:\([0-9]*\) .*/\1/p' "$work/log.txt")

block sql > "$work/walk.sql"
check 'the SQL' psql -qX -v ON_ERROR_STOP=1 "$url" -f "$work/walk.sql"
tests/e2e/install
mkdir "$work/app"
ln -s "$PWD/tests/e2e/node_modules" "$work/app/"
block js | sed "s/localhost:5133/127.0.0.1:$port/" > "$work/app/app.mjs"
TOKEN=$(AUTH_MODE=insecure "$build/bin/auth-check" gen-token alice)
export TOKEN
cd "$work/app" || exit
node app.mjs >out 2>&1 &
app=$!
check 'the row of the app comes to Postgres' await both_rows in_postgres
check 'and that of psql to SQLite' await both_rows in_sqlite
check 'the app shows both' await grep -q 'from SQLite' out
kill $app
wait $app 2>/dev/null
cd - >/dev/null || exit

kill "$service"
wait "$service"
service=''
sed -n '/^\.Sh PUTTING AN END/,/^\.Sh SEE/p' man/leyden-operations.7 | sed -n '/^\.Bd/,/^\.Ed/p' | grep -v '^\.' > "$work/end.sql"
check 'what was made in Postgres can be removed' psql -qX -v ON_ERROR_STOP=1 "$url" -f "$work/end.sql"
check 'and the table is an ordinary one' same '' psql -qXAt "$url" -c "INSERT INTO items VALUES ('3')" \
	-c 'SELECT tgname FROM pg_trigger WHERE NOT tgisinternal' -c 'SELECT slot_name FROM pg_replication_slots'
counted
