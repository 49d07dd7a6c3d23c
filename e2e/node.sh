#!/usr/bin/env bash
# Faults on the node of a kind cluster; NAME names the cluster. With Docker the node is a container, else its processes
# are this machine's own.
#   node.sh pids CONTAINER          the processes of a container, oldest first
#   node.sh signal SIGNAL PID
#   node.sh apiserver STOP|CONT     a signal to the API server, without asking it
set -euo pipefail
name=${NAME:-ravelin-e2e}
case ${1:-} in
pids)
    [[ ${2:-} =~ ^[0-9a-f]{64}$ ]] || { echo "node.sh: no container id: ${2:-}" >&2; exit 2; }
    script='grep -ls "$0" /proc/[0-9]*/cgroup | cut -d/ -f3 | sort -n' arguments=("$2")
    ;;
signal) script='kill -s "$0" "$1"' arguments=("$2" "$3") ;;
apiserver)
    # Exactly one process has this name: a node has one API server.
    script='for exe in /proc/[0-9]*; do [ "$(tr "\0" " " <$exe/cmdline 2>/dev/null | grep -cE "^(kube-apiserver|[^ ]*/node kube-apiserver) ")" = 1 ] && echo ${exe#/proc/}; done | xargs -r kill -s "$0"' arguments=("$2")
    ;;
*) sed -n 's/^#   //p' "$0" >&2; exit 2 ;;
esac
if command -v docker >/dev/null && docker inspect "$name-control-plane" >/dev/null 2>&1; then
    docker exec "$name-control-plane" sh -c "$script" "${arguments[@]}"
else
    sh -c "$script" "${arguments[@]}"
fi
