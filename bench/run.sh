#!/usr/bin/env bash
# Ravelin beside nginx and HAProxy in one run; installs what it needs (Debian). Prints one table, and keeps its figures in
# bench/results/latest.json. Parts can be named (usual, grid, lookup, change, memory, halves, connections, counts, soak): then nothing is kept.
# ROUNDS and SECONDS_PER_ROUND say how long it takes; PEERS names others. Not a test: a shared machine's figures are not to be
# asserted.
set -euo pipefail
cd "$(dirname "$0")/.."
deploy/install.sh cc nginx haproxy valgrind strace
# As the gate builds it, so that one build serves both.
export CARGO_PROFILE_RELEASE_STRIP=none
cargo build --locked --release --quiet -p ravelin -p ravelin-bench
(($#)) || set -- usual grid lookup change memory halves connections counts --results bench/results/latest.json
PATH=$PATH:/usr/sbin "${CARGO_TARGET_DIR:-target}/release/ravelin-bench" "$@"
