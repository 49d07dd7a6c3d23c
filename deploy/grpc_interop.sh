#!/usr/bin/env bash
# gRPC's interop client (GRPC_CLIENT) through the gateway to its server (GRPC_SERVER): over h2c on both sides, and over TLS on the client's.
# Any failure fails. Needs `ravelin` built, and openssl.
set -euo pipefail
source "$(dirname "$0")/suite.sh"

# Every case of the suite that needs no account at a cloud.
cases=(empty_unary large_unary client_streaming server_streaming ping_pong empty_stream timeout_on_sleeping_server
    cancel_after_begin cancel_after_first_response status_code_and_message special_status_message custom_metadata
    unimplemented_method unimplemented_service)

port=$(free_port)
begin server "$GRPC_SERVER" --port "$port"
wait_for listens "$port"

authority
certificate interop interop.example
{
    secret interop
    cat <<YAML
apiVersion: ravelin.dev/v1alpha1
kind: Backend
metadata: {name: interop}
spec: {appProtocol: kubernetes.io/h2c, endpoints: [{address: 127.0.0.1, port: $port}]}
---
apiVersion: ravelin.dev/v1alpha1
kind: ApiRoute
metadata: {name: everything}
spec:
  tls: {certificateRefs: [{name: interop}]}
  rules: [{backendRefs: [{name: interop, kind: Backend}]}]
YAML
} >"$folder/served/all.yaml"
begin_gateway

failed=0
# each WHERE OPTION...: every case with these options of the client.
each() {
    local where=$1 case
    shift
    for case in "${cases[@]}"; do
        if timeout 60 "$GRPC_CLIENT" --server_host 127.0.0.1 --test_case "$case" "$@" >"$folder/case" 2>&1; then
            echo "ok: $case over $where"
        else
            echo "FAILED: $case over $where" && cat "$folder/case" && failed=$((failed + 1))
        fi
    done
}
each TCP --server_port "$http"
each TLS --server_port "$https" --use_tls --use_test_ca --ca_file "$folder/ca.pem" --server_host_override interop.example
echo "${#cases[@]} cases, twice, $failed failed"
exit $((failed > 0))
