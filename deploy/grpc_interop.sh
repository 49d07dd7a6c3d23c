#!/usr/bin/env bash
# gRPC's interop client (GRPC_CLIENT) through the gateway to its server (GRPC_SERVER), over h2c on both sides. Any failure fails.
# Needs `ravelin` built.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${CARGO_TARGET_DIR:-$PWD/target}/debug
folder=$(mktemp -d)
started=()
end() {
    for id in "${started[@]}"; do kill "$id" 2>/dev/null && wait "$id" || true; done
    rm -rf "$folder"
}
trap end EXIT

# Every case of the suite that needs neither TLS nor an account at a cloud.
cases=(empty_unary large_unary client_streaming server_streaming ping_pong empty_stream timeout_on_sleeping_server
    cancel_after_begin cancel_after_first_response status_code_and_message special_status_message custom_metadata
    unimplemented_method unimplemented_service)

# wait_for COMMAND...: until it succeeds, a minute at most.
wait_for() {
    local waited=0
    until "$@" 2>/dev/null; do
        kill -0 "${started[-1]}" 2>/dev/null && ((waited++ < 600)) || { echo "grpc_interop: $* does not come true" >&2; cat "$folder"/*.log >&2; exit 1; }
        sleep 0.1
    done
}

# Its server picks no free port by itself.
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$GRPC_SERVER" --port "$port" >"$folder/server.log" 2>&1 &
started+=($!)
wait_for bash -c "exec 3<>/dev/tcp/127.0.0.1/$port"

mkdir "$folder/served"
cat >"$folder/served/all.yaml" <<YAML
apiVersion: ravelin.dev/v1alpha1
kind: Backend
metadata: {name: interop}
spec: {appProtocol: kubernetes.io/h2c, endpoints: [{address: 127.0.0.1, port: $port}]}
---
apiVersion: ravelin.dev/v1alpha1
kind: ApiRoute
metadata: {name: everything}
spec: {rules: [{backendRefs: [{name: interop, kind: Backend}]}]}
YAML
"$bin/ravelin" standalone "$folder/served" --http 127.0.0.1:0 --https 127.0.0.1:0 --admin 127.0.0.1:0 --drain 1s >"$folder/ready" 2>"$folder/ravelin.log" &
started+=($!)
wait_for test -s "$folder/ready"
http=$(sed -n 's/.*"http":"[^"]*:\([0-9]*\)".*/\1/p' "$folder/ready")

failed=0
for case in "${cases[@]}"; do
    if timeout 60 "$GRPC_CLIENT" --server_host 127.0.0.1 --server_port "$http" --test_case "$case" >"$folder/case" 2>&1; then
        echo "ok: $case"
    else
        echo "FAILED: $case" && cat "$folder/case" && failed=$((failed + 1))
    fi
done
echo "${#cases[@]} cases, $failed failed"
exit $((failed > 0))
