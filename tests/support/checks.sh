# Sourced by tests that are shell scripts: one line for each check, and the count at the end.
passed=0 failed=0 said=$(mktemp)

# check SENTENCE COMMAND…: the command succeeds; what it says is shown when it does not.
check() {
	if "${@:2}" >"$said" 2>&1; then
		echo "ok - $1"
		passed=$((passed + 1))
	else
		echo "not ok - $1: $(tail -n 20 "$said")"
		failed=$((failed + 1))
	fi
}

# same WANTED COMMAND…: what the command says is this.
same() {
	local answer
	answer=$("${@:2}" 2>&1)
	[ "$answer" = "$1" ] || { echo "\"$answer\" instead of \"$1\""; return 1; }
}

# await COMMAND…: the command succeeds within 20 s.
await() {
	local end=$((SECONDS + 20))
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || { "$@"; return; }
		sleep 0.05
	done
}

# Root does what follows as another user: files and privileges count then.
as_nobody() {
	if [ "$(id -u)" = 0 ]; then runuser -u nobody -- "$@"; else "$@"; fi
}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

counted() {
	rm -f "$said"
	echo "$passed passed, $failed failed"
	[ "$failed" = 0 ]
}
