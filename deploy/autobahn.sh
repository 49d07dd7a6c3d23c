#!/usr/bin/env bash
# Autobahn's fuzzing client through the gateway to the suite's own echo server. A case that fails fails. The suite lies in AUTOBAHN and is
# run by PYTHON2. Needs `ravelin` built.
set -euo pipefail
export AUTOBAHN
source "$(dirname "$0")/suite.sh"

port=$(free_port)
cat >"$folder/served/all.yaml" <<YAML
apiVersion: ravelin.dev/v1alpha1
kind: Backend
metadata: {name: autobahn}
spec: {endpoints: [{address: 127.0.0.1, port: $port}]}
---
apiVersion: ravelin.dev/v1alpha1
kind: ApiRoute
metadata: {name: everything}
spec: {rules: [{backendRefs: [{name: autobahn, kind: Backend}]}]}
YAML
begin_gateway

# It refuses a Host with another port than the one that it believes to be its own.
begin server "$PYTHON2" -c "$(cat <<'PYTHON'
import os, site, sys
site.addsitedir(os.environ["AUTOBAHN"])
from autobahn.twisted.websocket import listenWS
from autobahntestsuite.echo import EchoServerFactory
from twisted.internet import reactor
factory = EchoServerFactory("ws://127.0.0.1:" + sys.argv[1])
factory.externalPort = int(sys.argv[2])
listenWS(factory)
reactor.run()
PYTHON
)" "$port" "$http"
wait_for listens "$port"

# All but compression (12, 13): the suite's own server leaves that out, and it is between the two ends alone.
cat >"$folder/spec.json" <<JSON
{"outdir": "$folder/reports", "servers": [{"agent": "ravelin", "url": "ws://127.0.0.1:$http"}], "cases": ["*"], "exclude-cases": ["12.*", "13.*"], "exclude-agent-cases": {}}
JSON
(cd "$folder" && "$PYTHON2" -c 'import os, site; site.addsitedir(os.environ["AUTOBAHN"]); from autobahntestsuite.wstest import run; run()' --mode fuzzingclient --spec spec.json >"$folder/client.log" 2>&1) || { tail -20 "$folder/client.log" >&2; exit 1; }
python3 - "$folder/reports/index.json" <<'PYTHON'
import collections, json, sys
cases = json.load(open(sys.argv[1]))["ravelin"]
good = ("OK", "NON-STRICT", "INFORMATIONAL")
bad = {name: case for name, case in cases.items() if case["behavior"] not in good or case["behaviorClose"] not in good}
print(len(cases), "cases:", dict(collections.Counter(case["behavior"] for case in cases.values())))
for name, case in sorted(bad.items()):
    print("FAILED:", name, case["behavior"], case["behaviorClose"])
sys.exit(1 if bad or not cases else 0)
PYTHON
