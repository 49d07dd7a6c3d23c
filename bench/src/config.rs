//! Folders of objects for the gateway, and the peers' configurations.

use std::net::SocketAddr;

/// One route each, under its own path; all go to one backend.
pub(crate) fn routes(count: usize, backend: SocketAddr) -> String {
    let mut text = format!(
        "apiVersion: ravelin.dev/v1alpha1\nkind: Backend\nmetadata: {{name: backend}}\nspec:\n  endpoints: [{{address: {}, port: {}}}]\n",
        backend.ip(),
        backend.port()
    );
    for n in 0..count {
        text += &format!(
            "---\napiVersion: ravelin.dev/v1alpha1\nkind: ApiRoute\nmetadata: {{name: r{n}}}\nspec:\n  hostnames: [{HOST}]\n  rules:\n  - matches: [{{path: {{value: {}}}}}]\n    backendRefs: [{{name: backend, kind: Backend}}]\n",
            path(n)
        );
    }
    text
}

pub(crate) const HOST: &str = "bench.example";

pub(crate) fn path(n: usize) -> String {
    format!("/api/v1/service-{n}")
}

pub(crate) fn nginx(listen: SocketAddr, backend: SocketAddr) -> String {
    format!(
        "daemon off; worker_processes 1; pid /dev/null; error_log /dev/null;\n\
         events {{ worker_connections 1024; }}\n\
         http {{ access_log off; keepalive_requests 100000000;\n\
         upstream b {{ server {backend}; keepalive 128; keepalive_requests 100000000; }}\n\
         server {{ listen {listen}; location / {{ proxy_pass http://b; proxy_http_version 1.1; \
         proxy_set_header Connection \"\"; proxy_set_header Host $host; \
         proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; }} }} }}\n"
    )
}

pub(crate) fn haproxy(listen: SocketAddr, backend: SocketAddr) -> String {
    format!(
        "global\n  nbthread 1\n  maxconn 4096\n\
         defaults\n  mode http\n  timeout connect 1s\n  timeout client 60s\n  timeout server 60s\n  option forwardfor\n  http-reuse always\n\
         frontend f\n  bind {listen}\n  default_backend b\n\
         backend b\n  server s {backend} pool-max-conn 128\n"
    )
}
