#!/usr/bin/env bash
# TLS as other people's clients see it: OpenSSL's, Go's (for X25519MLKEM768), and testssl.sh's findings. Needs `ravelin` and `ravelin-echo`
# built, Go, openssl, testssl, and faketime for the tickets. Any failure fails.
set -euo pipefail
source "$(dirname "$0")/suite.sh"

begin_echo
authority
for name in a wild; do
    host=$name.example
    [[ $name == a ]] || host="*.wild.example"
    certificate "$name" "$host"
done
# What an authority says of a certificate of its own: that it is good.
serial=$(openssl x509 -in "$folder/a.pem" -noout -serial)
printf 'V\t300101000000Z\t\t%s\tunknown\t/CN=a.example\n' "${serial#serial=}" >"$folder/index"
openssl ocsp -issuer "$folder/ca.pem" -cert "$folder/a.pem" -reqout "$folder/asked" >/dev/null 2>&1
openssl ocsp -index "$folder/index" -CA "$folder/ca.pem" -rsigner "$folder/ca.pem" -rkey "$folder/ca.key" -ndays 7 \
    -reqin "$folder/asked" -respout "$folder/staple" >/dev/null 2>&1
{
    secret a "$folder/staple"
    secret wild
    cat <<YAML
apiVersion: ravelin.dev/v1alpha1
kind: Backend
metadata: {name: echo}
spec: {endpoints: [{address: 127.0.0.1, port: $backend}]}
---
apiVersion: ravelin.dev/v1alpha1
kind: ApiRoute
metadata: {name: a}
spec:
  hostnames: [a.example]
  tls: {certificateRefs: [{name: a}]}
  rules:
  # What a scanner wants to be told by whoever makes the pages.
  - filters: [{responseHeaderModifier: {set: [{name: strict-transport-security, value: max-age=31536000}, {name: x-frame-options, value: DENY}, {name: x-content-type-options, value: nosniff}]}}]
    backendRefs: [{name: echo, kind: Backend}]
---
apiVersion: ravelin.dev/v1alpha1
kind: ApiRoute
metadata: {name: wild}
spec: {hostnames: ["*.wild.example"], tls: {certificateRefs: [{name: wild}]}, rules: [{backendRefs: [{name: echo, kind: Backend}]}]}
YAML
} >"$folder/served/all.yaml"

# The gateway's clock, and not that of its timers, is ahead of the machine's by what stands in a file.
echo +0 >"$folder/clock"
export FAKETIME_TIMESTAMP_FILE=$folder/clock FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1
faked=$(faketime -f +0 printenv LD_PRELOAD)
plain=$bin
mkdir "$folder/bin"
printf "#!/bin/sh\nLD_PRELOAD='%s' exec '%s' \"\$@\"\n" "$faked" "$plain/ravelin" >"$folder/bin/ravelin"
chmod +x "$folder/bin/ravelin"
bin=$folder/bin
begin_gateway
bin=$plain

failed=0
# says WHAT PATTERN: whether OpenSSL's client, with the options that follow, says it.
says() {
    local what=$1 pattern=$2
    shift 2
    # It ends with 1 where the handshake is refused, which may be what is looked for.
    openssl s_client -connect "127.0.0.1:$https" -CAfile "$folder/ca.pem" "$@" <<<"" >"$folder/said" 2>&1 || true
    if grep -Eq -- "$pattern" "$folder/said"; then
        echo "ok: $what"
    else
        echo "FAILED: $what" && cat "$folder/said" && failed=$((failed + 1))
    fi
}

echo "--- $(openssl version)"
a=(-servername a.example)
says "TLS 1.3 with a name" "^New, TLSv1.3, Cipher is TLS_" "${a[@]}" -tls1_3 -verify_return_error -verify_hostname a.example
says "TLS 1.2 with forward secrecy and AEAD" "^New, TLSv1.2, Cipher is ECDHE-ECDSA-(AES|CHACHA20)" "${a[@]}" -tls1_2 -verify_return_error
says "TLS 1.1 is refused" "alert (protocol version|handshake failure)" "${a[@]}" -tls1_1 -cipher 'ALL:@SECLEVEL=0'
says "TLS 1.0 is refused" "alert (protocol version|handshake failure)" "${a[@]}" -tls1 -cipher 'ALL:@SECLEVEL=0'
says "ciphers without AEAD are refused" "alert handshake failure" "${a[@]}" -tls1_2 -cipher 'ECDHE-ECDSA-AES256-SHA:@SECLEVEL=0'
says "a wildcard's certificate for a name below it" "Verification: OK" -servername b.wild.example -verify_return_error -verify_hostname b.wild.example
says "a name without a certificate is refused" "SSL alert number 112" -servername c.example
says "no name is refused, for no route is for every host" "SSL alert number 112" -noservername
says "h2 before http/1.1" "^ALPN protocol: h2" "${a[@]}" -alpn h2,http/1.1
says "http/1.1 alone" "^ALPN protocol: http/1.1" "${a[@]}" -alpn http/1.1
says "another protocol alone is refused" "alert no application protocol" "${a[@]}" -alpn smtp
says "the staple of the Secret" "Cert Status: good" "${a[@]}" -status
says "no staple where there is none" "OCSP response: no response sent" -servername b.wild.example -status
says "no compression" "Compression: NONE" "${a[@]}" -tls1_2
says "renegotiation that is safe" "Secure Renegotiation IS supported" "${a[@]}" -tls1_2
says "no early data" "Max Early Data: 0|Early data was not sent" "${a[@]}" -tls1_3

# A key seals for six hours and opens for six more. OpenSSL's client offers again what it has kept, however old it is.
ahead() { echo "+${1}h" >"$folder/clock"; }
says "a ticket of TLS 1.2" "^New, " "${a[@]}" -tls1_2 -sess_out "$folder/session"
says "it is taken" "^Reused, " "${a[@]}" -tls1_2 -sess_in "$folder/session"
ahead 7
says "the key is another after seven hours, and opens what the one before has sealed" "^New, " "${a[@]}" -tls1_2 -sess_out "$folder/later"
says "it is taken still" "^Reused, " "${a[@]}" -tls1_2 -sess_in "$folder/session"
ahead 14
says "one more key" "^New, " "${a[@]}" -tls1_2
says "the first key is forgotten" "^New, " "${a[@]}" -tls1_2 -sess_in "$folder/session"
ahead 0

echo "--- $(go version)"
go run deploy/mlkem.go "127.0.0.1:$https" a.example "$folder/ca.pem" || failed=$((failed + 1))

echo "--- testssl.sh $(testssl --version 2>/dev/null | grep -om1 '[0-9]\.[0-9.]*[0-9]')"
# Its own exit code counts what it could not do, which is a WARN; its findings count here. The name is not in any DNS.
testssl --quiet --color 0 --warnings off --nodns none --ip 127.0.0.1 --add-ca "$folder/ca.pem" --jsonfile "$folder/findings.json" \
    "a.example:$https" >"$folder/testssl.log" 2>&1 || true
python3 - "$folder/findings.json" <<'PYTHON' || { cat "$folder/testssl.log"; failed=$((failed + 1)); }
import collections, json, sys
findings = json.load(open(sys.argv[1]))
print(len(findings), "findings:", dict(collections.Counter(one["severity"] for one in findings)))
bad = [one for one in findings if one["severity"] not in ("OK", "INFO", "LOW", "DEBUG", "WARN")]
for one in bad:
    print("FAILED:", one["severity"], one["id"], one["finding"])
sys.exit(1 if bad or len(findings) < 50 else 0)
PYTHON
exit $((failed > 0))
