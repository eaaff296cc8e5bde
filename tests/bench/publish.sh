#!/bin/bash
# publish: clients' transactions on their way into Postgres, beside what libpq does alone.
set -euo pipefail
cd "$(dirname "$0")/../.."
exec "${BUILD:-build}/tests/bench/publish"
