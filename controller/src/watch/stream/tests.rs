use std::{
    convert::Infallible,
    future::pending,
    sync::{Arc, Mutex},
};

use http::{Request, Response};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::timeout;
use tower::service_fn;

use super::*;

const DEADLINE: Duration = Duration::from_secs(30);

/// An API server that answers each request as `answer` says: a status and a body, or never.
fn client(answer: impl Fn(&str) -> Option<(u16, String)> + Send + Sync + 'static) -> (Client, Arc<Mutex<Vec<String>>>) {
    let (answer, asked) = (Arc::new(answer), Arc::new(Mutex::new(Vec::new())));
    let seen = Arc::clone(&asked);
    let service = service_fn(move |request: Request<Body>| {
        let uri = request.uri().to_string();
        seen.lock().unwrap().push(uri.clone());
        let answer = answer(&uri);
        async move {
            let Some((status, body)) = answer else { return pending().await };
            let response = Response::builder().status(status).body(Body::from(body.into_bytes())).unwrap();
            Ok::<_, Infallible>(response)
        }
    });
    (Client::new(service, "default"), asked)
}

fn failure(code: u16) -> Option<(u16, String)> {
    let status =
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no", "reason": "", "code": code});
    Some((code, status.to_string()))
}

fn backend(name: &str, version: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "ravelin.dev/v1alpha1", "kind": "Backend", "spec": spec,
        "metadata": {"name": name, "namespace": "shop", "resourceVersion": version, "generation": 1,
            "managedFields": [{"manager": "kubectl"}]},
    })
}

fn list(objects: &[Value]) -> Option<(u16, String)> {
    let list = json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": "9"}, "items": objects});
    Some((200, list.to_string()))
}

/// The first `count` notes of a watch of `K`.
async fn notes<K>(client: Client, count: usize) -> Vec<Told>
where
    K: Watched + Debug + 'static,
    K::DynamicType: Debug + 'static,
{
    let (notes, mut told) = mpsc::channel(64);
    let watch = follow::<K>(client, None, Config::default(), Desk { track: 0, notes });
    let collect = async {
        let mut all = Vec::new();
        while all.len() < count {
            all.push(told.recv().await.expect("a note").1);
        }
        all
    };
    tokio::select! {
        () = watch => panic!("the watch has ended"),
        all = timeout(DEADLINE, collect) => all.expect("in time"),
    }
}

#[tokio::test]
async fn a_list_is_streamed_and_its_objects_come_pruned() {
    let (client, asked) = client(|uri| {
        let mark = json!({"type": "BOOKMARK", "object": {"apiVersion": "ravelin.dev/v1alpha1", "kind": "Backend",
            "metadata": {"resourceVersion": "9", "annotations": {"k8s.io/initial-events-end": "true"}}}});
        let added = json!({"type": "ADDED", "object": backend("a", "7", &json!({"endpoints": []}))});
        uri.contains("sendInitialEvents=true").then(|| (200, format!("{added}\n{mark}\n")))
    });
    let told = notes::<crds::Backend>(client, 3).await;
    let [Told::Listing, Told::Is(seen), Told::Complete] = &told[..] else { panic!("{told:?}") };
    assert_eq!((seen.object.kind(), seen.object.meta().resource_version), (Kind::Backend, Some(7)));
    assert!(asked.lock().unwrap()[0].contains("resourceVersionMatch=NotOlderThan"));
}

#[tokio::test]
async fn a_server_that_does_not_stream_lists_is_asked_for_pages() {
    let (client, _) = client(|uri| match uri.contains("watch=true") {
        true if uri.contains("sendInitialEvents") => failure(422),
        true => None,
        false => list(&[backend("a", "7", &json!({"endpoints": []}))]),
    });
    let told = notes::<crds::Backend>(client, 3).await;
    assert!(matches!(&told[..], [Told::Listing, Told::Is(_), Told::Complete]), "{told:?}");
}

#[tokio::test]
async fn one_object_that_cannot_be_read_is_an_object_with_a_fault_and_the_others_are_whole() {
    let (client, _) = client(|uri| match uri.contains("watch=true") {
        true if uri.contains("sendInitialEvents") => failure(422),
        true => None,
        false => {
            list(&[backend("bad", "6", &json!({"endpoints": 5})), backend("good", "7", &json!({"endpoints": []}))])
        }
    });
    let told = notes::<crds::Backend>(client, 4).await;
    let faults = |told: &Told| match told {
        Told::Is(seen) => match &seen.object {
            AnyObject::Backend(backend) => (backend.meta.key.name.clone(), backend.faults.len()),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    assert_eq!((faults(&told[1]), faults(&told[2])), (("bad".to_owned(), 1), ("good".to_owned(), 0)));
}

#[tokio::test]
async fn reference_grants_are_looked_for_in_both_versions_and_are_empty_where_there_are_none() {
    let (missing, asked) = client(|_| failure(404));
    let told = notes::<crds::ReferenceGrant>(missing, 1).await;
    assert!(matches!(&told[..], [Told::Unknown]), "{told:?}");
    let asked = asked.lock().unwrap().join(" ");
    assert!(asked.contains("/v1/referencegrants") && asked.contains("/v1beta1/referencegrants"), "{asked}");

    let (older, _) = client(|uri| match uri.contains("/v1beta1/") {
        true if uri.contains("sendInitialEvents") => failure(422),
        true if uri.contains("watch=true") => None,
        true => list(&[]),
        false => failure(404),
    });
    let told = notes::<crds::ReferenceGrant>(older, 2).await;
    assert!(matches!(&told[..], [Told::Listing, Told::Complete]), "{told:?}");
}
