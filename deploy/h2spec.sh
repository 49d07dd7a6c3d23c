#!/usr/bin/env bash
# h2spec (H2SPEC is the program) against the gateway with a backend behind it, over TCP and over TLS. Any failure fails.
# Needs `ravelin` and `ravelin-echo` built, and Go for a certificate. Arguments go to h2spec (a section's number, for one).
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

# start FILE COMMAND...: starts it and waits for its first line, which goes into FILE.
start() {
    local file=$1 waited=0
    shift
    "$@" >"$file" 2>"$file.log" &
    started+=($!)
    until [[ -s $file ]]; do
        kill -0 "${started[-1]}" 2>/dev/null && ((waited++ < 600)) || { echo "h2spec: $1 does not start" >&2; cat "$file.log" >&2; exit 1; }
        sleep 0.1
    done
}

start "$folder/echo" "$bin/ravelin-echo" --listen 127.0.0.1:0 --name echo --drain-delay 0
backend=$(sed -n 's/.*://p' "$folder/echo")
mkdir "$folder/served"
(cd "$folder" && go run "$(go env GOROOT)/src/crypto/tls/generate_cert.go" -host localhost 2>/dev/null)
cat >"$folder/served/all.yaml" <<YAML
apiVersion: v1
kind: Secret
type: kubernetes.io/tls
metadata: {name: localhost}
data:
  tls.crt: $(base64 -w0 <"$folder/cert.pem")
  tls.key: $(base64 -w0 <"$folder/key.pem")
---
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
"$bin/ravelin" check "$folder/served" >/dev/null || { "$bin/ravelin" check "$folder/served" >&2; exit 1; }
start "$folder/ready" "$bin/ravelin" standalone "$folder/served" --http 127.0.0.1:0 --https 127.0.0.1:0 --admin 127.0.0.1:0 --drain 1s
port() { sed -n "s/.*\"$1\":\"[^\"]*:\([0-9]*\)\".*/\1/p" "$folder/ready"; }

status=0
echo "--- over TCP" && "$H2SPEC" -h 127.0.0.1 -p "$(port http)" --timeout 10 "$@" || status=1
echo "--- over TLS" && "$H2SPEC" -h 127.0.0.1 -p "$(port https)" --tls --insecure --timeout 10 "$@" || status=1
exit $status
