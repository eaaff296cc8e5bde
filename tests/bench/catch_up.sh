#!/bin/bash
# catch_up: pg-ingest catches up on ROWS rows (transactions of 100), beside pg_recvlogical, which throws the same away.
set -euo pipefail
cd "$(dirname "$0")/../.."
bin=$PWD/${BUILD:-build}/bin
rows=${ROWS:-200000}
dir=$(mktemp -d "${TMPDIR:-/var/tmp}/leyden-bench-XXXXXX")
chmod 711 "$dir"
pid=
trap '[ -z "$pid" ] || { kill "$pid" && wait "$pid"; } 2>/dev/null; scripts/postgres remove "$dir/pg"; rm -rf "$dir"' EXIT

now() { date +%s.%N; }
sql() { psql -qXAt -v ON_ERROR_STOP=1 "$DATABASE_URL" -c "$1"; }
service_start() {
	: >"$dir/log.txt"
	"$bin/leyden" 2>"$dir/log.txt" & pid=$!
	for ((i = 0; i < 3000; i++)); do grep -q 'leyden: ready' "$dir/log.txt" && return; sleep 0.01; done
	cat "$dir/log.txt" >&2
	exit 1
}
service_stop() { kill "$pid"; wait "$pid"; pid=; }

export DATABASE_URL AUTH_MODE=insecure WEBSOCKET_PORT=0 HTTP_API_PORT=0 LISTEN_ADDRESS=127.0.0.1
export LEYDEN_RUN_DIR=$dir/run OFFSET_STORAGE_FILE=$dir/log
DATABASE_URL=$(scripts/postgres start "$dir/pg")
service_start
sql "CREATE TABLE t (id int8 PRIMARY KEY, a text, b int4, c timestamp);
	SELECT electric.migration_version('1'); CALL electric.electrify('t')" >/dev/null 2>&1
sleep 1
service_stop
sql "SELECT pg_create_logical_replication_slot('bench', 'pgoutput')" >/dev/null
sql "DO \$\$ BEGIN FOR i IN 0..$((rows / 100 - 1)) LOOP
	INSERT INTO t SELECT i * 100 + k, md5(k::text), k, now() FROM generate_series(1, 100) AS k; COMMIT;
	END LOOP; END \$\$"
end=$(sql "SELECT pg_current_wal_lsn()")
sql "SELECT pg_switch_wal()" >/dev/null

start=$(now)
pg_recvlogical -d "$DATABASE_URL" --slot=bench --start -o proto_version=1 -o publication_names=electric_publication \
	-o messages=true --endpos="$end" --no-loop -f /dev/null
plain=$(echo "$(now) - $start" | bc)

start=$(now)
service_start
for ((i = 0; i < 6000; i++)); do
	[ "$(sql "SELECT confirmed_flush_lsn >= '$end' FROM pg_replication_slots WHERE slot_name <> 'bench'")" = t ] && break
	sleep 0.01
done
ours=$(echo "$(now) - $start" | bc)
echo "catching up on $rows rows: pg_recvlogical $(echo "$rows / $plain" | bc) rows/s," \
	"pg-ingest into the log $(echo "$rows / $ours" | bc) rows/s, ratio $(echo "scale=2; $plain / $ours" | bc)"
