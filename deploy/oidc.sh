#!/usr/bin/env bash
# Chromium logs in and out through the gateway at node-oidc-provider. Both are in OIDC, as npm has installed them; needs `ravelin` and
# `ravelin-echo` built, Node and CHROMIUM.
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

# wait_for COMMAND...: until it succeeds, a minute at most.
wait_for() {
    local waited=0
    until "$@" 2>/dev/null; do
        kill -0 "${started[-1]}" 2>/dev/null && ((waited++ < 600)) || { echo "oidc: $* does not come true" >&2; cat "$folder"/*.log >&2; exit 1; }
        sleep 0.1
    done
}

# The certificate of the gateway is believed by the provider, for the back-channel.
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$folder/key.pem" -out "$folder/certificate.pem" -days 1 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost 2>"$folder/openssl.log"
# The gateway's own address has to be known to the provider, and the provider's to the gateway: the first begins without routes.
mkdir "$folder/served"
"$bin/ravelin-echo" --listen 127.0.0.1:0 --name orders --drain-delay 0 >"$folder/echo" 2>"$folder/echo.log" &
started+=($!)
wait_for test -s "$folder/echo"
echo_at=$(grep -o '127.0.0.1:[0-9]*' "$folder/echo" | head -1)
"$bin/ravelin" standalone "$folder/served" --http 127.0.0.1:0 --https 127.0.0.1:0 --admin 127.0.0.1:0 --state "$folder/state" --drain 1s >"$folder/ready" 2>"$folder/ravelin.log" &
started+=($!)
wait_for test -s "$folder/ready"
gateway=https://localhost:$(sed -n 's/.*"https":"[^"]*:\([0-9]*\)".*/\1/p' "$folder/ready")

cp deploy/oidc/*.mjs "$OIDC/"
NODE_EXTRA_CA_CERTS=$folder/certificate.pem node "$OIDC/provider.mjs" "$gateway" >"$folder/issuer" 2>"$folder/provider.log" &
started+=($!)
wait_for test -s "$folder/issuer"
issuer=$(head -1 "$folder/issuer")

indented() { sed 's/^/    /' "$1"; }
cat >"$folder/all.yaml" <<YAML
apiVersion: ravelin.dev/v1alpha1
kind: Backend
metadata: {name: orders}
spec: {endpoints: [{address: 127.0.0.1, port: ${echo_at##*:}}]}
---
apiVersion: v1
kind: Secret
metadata: {name: site-tls}
type: kubernetes.io/tls
stringData:
  tls.crt: |
$(indented "$folder/certificate.pem")
  tls.key: |
$(indented "$folder/key.pem")
---
apiVersion: ravelin.dev/v1alpha1
kind: ApiRoute
metadata: {name: site}
spec:
  hostnames: [localhost]
  tls: {certificateRefs: [{name: site-tls}]}
  rules: [{backendRefs: [{name: orders, kind: Backend}]}]
---
apiVersion: v1
kind: Secret
metadata: {name: web}
stringData: {clientSecret: a-secret-of-some-length}
---
apiVersion: ravelin.dev/v1alpha1
kind: AuthPolicy
metadata: {name: web}
spec:
  targetRefs: [{kind: ApiRoute, name: site}]
  exclude: [{path: {type: Exact, value: /open}}]
  authentication:
    oidc: {issuer: "$issuer", clientID: web, clientSecretRef: {name: web}}
  forward: [{header: x-user, value: caller.id}]
YAML
mv "$folder/all.yaml" "$folder/served/all.yaml"
served() { curl -sk -o /dev/null -w '%{http_code}' "$gateway/open" | grep -q 200; }
wait_for served

node "$OIDC/browser.mjs" "$gateway" "$issuer" "$CHROMIUM" || { tail -n 30 "$folder/ravelin.log" "$folder/provider.log" >&2; exit 1; }
# A refused refresh would end a session too: the provider says whether the gateway has heard it.
[[ $(grep -c '^backchannel.success' "$folder/provider.log") -ge 2 ]] && ! grep -q '_error\|\.error' "$folder/provider.log" ||
    { echo "oidc: the provider says:" >&2; cat "$folder/provider.log" >&2; exit 1; }
