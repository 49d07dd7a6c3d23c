#!/usr/bin/env bash
# Outside suites and peers, unmodified and pinned by version. Needs Go and Node; nothing of theirs is committed.
set -euo pipefail
cd "$(dirname "$0")/.."

echo "--- Gateway API $GATEWAY_API: every HTTPRoute of its conformance suite, pasted into an ApiRoute"
suite=$(cd "$(mktemp -d)" && GOFLAGS=-mod=mod go mod download -json "sigs.k8s.io/gateway-api/conformance@$GATEWAY_API" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
[[ -d $suite ]] || { echo "conformance: the module $GATEWAY_API was not downloaded" >&2; exit 1; }
GATEWAY_API_DIR=$suite cargo test --locked -p ravelin-crds --features conformance --test gateway_api_manifests

echo "--- Wycheproof $WYCHEPROOF: JSON Web Signatures, none that is invalid accepted"
vectors=$(cd "$(mktemp -d)" && GOFLAGS=-mod=mod go mod download -json "github.com/c2sp/wycheproof@$WYCHEPROOF" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
[[ -d $vectors ]] || { echo "conformance: the vectors $WYCHEPROOF were not downloaded" >&2; exit 1; }
WYCHEPROOF_DIR=$vectors cargo test --locked -p ravelin-dataplane --lib wycheproof -- --ignored --nocapture

echo "--- h2spec $H2SPEC: HTTP/2 as its RFCs say"
mkdir -p "$TOOLS/bin"
[[ -x $TOOLS/bin/h2spec ]] || GOBIN=$TOOLS/bin go install "github.com/summerwind/h2spec/cmd/h2spec@$H2SPEC"
cargo build --locked -p ravelin -p ravelin-echo
deploy/install.sh openssl python3
H2SPEC=$TOOLS/bin/h2spec deploy/h2spec.sh

echo "--- gRPC $GRPC: its interop client through the gateway to its interop server"
for side in server client; do
    [[ -x $TOOLS/bin/grpc-interop-$side-$GRPC ]] && continue
    GOBIN=$TOOLS/grpc go install "google.golang.org/grpc/interop/$side@$GRPC"
    mv "$TOOLS/grpc/$side" "$TOOLS/bin/grpc-interop-$side-$GRPC"
done
GRPC_SERVER=$TOOLS/bin/grpc-interop-server-$GRPC GRPC_CLIENT=$TOOLS/bin/grpc-interop-client-$GRPC deploy/grpc_interop.sh

echo "--- TLS: OpenSSL's client, Go's for X25519MLKEM768, testssl.sh"
deploy/install.sh testssl faketime
deploy/tls.sh

echo "--- Autobahn $AUTOBAHN: its fuzzing client through the gateway to its echo server"
python2=$(command -v pyenv >/dev/null && PYENV_VERSION=$(pyenv latest 2.7 2>/dev/null) pyenv which python2.7 2>/dev/null || command -v python2.7 || true)
if [[ -n $python2 ]]; then
    [[ -d $TOOLS/autobahn-$AUTOBAHN ]] || "$python2" -m pip install --quiet --target "$TOOLS/autobahn-$AUTOBAHN" "autobahntestsuite==$AUTOBAHN"
    AUTOBAHN=$TOOLS/autobahn-$AUTOBAHN PYTHON2=$python2 deploy/autobahn.sh
else
    echo "NOT RUN: the suite needs Python 2.7, which is not here"
fi

echo "--- oidc-provider $OIDC_PROVIDER: Chromium logs in and out there through the gateway"
deploy/install.sh curl openssl chromium node npm
oidc=$TOOLS/oidc-$OIDC_PROVIDER-$PUPPETEER
if [[ ! -d $oidc/node_modules ]]; then
    mkdir -p "$oidc"
    (cd "$oidc" && npm init --yes >/dev/null && npm install --silent --no-audit --no-fund --ignore-scripts "oidc-provider@$OIDC_PROVIDER" "puppeteer-core@$PUPPETEER")
fi
OIDC=$oidc CHROMIUM=$(command -v chromium) deploy/oidc.sh
