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
    let mut objects: BTreeMap<&ObjectRef, Object<'a>> = BTreeMap::new();
    for (object, verdict) in published.compiled.verdicts.iter() {
        let served = || published.is_served(object, acknowledged);
        let conditions = if object.kind.is_ours() { conditions(verdict, served()) } else { Vec::new() };
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
        (judged("Accepted", &verdict.accepted), &*verdict.accepted.message),
        (judged("ResolvedRefs", &verdict.resolved_refs), &*verdict.resolved_refs.message),
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

#[cfg(test)]
mod tests {
    use ravelin_controller::{
        compile::Options,
        object::{self, AnyObject, Meta},
        publish::{self, World},
    };
    use ravelin_snapshot::{
        ObjectKey,
        channel::{Subscriber, memory},
    };
    use serde_json::{Value, json};
    use tokio::sync::watch::{Sender, channel};

    use super::*;

    /// Routes at these generations, and what the installed CRDs lack.
    fn world(routes: [(&str, i64); 2], lacking: &[&str]) -> Option<Arc<World>> {
        let mut world = World::default();
        for (name, generation) in routes {
            let rules = json!([{"filters": [{"directResponse": {"status": 200 + generation}}]}]);
            let spec = serde_json::from_value(json!({"hostnames": [format!("{name}.example")], "rules": rules}));
            let meta = Meta { key: ObjectKey::new("shop", name), generation, ..Meta::default() };
            world.model.set(AnyObject::ApiRoute(object::Object::new(meta, spec.unwrap())));
        }
        world.observed.lacking = lacking.iter().map(|lacks| (*lacks).to_owned()).collect();
        Some(Arc::new(world))
    }

    /// A controller from `worlds` on, and a data plane that takes what it is told.
    struct Halves {
        worlds: Sender<Option<Arc<World>>>,
        board: Board,
        subscriber: Subscriber,
        page: Page,
    }

    impl Halves {
        fn start() -> Self {
            let (worlds, world) = channel(None);
            let (publisher, subscriber) = memory();
            let (board, published) = channel(None);
            let page = page(published.clone(), publisher.delivery());
            tokio::spawn(publish::run(world, Options::default(), publisher, board));
            Self { worlds, board: published, subscriber, page }
        }

        async fn compile(&mut self, world: Option<Arc<World>>) {
            self.worlds.send_replace(world);
            self.board.changed().await.unwrap();
        }

        async fn serve(&mut self) {
            let snapshot = self.subscriber.next().await.unwrap();
            self.subscriber.accept(snapshot.revision);
        }

        /// The revision, and what is said of whether each object is served.
        fn shown(&self) -> (u64, Vec<(String, String)>) {
            let answer = (self.page)(&Request::get("/objects").body(()).unwrap()).unwrap();
            let page: Value = serde_json::from_slice(answer.body()).unwrap();
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let said = |object: &Value| (text(&object["name"]), text(&object["conditions"][2]["reason"]));
            (page["revision"].as_u64().unwrap(), page["objects"].as_array().unwrap().iter().map(said).collect())
        }
    }

    fn said(changed: &str, same: &str) -> Vec<(String, String)> {
        [("changed", changed), ("same", same)].map(|(name, reason)| (name.to_owned(), reason.to_owned())).into()
    }

    #[tokio::test]
    async fn what_comes_from_outdated_crds_is_not_said_to_be_served_and_what_did_not_change_is() {
        let (before, after) = ([("changed", 1), ("same", 1)], [("changed", 2), ("same", 1)]);
        let mut halves = Halves::start();
        halves.compile(world(before, &["apiroutes.ravelin.dev has no spec.rules"])).await;
        assert_eq!(halves.shown(), (0, said("Pending", "Pending")), "nothing was handed on yet");
        halves.compile(world(before, &[])).await;
        assert_eq!(halves.shown(), (0, said("Pending", "Pending")), "it is on its way");
        halves.serve().await;
        assert_eq!(halves.shown(), (1, said("Programmed", "Programmed")));
        halves.compile(world(after, &["apiroutes.ravelin.dev has no spec.rules"])).await;
        assert_eq!(halves.shown(), (1, said("Pending", "Programmed")));
        halves.compile(world(after, &[])).await;
        halves.serve().await;
        assert_eq!(halves.shown(), (2, said("Programmed", "Programmed")));
    }
}
