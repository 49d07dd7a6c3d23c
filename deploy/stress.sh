#!/usr/bin/env bash
# Other people's clients that mean no good, or much, and endpoints that come and go: slowhttptest, h2load. While they are at it h2load is a
# good client, too: it fails if one of its requests does, or if memory grows by more than is said below. Prints rows for
# docs/src/run/limits.md. Needs `ravelin` and `ravelin-echo` built, slowhttptest, h2load, curl and python3.
set -euo pipefail
source "$(dirname "$0")/suite.sh"
failed=0

begin echo "$bin/ravelin-echo" --listen 0.0.0.0:0 --name echo --drain-delay 0
wait_for test -s "$folder/echo"
backend=$(sed -n 's/.*://p' "$folder/echo")

# endpoints TIMES: so many times, every 50 ms, another 500 of 1,000 addresses in 127.1.0.0/16, all of which are the echo's.
endpoints() {
    python3 - "$1" "$backend" "$folder" <<'PYTHON'
import os, sys, time
times, port, folder = int(sys.argv[1]), sys.argv[2], sys.argv[3]
for turn in range(times):
    first = turn * 37 % 500
    at = ", ".join(f"{{addresses: [127.1.{n // 250}.{n % 250 + 1}]}}" for n in range(first, first + 500))
    with open(folder + "/aside", "w") as file:
        file.write("""
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: echo, labels: {kubernetes.io/service-name: echo}},
 addressType: IPv4, ports: [{name: http, port: %s}], endpoints: [%s]}
""" % (port, at))
    os.replace(folder + "/aside", folder + "/served/endpoints.yaml")
    time.sleep(0.05)
PYTHON
}
endpoints 1
cat >"$folder/served/route.yaml" <<YAML
apiVersion: ravelin.dev/v1alpha1
kind: ApiRoute
metadata: {name: everything}
spec: {rules: [{retry: {attempts: 1}, backendRefs: [{name: echo, port: 80}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: echo}
spec: {ports: [{name: http, port: 80}]}
YAML
begin_gateway
admin=$(sed -n 's/.*"admin":"\([^"]*\)".*/\1/p' "$folder/ready")
url=http://127.0.0.1:$http

resident() { awk '/^VmHWM/ {print int($2 / 1024)}' "/proc/${started[-1]}/status"; }
# Of the most that was resident, only what comes from now on counts.
forget() { echo 5 >"/proc/${started[-1]}/clear_refs"; }

# load NAME OPTION...: h2load; what came of its requests goes into $folder/NAME.
load() {
    local name=$1
    shift
    h2load "$@" "$url/" >"$folder/$name" 2>&1 || true
    grep -q ' 0 failed, 0 errored, 0 timeout' "$folder/$name" || { echo "FAILED: $name" && grep '^requests' "$folder/$name" && failed=$((failed + 1)); }
}

# during MIB WHAT COMMAND...: a good client over both protocols, for as long as the command takes, which may take so much memory.
during() {
    local most=$1 what=$2 before good=0
    shift 2
    forget
    before=$(resident)
    "$@" >"$folder/attack" 2>&1 &
    local attack=$!
    while kill -0 "$attack" 2>/dev/null; do
        load good -n 500 -c 5 -m 10
        load good -n 500 -c 5 --h1
        good=$((good + 1000))
    done
    wait "$attack" || { echo "FAILED: $what" && tail -5 "$folder/attack" && failed=$((failed + 1)); }
    local after
    after=$(resident)
    ((after - before <= most)) || { echo "FAILED: $what took $((after - before)) MiB" && failed=$((failed + 1)); }
    echo "| $what | $before MiB before, at most $after MiB; $good good requests answered |"
}

slow() { slowhttptest -c 1000 -r 300 -l 20 -p 5 -i 2 "$@"; }

during 256 "h2load, 5,000 requests at once (50 connections of 100 streams), 50,000 in all" h2load -n 50000 -c 50 -m 100 "$url/"
during 128 "slowhttptest -H, 1,000 slow heads" slow -H -u "$url/"
during 128 "slowhttptest -B, 1,000 slow bodies" slow -B -s 8192 -t POST -u "$url/"
during 128 "slowhttptest -X, 1,000 slow readers of 1 MiB" slow -X -w 512 -y 1024 -n 5 -z 32 -k 3 -u "$url/?size=1048576"
revision() { curl -s "http://$admin/metrics" | awk '/^ravelin_snapshot_revision/ {print int($2)}'; }
before=$(revision)
during 128 "1,000 endpoints, of which another 500 are there every 50 ms, 400 times" endpoints 400
echo "$(($(revision) - before)) tables were served meanwhile"
(($(revision) - before >= 100)) || failed=$((failed + 1))
exit $((failed > 0))
