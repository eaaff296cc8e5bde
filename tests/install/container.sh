#!/bin/bash
# The container without an engine: the steps of scripts/Containerfile in fresh Debian roots, and what they made, run as
# compose.yaml says (user, read-only root, two places to write, health check) in namespaces, on a throwaway Postgres.
# Wants root; `make check-deploy` runs it.
set -uo pipefail
cd "$(dirname "$0")/../.."
. tests/support/checks.sh
work=$(mktemp -d)
chmod 711 "$work"
declare -A stages
stage=0 dir=/ user='' image='' running=''
env=() entrypoint=()
end() {
	[ -z "$running" ] || kill -KILL "$running" 2>/dev/null
	scripts/postgres remove "$work/pg"
	rm -rf --one-file-system "$work"
}
trap end EXIT

in_image() { # a command, as a build does it
	unshare --mount --pid --fork sh -c 'mount -t proc proc "$0/proc" && dir=$1 && shift && exec chroot "$0" sh -c "cd $dir && $1"' \
		"$image" "$dir" "$1"
}
copy() { # [--from=STAGE] FROM TO
	case $1 in
	--from=*) cp -R "$work/stage-${stages[${1#--from=}]}$2." "$image$3" ;;
	*) git ls-files -z | tar --null -T - -cf - | tar -C "$image$dir" --no-same-owner -xf - ;;
	esac
}
step() { # instruction, the rest of it
	case $1 in
	FROM)
		image=$work/stage-$((++stage)) dir=/
		[ "${2#* AS }" = "$2" ] || stages[${2#* AS }]=$stage
		tests/install/root "$image"
		;;
	WORKDIR) mkdir -p "$image$2" && dir=$2 ;;
	COPY) read -ra words <<<"$2" && copy "${words[@]}" ;;
	RUN) in_image "export DEBIAN_FRONTEND=noninteractive; $2" ;;
	USER) user=$2 ;;
	ENV) read -ra env <<<"$2" ;;
	ENTRYPOINT) mapfile -t entrypoint < <(python3 -c 'import json, sys; print(*json.loads(sys.argv[1]), sep="\n")' "$2") ;;
	VOLUME | EXPOSE) ;;
	*) echo "an instruction that this test does not know: $1" >&2 && return 1 ;;
	esac
}
build() {
	local instruction rest
	while read -r instruction rest; do
		step "$instruction" "$rest" >>"$work/build.log" 2>&1 || { tail "$work/build.log"; return 1; }
	done < <(sed -e '/^#/d' -e '/^$/d' -e ':join' -e '/\\$/{N;s/\\\n\t*/ /;b join' -e '}' scripts/Containerfile)
}

start() {
	env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin "${env[@]}" DATABASE_URL="$url" AUTH_MODE=insecure LISTEN_ADDRESS=127.0.0.1 "WEBSOCKET_PORT=$websocket" \
		"HTTP_API_PORT=$http" unshare --mount --pid --fork --kill-child sh -c '
			cd "$0" && mount --bind . . && cd "$0" && mount -t proc proc proc &&
			mount -t tmpfs -o "uid=${1%:*},gid=${1#*:},mode=0700" tmpfs run/leyden && mount --bind "$2" data &&
			touch dev/null && mount --bind /dev/null dev/null && mount --bind /dev/urandom dev/urandom && mount -o remount,bind,ro . . && user=$1 && shift 2 &&
			exec chroot . setpriv --no-new-privs "--reuid=${user%:*}" "--regid=${user#*:}" --clear-groups --bounding-set=-all "$@"' \
		"$image" "$user" "$work/data" "${entrypoint[@]}" >>"$work/log" 2>&1 &
	running=$!
}
stop() {
	local code
	kill -TERM "$(pgrep -P "$running")"
	wait "$running"
	code=$?
	running=
	return $code
}
in_container() { nsenter --target "$(pgrep -P "$running")" --mount --pid --root --wdns=/ -- "$@"; }
healthy() { # compose.yaml's own words
	local words
	mapfile -t -d '' words < <(python3 -c 'import json, re
test = re.search(r"test: (\[.*\])", open("compose.yaml").read()).group(1)
print(*(word.replace("$$", "$") for word in json.loads(test)[1:]), sep="\0", end="\0")')
	in_container env HTTP_API_PORT="$http" "${words[@]}"
}
uids() { in_container sh -c 'for p in /proc/[0-9]*; do [ $p = /proc/$$ ] || stat -c %u $p; done' | sort -u | tr '\n' ' '; }
writable() { in_container setpriv --reuid=10001 --regid=10001 --clear-groups sh -c 'for d in / /usr /etc /var/tmp /tmp /data /run/leyden; do touch $d/probe && rm $d/probe && echo $d; done' 2>/dev/null | tr '\n' ' '; }

url=$(LEYDEN_PG_OPTIONS='fsync=off' scripts/postgres start "$work/pg") || exit
websocket=$(free_port) http=$(free_port)
check 'the steps of the Containerfile' build
check 'two stages, of which the last has no compiler' sh -c "[ $stage = 2 ] && ! chroot '$image' sh -c 'command -v cc'"
cp -a "$image/data" "$work/data" # what a new volume is filled with
start
check 'it becomes healthy' await healthy
check 'the user of the image owns every process' same '10001 ' uids
check 'it can write where it must, and nowhere else' same '/data /run/leyden ' writable
check 'as the first process of its container it stops with 0' stop
check 'the log is in the volume' test -s "$work/data/log"
start
check 'it is healthy again with a new container on that volume' await healthy
check 'and goes on with the log' sh -c "! grep log-life-began '$work/log' | sed 1d | grep ."
scripts/postgres stop "$work/pg" immediate
not_healthy() { ! healthy; }
check 'without Postgres it is not healthy' await not_healthy
check 'and says so by no end of its own' sh -c "kill -0 $running"
check 'it stops with 0 then, too' stop
counted
