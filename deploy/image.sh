#!/usr/bin/env bash
# Builds the static program and an image of nothing else; target/image.tar is an OCI archive. TAG names it; PROFILE=dev
# builds it fast, for trying things out.
set -euo pipefail
cd "$(dirname "$0")/.."
tag=${TAG:-ravelin:dev}
target=${CARGO_TARGET_DIR:-$PWD/target}
triple=$(uname -m)-unknown-linux-gnu
profile=${PROFILE:-release}
built=$target/$triple/${profile/#dev/debug}

if ! command -v buildah >/dev/null && ! command -v docker >/dev/null; then
    echo "installing buildah" >&2
    DEBIAN_FRONTEND=noninteractive apt-get -qq update
    # netavark: buildah asks for it even when nothing runs.
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends buildah netavark >/dev/null
fi

# A static-pie; name resolution is hickory's, for glibc's cannot work in a static program.
RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --profile "$profile" --target "$triple" -p ravelin -p ravelin-echo
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
cp "$built/ravelin" "$built/ravelin-echo" deploy/Dockerfile deploy/Dockerfile.echo "$context/"
cp /etc/ssl/certs/ca-certificates.crt "$context/" 2>/dev/null || : >"$context/ca-certificates.crt"

archive() { # DOCKERFILE TAG FILE
    rm -f "$3"
    if command -v buildah >/dev/null; then
        buildah --storage-driver vfs build --quiet --isolation chroot -f "$context/$1" -t "$2" "$context" >/dev/null
        buildah --storage-driver vfs push --quiet "$2" "oci-archive:$3:$2"
    else
        docker build --quiet -f "$context/$1" -t "$2" "$context" >/dev/null
        docker save -o "$3" "$2"
    fi
    echo "$2 -> $3"
}
archive Dockerfile "$tag" "$target/image.tar"
archive Dockerfile.echo "ravelin-echo:dev" "$target/echo.tar"
