#!/usr/bin/env bash
# h2spec (H2SPEC is the program) against the gateway with a backend behind it, over TCP and over TLS. Any failure fails.
# Needs `ravelin` and `ravelin-echo` built, and openssl. Arguments go to h2spec (a section's number, for one).
set -euo pipefail
source "$(dirname "$0")/suite.sh"

begin_echo
authority
certificate localhost localhost
{
    secret localhost
    cat <<YAML
apiVersion: ravelin.dev/v1alpha1
kind: Backend
metadata: {name: echo}
spec: {endpoints: [{address: 127.0.0.1, port: $backend}]}
---
apiVersion: ravelin.dev/v1alpha1
kind: ApiRoute
metadata: {name: everything}
spec:
  tls: {certificateRefs: [{name: localhost}]}
  rules: [{backendRefs: [{name: echo, kind: Backend}]}]
YAML
} >"$folder/served/all.yaml"
begin_gateway

status=0
echo "--- over TCP" && "$H2SPEC" -h 127.0.0.1 -p "$http" --timeout 10 "$@" || status=1
echo "--- over TLS" && "$H2SPEC" -h 127.0.0.1 -p "$https" --tls --insecure --timeout 10 "$@" || status=1
exit $status
