#!/usr/bin/env bash
# The promises that need a cluster: creates one, loads the image, runs e2e/tests, deletes the cluster.
# KEEP=1 leaves it up; NAME names it; arguments go to `cargo test` (a test's name, for one).
set -euo pipefail
cd "$(dirname "$0")/.."
export NAME=${NAME:-ravelin-e2e}
target=${CARGO_TARGET_DIR:-$PWD/target}
deploy/image.sh
cargo test --locked -p ravelin-e2e --no-run

export KUBECONFIG
KUBECONFIG=$(mktemp)
logs=$target/e2e-logs
cleanup() {
    status=$?
    if ((status)); then
        df -h . # a full disk looks like anything else
        kind export logs "$logs" --name "$NAME" >/dev/null && tail -n 15 "$logs"/*.log
        [[ ! -s $KUBECONFIG ]] || { kubectl get pods -A -o wide; kubectl -n ravelin-system logs -l app.kubernetes.io/name=ravelin --all-containers --tail 60 --prefix; }
    fi || true
    [[ ${KEEP:-} ]] && echo "left up: KUBECONFIG=$KUBECONFIG" || kind delete cluster --name "$NAME"
    exit "$status"
}
trap cleanup EXIT
kind create cluster --name "$NAME" --kubeconfig "$KUBECONFIG"
for image in image echo; do kind load image-archive "$target/$image.tar" --name "$NAME"; done
# One cluster, one gateway: the files run one after the other, in the order of their names.
cargo test --locked -p ravelin-e2e --no-fail-fast -- --test-threads=1 --nocapture "$@"
