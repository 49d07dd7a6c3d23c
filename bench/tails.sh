#!/usr/bin/env bash
# Tails: one of ten endpoints is ten times slower, and a backend that never answers beside another. Ravelin's algorithms and HAProxy's
# `leastconn` in one run, the best of ROUNDS (5) rounds in turns. No test: a busy machine's figures are
# not to be asserted. Needs a release build of `ravelin`, haproxy, wrk and Go.
set -euo pipefail
source "$(dirname "$0")/../deploy/suite.sh"
bin=${CARGO_TARGET_DIR:-$PWD/target}/release
PATH=$PATH:/usr/sbin
go build -o "$folder/answering" bench/tails.go
begin backends "$folder/answering" 10 10 10 10 10 10 10 10 10 100 10 stuck
wait_for bash -c "((\$(wc -l <'$folder/backends') == 12))"
mapfile -t ports <"$folder/backends"
algorithms=(RoundRobin LeastRequest PeakEwma)

# backend NAME PORT...: what forwards /NAME to these.
backend() {
    local name=$1 port endpoints=()
    shift
    for port in "$@"; do endpoints+=("{address: 127.0.0.1, port: $port}"); done
    echo "{apiVersion: ravelin.dev/v1alpha1, kind: Backend, metadata: {name: ${name,,}}, spec: {endpoints: [$(IFS=,; echo "${endpoints[*]}")]}}"
    echo "---"
    echo "{apiVersion: ravelin.dev/v1alpha1, kind: ApiRoute, metadata: {name: ${name,,}}, spec: {rules: [{matches: [{path: {value: /$name}}], backendRefs: [{name: ${name,,}, kind: Backend}]}]}}"
    echo "---"
}
{
    for algorithm in "${algorithms[@]}"; do
        backend "$algorithm" "${ports[@]:0:10}"
        echo "{apiVersion: ravelin.dev/v1alpha1, kind: BackendPolicy, metadata: {name: ${algorithm,,}}, spec: {targetRefs: [{kind: Backend, name: ${algorithm,,}}], loadBalancing: {algorithm: $algorithm}}}"
        echo "---"
    done
    backend good "${ports[10]}"
    backend stuck "${ports[11]}"
} >"$folder/served/all.yaml"
haproxy=$(free_port)
{
    printf 'global\n nbthread 2\ndefaults\n mode http\n timeout connect 1s\n timeout client 60s\n timeout server 60s\n'
    printf 'frontend f\n bind 127.0.0.1:%s\n default_backend b\nbackend b\n balance leastconn\n' "$haproxy"
    for port in "${ports[@]:0:10}"; do echo " server s$port 127.0.0.1:$port"; done
} >"$folder/haproxy.cfg"
begin haproxy haproxy -db -f "$folder/haproxy.cfg"
wait_for listens "$haproxy"
begin_gateway

cat >"$folder/said.lua" <<'LUA'
done = function(summary, latency)
    print("said", latency:percentile(95), latency:percentile(99), math.floor(summary.requests / summary.duration * 1e6))
end
LUA
declare -A least
# measure NAME URL: keeps the round with the least p99: microseconds of 95 and of 99 of 100 requests, and requests a second.
measure() {
    local said before
    said=$(wrk -t1 -c 16 -d 4s -s "$folder/said.lua" "$2" | awk '$1 == "said" {print int($2), int($3), $4}')
    read -ra before <<<"${least[$1]:-0 999999999}"
    read -ra said <<<"$said"
    ((said[1] >= before[1])) || least[$1]=${said[*]}
}
for _ in $(seq "${ROUNDS:-5}"); do
    for algorithm in "${algorithms[@]}"; do measure "$algorithm" "http://127.0.0.1:$http/$algorithm"; done
    measure HAProxy "http://127.0.0.1:$haproxy/"
    measure alone "http://127.0.0.1:$http/good"
    wrk -t1 -c 500 -d 7s "http://127.0.0.1:$http/stuck" >/dev/null 2>&1 &
    beside=$!
    sleep 1 # they are connected
    measure beside "http://127.0.0.1:$http/good"
    wait "$beside"
done
echo "| what | p95 | p99 | requests a second |"
for name in "${algorithms[@]}" HAProxy alone beside; do
    read -ra said <<<"${least[$name]}"
    echo "| $name | $((said[0] / 1000)) ms | $((said[1] / 1000)) ms | ${said[2]} |"
done
read -ra alone <<<"${least[alone]}"
read -ra beside <<<"${least[beside]}"
echo "beside 500 requests to a backend that never answers: p99 $((beside[1] * 100 / alone[1])) % of alone"
