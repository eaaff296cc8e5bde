#!/bin/bash
# make install and make uninstall, and whether systemd takes what they place.
set -uo pipefail
cd "$(dirname "$0")/../.."
. tests/support/checks.sh
build=${BUILD:-build}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

install_in() { make -s "$1" BUILD="$build" DESTDIR="$2" PREFIX="$3"; }
every_tool() { for tool in "$build"/bin/*; do "$work/dest/usr/bin/${tool##*/}" "$@" || return; done; }
ours_in() { find "$1" -name '*leyden*' -o ! -type d; }
sysusers() { mkdir -p "$work/root/etc" && systemd-sysusers --root="$work/root" "$work/usr/lib/sysusers.d/leyden.conf"; }
tmpfiles() { systemd-tmpfiles --root="$work/root" --create "$work/usr/lib/tmpfiles.d/leyden.conf"; }
uid_of_leyden() { sed -n 's/^leyden:[^:]*:\([0-9]*\):.*/\1/p' "$work/root/etc/passwd"; }

check 'installs below DESTDIR' install_in install "$work/dest" /usr
check 'every tool is there and runs' every_tool --version
check 'nobody else may write to a file' same '' find "$work/dest" -perm /022
umask 077
check 'installs with a narrow umask' install_in install "$work/masked" /usr
check 'and others may read' same '' find "$work/masked/usr" ! -perm -444
umask 022
check 'uninstalls' install_in uninstall "$work/dest" /usr
check 'and leaves nothing of ours' same '' ours_in "$work/dest"

# Where the paths are true, systemd can follow them.
check 'installs with a PREFIX' install_in install '' "$work/usr"
export SYSTEMD_UNIT_PATH="$work/usr/lib/systemd/system:" MANPATH="$work/usr/share/man"
units=$(cd "$work/usr/lib/systemd/system" && printf '%s\n' *.service *.socket *.target | sed 's/@\./@1./')
# shellcheck disable=SC2086
check 'systemd-analyze verify has nothing to say about the units' same '' systemd-analyze verify $units
exposure() { systemd-analyze security --offline=true --no-pager --threshold="$1" "$2"; }
for unit in $units; do
	case $unit in
	leyden.service | *-pg-*.service) check "$unit: exposure of 1.4 at most" exposure 14 "$unit" ;;
	*.service) check "$unit: exposure of 0.6 at most" exposure 6 "$unit" ;;
	esac
done
check 'sysusers makes the user' sysusers
if [ "$(id -u)" = 0 ]; then
	check 'tmpfiles makes the directories' tmpfiles
	check 'which are that user'"'"'s alone' same "700 $(uid_of_leyden)" stat -c '%a %u' "$work/root/var/lib/leyden"
fi
counted
