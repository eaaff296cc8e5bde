#!/bin/bash
# instances: from one Postgres to the other through the service, beside logical replication between the same two.
set -euo pipefail
cd "$(dirname "$0")/../.."
exec "${BUILD:-build}/tests/bench/instances"
