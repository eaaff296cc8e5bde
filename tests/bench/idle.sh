#!/bin/bash
# idle: CLIENTS (10000) authenticated clients that do nothing: memory of all tools together for each, and logins a second.
set -euo pipefail
cd "$(dirname "$0")/../.."
"${BUILD:-build}/tests/bench/idle" "${CLIENTS:-10000}"
