# Sourced by the scripts of suites: a folder of their own, programs that end with them, a gateway. What they need of `ravelin` is built.
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bin=${CARGO_TARGET_DIR:-$PWD/target}/debug
suite=$(basename "$0" .sh)
folder=$(mktemp -d)
mkdir "$folder/served"
started=()
end() {
    for id in "${started[@]}"; do kill "$id" 2>/dev/null && wait "$id" || true; done
    rm -rf "$folder"
}
trap end EXIT

# begin NAME COMMAND...: begins it; what it says goes into $folder/NAME and NAME.log.
begin() {
    local name=$1
    shift
    "$@" >"$folder/$name" 2>"$folder/$name.log" &
    started+=($!)
}

# wait_for COMMAND...: until it succeeds, a minute at most.
wait_for() {
    local waited=0
    until "$@" 2>/dev/null; do
        kill -0 "${started[-1]}" 2>/dev/null && ((waited++ < 600)) || { echo "$suite: $* does not come true" >&2; cat "$folder"/*.log >&2; exit 1; }
        sleep 0.1
    done
}

# For programs that pick no free port by themselves.
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# listens PORT: whether somebody does.
listens() { bash -c "exec 3<>/dev/tcp/127.0.0.1/$1"; }

# The repository's own backend; `$backend` is its port.
begin_echo() {
    begin echo "$bin/ravelin-echo" --listen 127.0.0.1:0 --name echo --drain-delay 0
    wait_for test -s "$folder/echo"
    backend=$(sed -n 's/.*://p' "$folder/echo")
}

# Serves $folder/served; `$http` and `$https` are the ports.
begin_gateway() {
    "$bin/ravelin" check "$folder/served" >/dev/null || { "$bin/ravelin" check "$folder/served" >&2; exit 1; }
    begin ready "$bin/ravelin" standalone "$folder/served" --http 127.0.0.1:0 --https 127.0.0.1:0 --admin 127.0.0.1:0 --drain 1s
    wait_for test -s "$folder/ready"
    http=$(sed -n 's/.*"http":"[^"]*:\([0-9]*\)".*/\1/p' "$folder/ready")
    https=$(sed -n 's/.*"https":"[^"]*:\([0-9]*\)".*/\1/p' "$folder/ready")
}

# authority: one of the suite's own, as $folder/ca.pem and ca.key.
authority() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 90 -subj "/O=Ravelin/CN=an authority" \
        -keyout "$folder/ca.key" -out "$folder/ca.pem" 2>/dev/null
}

# certificate NAME HOST: $folder/NAME.pem and NAME.key for the host, of that authority.
certificate() {
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$2" -keyout "$folder/$1.key" -out "$folder/$1.csr" 2>/dev/null
    # Who looks for withdrawn certificates finds the place named; nobody asks there.
    printf 'subjectAltName=DNS:%s\nauthorityInfoAccess=OCSP;URI:http://ocsp.invalid/\nextendedKeyUsage=serverAuth\nkeyUsage=digitalSignature\nbasicConstraints=CA:FALSE\n' "$2" >"$folder/$1.ext"
    openssl x509 -req -in "$folder/$1.csr" -CA "$folder/ca.pem" -CAkey "$folder/ca.key" -CAcreateserial -days 90 \
        -extfile "$folder/$1.ext" -out "$folder/$1.pem" 2>/dev/null
}

# secret NAME [STAPLE]: what $folder/NAME.{pem,key} are in Kubernetes, with a staple in DER.
secret() {
    cat <<YAML
apiVersion: v1
kind: Secret
type: kubernetes.io/tls
metadata: {name: $1}
data:
  tls.crt: $(base64 -w0 <"$folder/$1.pem")
  tls.key: $(base64 -w0 <"$folder/$1.key")
${2:+  tls.ocsp-staple: $(base64 -w0 <"$2")}
---
YAML
}
