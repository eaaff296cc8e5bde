#!/bin/bash
# append: durable appends of log-store beside a plain file's.
set -euo pipefail
cd "$(dirname "$0")/../.."
dir=$(mktemp -d "${TMPDIR:-/var/tmp}/leyden-bench-XXXXXX")
trap 'rm -rf "$dir"' EXIT
"${BUILD:-build}/tests/bench/append" "$dir" 2>"$dir/err" || { cat "$dir/err" >&2; exit 1; }
