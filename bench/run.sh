#!/usr/bin/env bash
# Ravelin beside nginx and HAProxy in one run; installs the two (Debian) if they are missing. Prints one table.
# ROUNDS and SECONDS_PER_ROUND say how long it takes. Not a test: a shared machine's figures are not to be asserted.
set -euo pipefail
cd "$(dirname "$0")/.."
missing=()
for peer in nginx haproxy; do command -v "$peer" >/dev/null || [[ -x /usr/sbin/$peer ]] || missing+=("$peer"); done
if ((${#missing[@]})); then
    echo "bench: installing ${missing[*]}" >&2
    apt=(apt-get -qq -o DPkg::Lock::Timeout=300)
    DEBIAN_FRONTEND=noninteractive "${apt[@]}" update >/dev/null
    DEBIAN_FRONTEND=noninteractive "${apt[@]}" install -y --no-install-recommends "${missing[@]}" >/dev/null
fi
# As the gate builds it, so that one build serves both.
export CARGO_PROFILE_RELEASE_STRIP=none
cargo build --locked --release --quiet -p ravelin -p ravelin-bench
PATH=$PATH:/usr/sbin "${CARGO_TARGET_DIR:-target}/release/ravelin-bench" "$@"
