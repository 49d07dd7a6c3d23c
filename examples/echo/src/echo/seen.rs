//! A request, as it arrived.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, Version, header, request};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::{Value, json};

/// How much of a body is kept and told.
const BODY_KEPT: usize = 64 * 1024;

/// A request, as the backend saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Which of the backend's connections it came over, from 1.
    pub connection: u64,
    /// As sent.
    pub method: String,
    /// The path without the query, not decoded.
    pub path: String,
    /// What follows `?`.
    pub query: Option<String>,
    /// `:authority`, or else `Host`.
    pub host: String,
    /// Of the protocol.
    pub version: Version,
    /// All of them, repeated ones in order.
    pub headers: HeaderMap,
    /// Its first 64 KiB. Empty with `body=back`, `body=ignore` and upgrades.
    pub body: Bytes,
    /// The size of the body.
    pub body_bytes: u64,
    /// What followed the body.
    pub trailers: HeaderMap,
}

impl Seen {
    pub(super) fn new(connection: u64, head: &request::Parts) -> Self {
        let authority = head.uri.authority().map(|authority| authority.as_str().as_bytes());
        let host = authority.or_else(|| Some(head.headers.get(header::HOST)?.as_bytes())).unwrap_or_default();
        Self {
            connection,
            method: head.method.to_string(),
            path: head.uri.path().to_owned(),
            query: head.uri.query().map(str::to_owned),
            host: text(host),
            version: head.version,
            headers: head.headers.clone(),
            body: Bytes::new(),
            body_bytes: 0,
            trailers: HeaderMap::new(),
        }
    }

    /// To the end of the body.
    pub(super) async fn read(&mut self, mut body: Incoming) -> hyper::Result<()> {
        let mut kept = Vec::new();
        while let Some(frame) = body.frame().await {
            match frame?.into_data() {
                Ok(data) => {
                    self.body_bytes += data.len() as u64;
                    kept.extend_from_slice(&data[..data.len().min(BODY_KEPT - kept.len())]);
                }
                Err(other) => self.trailers.extend(other.into_trailers().unwrap_or_default()),
            }
        }
        self.body = kept.into();
        Ok(())
    }

    /// What the backend answers. `trailers` is there only if there were some, `query` is null if there was no `?`.
    pub(super) fn to_json(&self, server: &str) -> Value {
        let mut told = json!({
            "server": server,
            "connection": self.connection,
            "method": self.method,
            "path": self.path,
            "query": self.query,
            "host": self.host,
            "version": format!("{:?}", self.version),
            "headers": fields(&self.headers),
            "body": text(&self.body),
            "bodyBytes": self.body_bytes,
        });
        if !self.trailers.is_empty() {
            told["trailers"] = fields(&self.trailers);
        }
        told
    }
}

/// `{name: [values]}`.
fn fields(map: &HeaderMap) -> Value {
    let all = map.keys().map(|name| {
        let values = map.get_all(name).iter().map(|value| text(value.as_bytes())).collect::<Vec<_>>();
        (name.to_string(), values)
    });
    json!(all.collect::<BTreeMap<_, _>>())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
