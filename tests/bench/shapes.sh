#!/bin/bash
# shapes: initial rows, beside COPY of the same; many clients at once; clients that do not read among those that do.
set -euo pipefail
cd "$(dirname "$0")/../.."
ulimit -n 16384
exec "${BUILD:-build}/tests/bench/shapes"
