//! Folders of objects for the gateway, and the peers' configurations.

use std::{net::SocketAddr, path::Path};

use anyhow::Context;
use tokio_rustls::rustls::pki_types::CertificateDer;

use crate::load::Wire;

pub(crate) const HOST: &str = "bench.example";

/// Whoever sends it is `acme`.
pub(crate) const API_KEY: &str = "bench-key-0123456789abcdef";
const API_KEY_SHA256: &str = "95ab1ab43a1c769ff93ba02eec3f4f81c077398c1691a00ae8628abd43901779";

/// What is judged and done for each request besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policies {
    None,
    /// An API key, and a limit by its owner.
    AuthAndLimit,
    /// And two expressions, headers, CORS, time-outs, retries, health, a breaker.
    All,
}

/// What a proxy is to do.
pub(crate) struct Setup<'a> {
    pub(crate) backend: SocketAddr,
    pub(crate) routes: usize,
    pub(crate) upstream_http2: bool,
    pub(crate) policies: Policies,
    pub(crate) wire: Wire,
    pub(crate) certificate: &'a Certificate,
}

/// Of [`HOST`], made for the run.
pub(crate) struct Certificate {
    pub(crate) der: CertificateDer<'static>,
    certificate: String,
    key: String,
}

impl Certificate {
    pub(crate) fn make() -> anyhow::Result<Self> {
        let made = rcgen::generate_simple_self_signed([HOST.to_owned()]).context("no certificate")?;
        Ok(Self { der: made.cert.der().clone(), certificate: made.cert.pem(), key: made.signing_key.serialize_pem() })
    }

    /// For peers, which read both from one file.
    pub(crate) fn write(&self, file: &Path) -> anyhow::Result<()> {
        std::fs::write(file, self.certificate.clone() + &self.key).with_context(|| file.display().to_string())
    }
}

pub(crate) fn path(n: usize) -> String {
    format!("/api/v1/service-{n}")
}

/// Objects of one file: larger ones are refused.
const PER_FILE: usize = 5000;

pub(crate) fn write(folder: &Path, text: &str) -> anyhow::Result<()> {
    let documents: Vec<&str> = text.split("---\n").collect();
    for (number, documents) in documents.chunks(PER_FILE).enumerate() {
        std::fs::write(folder.join(format!("{number}.yaml")), documents.join("---\n"))?;
    }
    Ok(())
}

/// One route each, under its own path; all go to one backend.
pub(crate) fn routes(count: usize, backend: SocketAddr) -> String {
    many(count, backend, "http", "")
}

/// All documents of a folder.
pub(crate) fn objects(setup: &Setup<'_>) -> String {
    let protocol = if setup.upstream_http2 { "kubernetes.io/h2c" } else { "http" };
    let rule = if setup.policies == Policies::All { RULE } else { "" };
    let mut text = many(setup.routes, setup.backend, protocol, rule);
    if setup.wire.is_tls() {
        let indented = |pem: &str| pem.trim_end().replace('\n', "\n    ");
        let Certificate { certificate, key, .. } = setup.certificate;
        let (certificate, key) = (indented(certificate), indented(key));
        text += &format!(
            "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: tls}}\ntype: kubernetes.io/tls\nstringData:\n  tls.crt: |\n    {certificate}\n  tls.key: |\n    {key}\n\
             ---\napiVersion: ravelin.dev/v1alpha1\nkind: ApiRoute\nmetadata: {{name: secure}}\nspec:\n  hostnames: [{HOST}]\n  tls: {{certificateRefs: [{{name: tls}}]}}\n  rules:\n  - matches: [{{path: {{value: /nothing}}}}]\n    backendRefs: [{{name: backend, kind: Backend}}]\n"
        );
    }
    if setup.policies != Policies::None {
        text += &format!(
            "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: acme, labels: {{app: bench}}}}\ntype: ravelin.dev/api-key\nstringData: {{id: acme, sha256: {API_KEY_SHA256}}}\n"
        );
        text += AUTH_AND_LIMIT;
    }
    if setup.policies == Policies::All {
        text += ALL;
    }
    text
}

fn many(count: usize, backend: SocketAddr, protocol: &str, rule: &str) -> String {
    let (ip, port) = (backend.ip(), backend.port());
    let mut text = format!(
        "apiVersion: ravelin.dev/v1alpha1\nkind: Backend\nmetadata: {{name: backend}}\nspec:\n  appProtocol: {protocol}\n  endpoints: [{{address: {ip}, port: {port}}}]\n",
    );
    for n in 0..count {
        let path = path(n);
        text += &format!(
            "---\napiVersion: ravelin.dev/v1alpha1\nkind: ApiRoute\nmetadata: {{name: r{n}}}\nspec:\n  hostnames: [{HOST}]\n  rules:\n  - matches: [{{path: {{value: {path}}}}}]\n    backendRefs: [{{name: backend, kind: Backend}}]\n{rule}"
        );
    }
    text
}

const RULE: &str = "    timeouts: {request: 10s, backendRequest: 5s}
    retry: {attempts: 2}
    filters:
    - requestHeaderModifier: {set: [{name: x-bench, value: a}]}
    - responseHeaderModifier: {set: [{name: x-served-by, value: ravelin}], remove: [server]}
    - cors: {allowOrigins: [\"https://app.example\"]}
    - compression: {algorithms: [zstd, gzip], types: [application/json], minSize: 1Ki}
";

const AUTH_AND_LIMIT: &str = "---
apiVersion: ravelin.dev/v1alpha1
kind: AuthPolicy
metadata: {name: keys}
spec:
  targetRefs: [{kind: Namespace, name: default}]
  authentication: {apiKey: {from: [{header: x-api-key}], selector: {matchLabels: {app: bench}}}}
---
apiVersion: ravelin.dev/v1alpha1
kind: RateLimitPolicy
metadata: {name: limit}
spec:
  targetRefs: [{kind: Namespace, name: default}]
  limits: [{name: each, key: caller.id, rate: {requests: 1000000, per: 1s}}]
";

const ALL: &str = "---
apiVersion: ravelin.dev/v1alpha1
kind: AuthPolicy
metadata: {name: rules}
spec:
  targetRefs: [{kind: Namespace, name: default}]
  override: true
  authentication: {apiKey: {from: [{header: x-api-key}], selector: {matchLabels: {app: bench}}}}
  authorization:
    rules:
    - {name: known, allow: \"caller.id == 'acme'\"}
    - {name: no-admin, deny: \"request.path.startsWith('/admin')\"}
  forward: [{header: x-user-id, value: caller.id}]
---
apiVersion: ravelin.dev/v1alpha1
kind: BackendPolicy
metadata: {name: backend}
spec:
  targetRefs: [{kind: Backend, name: backend}]
  loadBalancing: {algorithm: LeastRequest}
  healthCheck: {passive: {consecutiveErrors: 5}}
  circuitBreaker: {consecutiveFailures: 5}
  retryBudget: {percent: 20}
";

/// `None`: it cannot do that.
pub(crate) fn nginx(listen: SocketAddr, folder: &Path, setup: &Setup<'_>) -> Option<String> {
    if setup.upstream_http2 || setup.policies == Policies::All {
        return None;
    }
    let backend = setup.backend;
    let mut options = String::new();
    let mut server = String::new();
    if setup.wire.is_http2() {
        options += " http2";
    }
    if setup.wire.is_tls() {
        let file = folder.join("tls.pem");
        let file = file.display();
        options += " ssl";
        server += &format!("ssl_certificate {file}; ssl_certificate_key {file}; ");
    }
    let mut http = String::new();
    if setup.policies == Policies::AuthAndLimit {
        http += &format!(
            "map $http_x_api_key $who {{ default \"\"; {API_KEY} acme; }} limit_req_zone $who zone=z:1m rate=1000000r/s; "
        );
        server +=
            "if ($who = \"\") { return 401; } limit_req zone=z burst=1000 nodelay; proxy_set_header x-api-key \"\"; ";
    }
    Some(format!(
        "daemon off; worker_processes 1; pid /dev/null; error_log /dev/null;\n\
         events {{ worker_connections 4096; }}\n\
         http {{ access_log off; keepalive_requests 100000000; {http}\n\
         upstream b {{ server {backend}; keepalive 1024; keepalive_requests 100000000; }}\n\
         server {{ listen {listen}{options}; {server} location / {{ proxy_pass http://b; proxy_http_version 1.1; \
         proxy_set_header Connection \"\"; proxy_set_header Host $host; \
         proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; }} }} }}\n"
    ))
}

/// `None`: it cannot do that.
pub(crate) fn haproxy(listen: SocketAddr, folder: &Path, setup: &Setup<'_>) -> Option<String> {
    let (mut bind, mut server, mut rules) = (String::new(), String::new(), String::new());
    match setup.wire {
        Wire::Http1 => {}
        Wire::Http2 => bind += " proto h2",
        Wire::Https1 | Wire::Https2 => {
            let alpn = if setup.wire.is_http2() { "h2" } else { "http/1.1" };
            bind += &format!(" ssl crt {} alpn {alpn}", folder.join("tls.pem").display());
        }
    }
    if setup.upstream_http2 {
        server += " proto h2";
    }
    match setup.policies {
        Policies::None => {}
        Policies::AuthAndLimit => {
            rules += &format!(
                "  stick-table type string size 10k expire 60s store http_req_rate(1s)\n  \
                 http-request deny deny_status 401 unless {{ req.hdr(x-api-key) -m str {API_KEY} }}\n  \
                 http-request track-sc0 req.hdr(x-api-key)\n  \
                 http-request deny deny_status 429 if {{ sc_http_req_rate(0) gt 1000000 }}\n  \
                 http-request del-header x-api-key\n"
            );
        }
        Policies::All => return None,
    }
    let backend = setup.backend;
    Some(format!(
        "global\n  nbthread 1\n  maxconn 4096\n\
         defaults\n  mode http\n  timeout connect 1s\n  timeout client 60s\n  timeout server 60s\n  option forwardfor\n  http-reuse always\n\
         frontend f\n  bind {listen}{bind}\n{rules}  default_backend b\n\
         backend b\n  server s {backend} pool-max-conn 1024{server}\n"
    ))
}
