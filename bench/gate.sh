#!/usr/bin/env bash
# What a request costs in instructions, allocations and system calls, beside bench/baseline.json: fails above +3 %. These
# counts do not depend on the machine's mood, but on its compiler. WRITE=1 writes the baseline instead.
set -euo pipefail
cd "$(dirname "$0")/.."
deploy/install.sh cc valgrind strace
# With its symbols, for allocations are calls of functions by name.
export CARGO_PROFILE_RELEASE_STRIP=none
cargo build --locked --release --quiet -p ravelin -p ravelin-bench
write=()
[[ -z ${WRITE:-} ]] || write=(--write)
"${CARGO_TARGET_DIR:-target}/release/ravelin-bench" counts --baseline bench/baseline.json "${write[@]}"
