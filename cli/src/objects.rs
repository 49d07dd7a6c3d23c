//! `/objects`: what became of each object, and of the files that are no objects.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use ravelin_controller::{
    object::ObjectRef,
    publish::Published,
    verdict::{Finding, State, Verdict},
};
use ravelin_dataplane::admin::Page;
use ravelin_snapshot::channel::Delivery;
use serde::Serialize;
use tokio::sync::watch::Receiver;

/// What was last published; `None` until a source is complete.
pub(crate) type Board = Receiver<Option<Arc<Published>>>;

/// The page for the admin interface.
pub(crate) fn page(published: Board, delivery: Receiver<Delivery>) -> Page {
    Arc::new(move |request: &Request<()>| {
        (request.uri().path() == "/objects").then(|| {
            if request.method() != Method::GET {
                return refuse(StatusCode::METHOD_NOT_ALLOWED);
            }
            match published.borrow().as_deref() {
                Some(published) => json(&objects(published, &delivery.borrow())),
                None => refuse(StatusCode::SERVICE_UNAVAILABLE),
            }
        })
    })
}

fn json(page: &Objects<'_>) -> Response<Bytes> {
    // Plain data with string keys always encodes. (invariant)
    let mut answer = Response::new(Bytes::from(serde_json::to_vec(page).unwrap_or_default()));
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

fn refuse(status: StatusCode) -> Response<Bytes> {
    let mut answer = Response::new(Bytes::new());
    *answer.status_mut() = status;
    answer
}

#[derive(Serialize)]
struct Objects<'a> {
    /// What is served: what follows a change is to be had once this has risen.
    revision: u64,
    objects: Vec<Object<'a>>,
}

#[derive(Serialize)]
struct Object<'a> {
    kind: &'a str,
    namespace: &'a str,
    name: &'a str,
    conditions: Vec<Condition<'a>>,
    findings: Vec<&'a Finding>,
}

#[derive(Serialize)]
struct Condition<'a> {
    r#type: &'static str,
    status: &'static str,
    reason: String,
    message: &'a str,
}

fn objects<'a>(published: &'a Published, delivery: &Delivery) -> Objects<'a> {
    let acknowledged = delivery.acknowledged.unwrap_or_default();
    let served = acknowledged >= published.revision;
    let mut objects: BTreeMap<&ObjectRef, Object<'a>> = BTreeMap::new();
    for (object, verdict) in published.compiled.verdicts.iter() {
        let conditions = if object.kind.is_ours() { conditions(verdict, served) } else { Vec::new() };
        objects.insert(object, Object { conditions, findings: verdict.findings.iter().collect(), ..empty(object) });
    }
    let mut files = Vec::new();
    for found in &published.world.findings {
        match &found.object {
            Some(object) => {
                let entry = objects.entry(object).or_insert_with(|| empty(object));
                if !entry.findings.contains(&&found.finding) {
                    entry.findings.push(&found.finding);
                }
            }
            None => files.push(Object {
                kind: "File",
                namespace: "",
                name: &found.file,
                conditions: Vec::new(),
                findings: vec![&found.finding],
            }),
        }
    }
    let revision = acknowledged.min(published.revision).0;
    Objects { revision, objects: objects.into_values().chain(files).collect() }
}

fn empty(object: &ObjectRef) -> Object<'_> {
    Object {
        kind: object.kind.as_str(),
        namespace: &object.key.namespace,
        name: &object.key.name,
        conditions: Vec::new(),
        findings: Vec::new(),
    }
}

fn conditions(verdict: &Verdict, served: bool) -> Vec<Condition<'_>> {
    let judged = |name, state: &'_ State| (name, state.status, format!("{:?}", state.reason));
    let programmed = match (verdict.accepted.status, served) {
        (false, _) => (false, "Invalid", "It is not accepted: see the condition Accepted."),
        (true, false) => (false, "Pending", "It is not served yet."),
        (true, true) => (true, "Programmed", "It is served."),
    };
    [
        (judged("Accepted", &verdict.accepted), verdict.accepted.message.as_str()),
        (judged("ResolvedRefs", &verdict.resolved_refs), verdict.resolved_refs.message.as_str()),
        (("Programmed", programmed.0, programmed.1.to_owned()), programmed.2),
    ]
    .into_iter()
    .map(|((name, truth, reason), message)| Condition {
        r#type: name,
        status: if truth { "True" } else { "False" },
        reason,
        message,
    })
    .collect()
}
