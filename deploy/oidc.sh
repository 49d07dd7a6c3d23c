#!/usr/bin/env bash
# Chromium logs in and out through the gateway at node-oidc-provider. Both are in OIDC, as npm has installed them; needs `ravelin` and
# `ravelin-echo` built, Node and CHROMIUM.
set -euo pipefail
source "$(dirname "$0")/suite.sh"

# The certificate of the gateway is believed by the provider, for the back-channel.
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$folder/key.pem" -out "$folder/certificate.pem" -days 1 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost 2>"$folder/openssl.log"
begin_echo
# The gateway's own address has to be known to the provider, and the provider's to the gateway: the first begins without routes.
begin_gateway
gateway=https://localhost:$https

cp deploy/oidc/*.mjs "$OIDC/"
NODE_EXTRA_CA_CERTS=$folder/certificate.pem begin issuer node "$OIDC/provider.mjs" "$gateway"
wait_for test -s "$folder/issuer"
issuer=$(head -1 "$folder/issuer")

indented() { sed 's/^/    /' "$1"; }
cat >"$folder/all.yaml" <<YAML
apiVersion: ravelin.dev/v1alpha1
kind: Backend
metadata: {name: orders}
spec: {endpoints: [{address: 127.0.0.1, port: $backend}]}
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

node "$OIDC/browser.mjs" "$gateway" "$issuer" "$CHROMIUM" || { tail -n 30 "$folder/ready.log" "$folder/issuer.log" >&2; exit 1; }
# A refused refresh would end a session too: the provider says whether the gateway has heard it.
[[ $(grep -c '^backchannel.success' "$folder/issuer.log") -ge 2 ]] && ! grep -q '_error\|\.error' "$folder/issuer.log" ||
    { echo "oidc: the provider says:" >&2; cat "$folder/issuer.log" >&2; exit 1; }
