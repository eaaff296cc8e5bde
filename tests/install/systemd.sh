#!/bin/bash
# The Debian package in a fresh Debian of which systemd is the first process, on a throwaway Postgres: leyden.service,
# then leyden-tools.target. Wants root; `make check-deploy` runs it.
set -uo pipefail
cd "$(dirname "$0")/../.."
. tests/support/checks.sh
build=$(realpath "${BUILD:-build}")
work=$(mktemp -d)
chmod 711 "$work"
root=$work/root init='' booted=''
end() {
	[ -z "$init" ] || kill -KILL "$init"
	[ -z "$booted" ] || wait "$booted" 2>/dev/null
	scripts/postgres remove "$work/pg"
	mount -t cgroup2 none "$work/cgroup" && find "$work/cgroup/leyden-test-boot" -depth -type d -exec rmdir {} + && umount "$work/cgroup"
	rm -rf --one-file-system "$work"
}
trap end EXIT

in_root() { nsenter --target "$init" --mount --pid --uts --ipc --cgroup --root --wdns=/ -- "$@"; }
find_init() { init=$(pgrep -P "$booted" -x systemd); }
is_running() { in_root systemctl is-system-running; }
property() { in_root systemctl show --value -p "$1" "$2"; }
http_code() { curl -sS -o /dev/null -w '%{http_code}' "http://127.0.0.1:$http$1"; }
user_of() { in_root stat -c %U "/proc/$(property MainPID "$1")"; }
state_of() { echo "$(property ActiveState "$1") $(property Result "$1") $(property ExecMainStatus "$1")"; }
told() { in_root journalctl --no-pager -q -u leyden | grep -F "$1"; }
restarts() { # unit, signal: it is there again, and nobody had to ask
	local before
	before=$(property MainPID "$1")
	in_root systemctl kill -s "$2" --kill-who=main "$1" && await is_another "$1" "$before"
}
is_another() { local now; now=$(property MainPID "$1"); [ "$now" != 0 ] && [ "$now" != "$2" ] && same active property ActiveState "$1"; }
port_of() { # socket unit, port
	in_root mkdir -p "/run/systemd/system/$1.d"
	in_root tee "/run/systemd/system/$1.d/port.conf" <<<"[Socket]
ListenStream=
ListenStream=127.0.0.1:$2" >/dev/null
}

url=$(LEYDEN_PG_OPTIONS='fsync=off' scripts/postgres start "$work/pg") || exit
websocket=$(free_port) http=$(free_port)
tests/install/root "$root" systemd systemd-sysv dbus s6 2>"$work/root.log" || { tail "$work/root.log"; exit 69; }
cp "$build"/deb/leyden_*.deb "$root/root/"
check 'the package installs' chroot "$root" sh -c 'mount -t proc proc /proc; apt-get install -y -q --no-install-recommends /root/leyden_*.deb; code=$?; umount /proc; exit $code'
check 'it makes the directory of the log' test -d "$root/var/lib/leyden"
echo "DATABASE_URL='$url'" >> "$root/etc/leyden/postgres.env"
echo 'AUTH_MODE=insecure' >> "$root/etc/leyden/auth.env"
printf '%s\n' "WEBSOCKET_PORT=$websocket" "HTTP_API_PORT=$http" LISTEN_ADDRESS=127.0.0.1 >> "$root/etc/leyden/leyden.env"

tests/install/boot "$root" >"$work/boot.log" 2>&1 &
booted=$!
await find_init
await is_running || { cat "$work/boot.log"; exit 69; }

check 'leyden.service starts' in_root systemctl start leyden
check 'it says where clients come in' same "websocket=127.0.0.1:$websocket http=127.0.0.1:$http" property StatusText leyden
check 'it serves' await same 200 http_code /readyz
check 'it is a user of its own' same leyden user_of leyden
check 'killed, it comes back' restarts leyden KILL
check 'and serves' await same 200 http_code /readyz
check 'it had no error to tell' same '' told ' error '
in_root systemctl stop leyden
check 'it stops with 0' same 'inactive success 0' state_of leyden
cp "$root/etc/leyden/auth.env" "$work/auth.env"
echo AUTH_MODE=nonsense >> "$root/etc/leyden/auth.env"
in_root systemctl start leyden 2>/dev/null
check 'a wrong configuration stays down' await same 'failed exit-code 78' state_of leyden
cp "$work/auth.env" "$root/etc/leyden/auth.env"
in_root systemctl reset-failed leyden

port_of leyden-http-api.socket "$http"
port_of leyden-ws-gateway@.socket "$websocket"
# A watchdog that this test can wait for.
in_root mkdir -p /run/systemd/system/leyden-pg-snapshot@.service.d
in_root tee /run/systemd/system/leyden-pg-snapshot@.service.d/watchdog.conf >/dev/null <<<$'[Service]\nWatchdogSec=1'
in_root systemctl daemon-reload
check 'leyden-tools.target starts' in_root systemctl start leyden-tools.target
check 'its tools serve together' await same 200 http_code /readyz
check 'another gateway joins on the same port' in_root systemctl start leyden-ws-gateway@2
check 'a network of its own keeps it from all others' in_root nsenter --target "$(property MainPID leyden-ws-gateway@1)" --net \
	sh -c '! grep -v lo: /proc/net/dev | grep :'
for unit in log-store pg-ingest@1 pg-snapshot@1 pg-publish@1 auth-check http-api ws-gateway@1; do
	check "$unit: killed, it comes back" restarts "leyden-$unit" KILL
done
check 'and they serve again' await same 200 http_code /readyz
check 'one that hangs is started again' restarts leyden-pg-snapshot@1 STOP
in_root systemctl stop leyden-tools.target
check 'the target takes all with it' await same '' in_root systemctl list-units --no-legend --state=active 'leyden*'
check 'the one excludes the other' in_root sh -c 'systemctl start leyden-tools.target && systemctl start leyden &&
	systemctl is-active leyden && ! systemctl is-active leyden-tools.target'
in_root systemctl stop leyden

# s6, as root has it: the tools become the user leyden.
in_root mkdir /run/scan
in_root cp -R /usr/share/leyden/s6/leyden /run/scan/
in_root s6-svscan /run/scan >"$work/s6.log" 2>&1 &
await in_root s6-svok /run/scan/leyden
check 's6, as root: leyden comes up' in_root s6-svwait -t 20000 -U /run/scan/leyden
check 'as its own user' same leyden in_root sh -c 'stat -c %U /proc/$(s6-svstat -o pid /run/scan/leyden)'
in_root s6-svscanctl -t /run/scan

check 'the package can be removed while it runs' in_root sh -c 'systemctl start leyden && apt-get purge -y -q leyden && ! pgrep leyden'
check 'and leaves the data' test -s "$root/var/lib/leyden/log"
counted
