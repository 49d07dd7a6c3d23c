#!/usr/bin/env bash
# The chart renders with every value, and refuses what it does not know. Needs helm alone.
set -euo pipefail
cd "$(dirname "$0")"
render() { helm template ravelin ravelin --namespace ravelin-system --kube-version 1.34.0 "$@"; }
fail() { echo "chart: $1" >&2 && exit 1; }

# WHAT SUBSTRING VALUES...: rendered with these, the manifests hold the text; with ! before it they do not.
holds() {
    local what=$1 text=$2 out
    shift 2
    out=$(render "$@") || fail "$what: does not render"
    case $text in
    !*) grep -qF -- "${text#!}" <<<"$out" && fail "$what: holds ${text#!}" ;;
    *) grep -qF -- "$text" <<<"$out" || fail "$what: lacks $text" ;;
    esac
    echo "ok: $what"
}
# WHAT SUBSTRING VALUES...: refused, with a message that holds the text.
refused() {
    local what=$1 text=$2 out
    shift 2
    out=$(render "$@" 2>&1) && fail "$what: renders"
    grep -qF -- "$text" <<<"$out" || fail "$what: refused otherwise: $out"
    echo "ok: refused: $what"
}

helm lint --strict --quiet ravelin
holds "two replicas by default" "replicas: 2"
holds "the namespace is part of cluster-wide names" "name: ravelin-system-ravelin"
holds "CRDs stay" "helm.sh/resource-policy: keep"
holds "CRDs are left to others" "!kind: CustomResourceDefinition" --set crds.install=false
holds "autoscaling scales" "kind: HorizontalPodAutoscaler" --set autoscaling.enabled=true
holds "autoscaling alone decides on replicas" "!replicas: 2" --set autoscaling.enabled=true
holds "no budget" "!PodDisruptionBudget" --set podDisruptionBudget.enabled=false
holds "no https" "!8443" --set tls.enabled=false
holds "https" "- --https=0.0.0.0:8443"
holds "an image by tag" "image: example/ravelin:1" --set image.repository=example/ravelin --set-string image.tag=1
holds "a service in the cluster only" "!externalTrafficPolicy" --set service.type=ClusterIP
holds "a service spread over nodes" "externalTrafficPolicy: Cluster" --set service.externalTrafficPolicy=Cluster
holds "a monitor" "kind: ServiceMonitor" --set serviceMonitor.enabled=true --set serviceMonitor.labels.release=prometheus
holds "no monitor" "!ServiceMonitor"
holds "no spreading" "!topologySpreadConstraints" --set topologySpread.nodes=Off,topologySpread.zones=Off
holds "a key of sessions" "kind: Secret"
holds "a key of one's own" "secretName: mine" --set session.existingSecret=mine
holds "no other key beside one's own" "!kind: Secret" --set session.existingSecret=mine
holds "trusted proxies" "- --trusted-proxies=10.0.0.0/8,2001:db8::/32" --set 'trustedProxies={10.0.0.0/8,2001:db8::/32}'
holds "the grace covers the draining" "terminationGracePeriodSeconds: 75" --set drain.delaySeconds=10,drain.timeoutSeconds=60
holds "one namespace, its role" "namespace: shop" --set 'watchNamespaces={shop}'
holds "no store" "!redis"
holds "a store from a Secret" "valueFrom: {secretKeyRef: {name: store, key: url}}" --set redis.existingSecret=store
holds "limits that are shared" "- --shared-limits" --set redis.existingSecret=store
holds "a store by the installation's name" "- --redis-prefix=ravelin-system/ravelin" --set redis.existingSecret=store
holds "who vouches for the store" "- --redis-ca=/run/ravelin/redis/ca.pem" --set redis.existingSecret=store,redis.caKey=ca
holds "more flags" '- "--max-headers=64"' --set 'extraArgs.dataplane={--max-headers=64}'

[[ $(render --set 'watchNamespaces={shop,blog}' | grep -c 'resources: \[services, secrets, configmaps\]') = 2 ]] ||
    fail "watchNamespaces: Secrets are granted elsewhere than in the two namespaces"
echo "ok: with namespaces named, nothing is granted elsewhere"
[[ $(render | grep -c serviceAccountToken:) = 1 && $(render | grep -c 'name: token, mountPath') = 1 ]] ||
    fail "the token is mounted other than once"
echo "ok: one container has a token"

refused "a misspelt value" "replicaCount" --set replicaCount=3
refused "a misspelt value within another" "acess" --set log.acess=false
refused "a wrong type" "replicas" --set-string replicas=two
refused "a proxy that is no range" "trustedProxies" --set 'trustedProxies={10.0.0.1}'
refused "ownership of another kind" "hostnameOwnership" --set hostnameOwnership=Anyone
refused "a URL of a store in the values, which are no secret" "url" --set redis.url=redis://redis
