#!/bin/bash
# triggers: what an electrified table costs those who write it in Postgres, beside a plain one: single-row transactions
# (N of them) and statements of ROWS rows. The service does not run: the WAL's reading is another matter.
set -euo pipefail
cd "$(dirname "$0")/../.."
bin=$PWD/${BUILD:-build}/bin
rows=${ROWS:-10000} n=${N:-2000}
dir=$(mktemp -d "${TMPDIR:-/var/tmp}/leyden-bench-XXXXXX")
chmod 711 "$dir"
pid=
trap '[ -z "$pid" ] || { kill "$pid" && wait "$pid"; } 2>/dev/null || true; scripts/postgres remove "$dir/pg"; rm -rf "$dir"' EXIT

export DATABASE_URL AUTH_MODE=insecure WEBSOCKET_PORT=0 HTTP_API_PORT=0 LISTEN_ADDRESS=127.0.0.1
export LEYDEN_RUN_DIR=$dir/run OFFSET_STORAGE_FILE=$dir/log
DATABASE_URL=$(scripts/postgres start "$dir/pg")
"$bin/leyden" 2>"$dir/log.txt" & pid=$!
for ((i = 0; i < 1000; i++)); do grep -q 'leyden: ready' "$dir/log.txt" && break; sleep 0.01; done
psql -qX "$DATABASE_URL" >/dev/null 2>&1 <<-END
	CREATE TABLE plain (id int8 PRIMARY KEY, a text, b int4, c timestamp);
	CREATE TABLE synced (LIKE plain INCLUDING ALL);
	SELECT electric.migration_version('1');
	CALL electric.electrify('synced');
END
kill "$pid"; wait "$pid" || true; pid=

# Milliseconds of the fastest of five.
many() { # table, statement with TABLE in it, what restores it
	for i in 1 2 3 4 5; do
		[ -z "$3" ] || psql -qXAt "$DATABASE_URL" -c "${3//TABLE/$1}" -c "VACUUM $1" >/dev/null
		psql -qXAt "$DATABASE_URL" -c '\timing on' -c "${2//TABLE/$1}" | sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p'
	done | sort -n | head -n 1
}

# Milliseconds of n transactions by one client.
single() { # table, statement
	echo "${2//TABLE/$1}" >"$dir/script"
	pgbench -n -f "$dir/script" -t "$n" -M prepared "$DATABASE_URL" 2>/dev/null |
		sed -n 's/^latency average = \([0-9.]*\) ms/\1/p'
}

compare() { # name, function, arguments
	local plain synced
	plain=$("$2" plain "${@:3}") synced=$("$2" synced "${@:3}")
	printf '%-34s plain %9s ms, electrified %9s ms, ratio %s\n' "$1" "$plain" "$synced" \
		"$(echo "scale=2; $synced / $plain" | bc)"
}

all="INSERT INTO TABLE SELECT i, md5(i::text), i, now() FROM generate_series(1, $rows) AS i"
compare "INSERT of $rows rows" many "$all" 'DELETE FROM TABLE'
compare "UPDATE of $rows rows" many "UPDATE TABLE SET b = b + 1" ''
compare "DELETE of $rows rows" many 'DELETE FROM TABLE' "$all ON CONFLICT DO NOTHING"
for table in plain synced; do
	psql -qX "$DATABASE_URL" -c "DELETE FROM $table" -c "VACUUM $table" -c "${all//TABLE/$table}"
	psql -qX "$DATABASE_URL" -c "CREATE SEQUENCE ${table}_new START 1000000; CREATE SEQUENCE ${table}_old"
done
compare "INSERT of one row" single "INSERT INTO TABLE VALUES (nextval('TABLE_new'), 'text', 1, now());"
compare "UPDATE of one row" single "UPDATE TABLE SET b = b + 1 WHERE id = (SELECT 1 + (random() * ($rows - 1))::int8);"
compare "DELETE of one row" single "DELETE FROM TABLE WHERE id = (SELECT nextval('TABLE_old'));"
