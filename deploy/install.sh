#!/usr/bin/env bash
# install.sh PROGRAM...: installs the Debian packages of the programs that are missing. Fails when it cannot; skips nothing in
# silence.
set -euo pipefail
package() {
    case $1 in
        cc) echo gcc libc6-dev ;;
        testssl) echo testssl.sh ;;
        h2load) echo nghttp2-client ;;
        node) echo nodejs ;;
        *) echo "$1" ;;
    esac
}
missing=()
for program in "$@"; do
    command -v "$program" >/dev/null || [[ -x /usr/sbin/$program ]] || read -ra missing <<<"${missing[*]} $(package "$program")"
done
((${#missing[@]})) || exit 0
echo "installing ${missing[*]}" >&2
apt=(apt-get -qq -o DPkg::Lock::Timeout=300)
export DEBIAN_FRONTEND=noninteractive
"${apt[@]}" update >/dev/null && "${apt[@]}" install -y --no-install-recommends "${missing[@]}" >/dev/null ||
    { echo "make: install ${missing[*]} and run this again" >&2; exit 1; }
