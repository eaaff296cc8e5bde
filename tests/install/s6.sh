#!/bin/bash
# The service directories under a real s6-svscan, on a throwaway Postgres: one for leyden, then one for each tool.
set -uo pipefail
cd "$(dirname "$0")/../.."
. tests/support/checks.sh
build=${BUILD:-build}
work=$(mktemp -d)
scan=$work/scan supervisor=
end() {
	[ -z "$supervisor" ] || stop_scan
	scripts/postgres remove "$work/pg"
	rm -rf "$work"
}
trap end EXIT
chmod 711 "$work"

url=$(LEYDEN_PG_OPTIONS='fsync=off' scripts/postgres start "$work/pg") || exit
make -s install BUILD="$build" PREFIX="$work/usr" || exit
mkdir "$work/etc" "$work/state" "$scan"
cat > "$work/etc/leyden.env" <<END
OFFSET_STORAGE_FILE='$work/state/log'
LEYDEN_RUN_DIR='$work/state/run'
LISTEN_ADDRESS=127.0.0.1
WEBSOCKET_PORT=0
HTTP_API_PORT=0
WEBSOCKET_GATEWAYS=1
END
echo "DATABASE_URL='$url'" > "$work/etc/postgres.env"
echo 'AUTH_MODE=insecure' > "$work/etc/auth.env"
[ "$(id -u)" != 0 ] || chown -R nobody "$work/etc" "$work/state" "$scan"

start_scan() { # service…
	for service in "$@"; do as_nobody cp -R "$work/usr/share/leyden/s6/$service" "$scan/"; done
	LEYDEN_CONFIG=$work/etc as_nobody s6-svscan "$scan" >"$work/log" 2>&1 &
	supervisor=$!
	for service in "$@"; do await as_nobody s6-svok "$scan/$service" || return; done
}
stop_scan() {
	as_nobody s6-svscanctl -t "$scan"
	wait "$supervisor"
	supervisor=
	rm -rf "${scan:?}"/* "$scan/.s6-svscan"
}
is_ready() { as_nobody s6-svwait -t 20000 -U "${@/#/$scan/}"; }
state_of() { as_nobody s6-svstat -o "$1" "$scan/$2"; }
http_code() { curl -sS -o /dev/null -w '%{http_code}' "http://$(grep -o 'http=[^ ]*' "$work/log" | tail -n 1 | cut -d= -f2)$1"; }
restarts() { # service: a killed one is up and ready again, as another process
	local before
	before=$(state_of pid "$1")
	as_nobody s6-svc -k "$scan/$1" && await another_pid "$1" "$before" && is_ready "$1"
}
another_pid() { local now; now=$(state_of pid "$1"); [ "$now" -gt 0 ] && [ "$now" != "$2" ]; }

start_scan leyden
check 'leyden comes up, and says when it is ready' is_ready leyden
check 'and serves then' await same 200 http_code /readyz
check 'killed, it comes back' restarts leyden
check 'and serves again' await same 200 http_code /readyz
echo 'AUTH_MODE=nonsense' > "$work/etc/auth.env"
as_nobody s6-svc -r "$scan/leyden"
check 'with a configuration that is wrong it stays down' await same '78 false' state_of exitcode,wantedup leyden
echo 'AUTH_MODE=insecure' > "$work/etc/auth.env"
as_nobody s6-svc -u "$scan/leyden"
check 'mended, it comes up' is_ready leyden
as_nobody s6-svc -d "$scan/leyden"
check 'asked to, it ends with 0' await same '0 false' state_of exitcode,up leyden
stop_scan

tools=(log-store pg-ingest pg-snapshot pg-publish auth-check http-api ws-gateway)
start_scan "${tools[@]}"
check 'each tool comes up by itself, and says when it is ready' is_ready "${tools[@]}"
check 'together they serve' await same 200 http_code /readyz
for tool in "${tools[@]}"; do check "$tool: killed, it comes back" restarts "$tool"; done
check 'and they serve again' await same 200 http_code /readyz
echo 'AUTH_MODE=nonsense' > "$work/etc/auth.env"
as_nobody s6-svc -r "$scan/auth-check"
check 'auth-check with a wrong configuration stays down' await same '78 false' state_of exitcode,wantedup auth-check
check 'and the others go on' same 200 http_code /readyz
counted
