use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use http::{Method, Request, Response};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::{Value, json};
use tower::service_fn;

use super::*;

/// An API server with one Lease, which refuses a write over a version that is not the latest.
#[derive(Clone)]
struct Server(Arc<Mutex<Value>>);

impl Server {
    fn new() -> Self {
        let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": {},
            "metadata": {"name": "ravelin", "namespace": "system", "resourceVersion": "1"}});
        Self(Arc::new(Mutex::new(lease)))
    }

    fn candidate(&self, name: &str) -> Candidate {
        let server = self.clone();
        let service = service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
                let (status, answer) = server.answer(&head.method, &body);
                let answer = Body::from(answer.to_string().into_bytes());
                Ok::<_, Infallible>(Response::builder().status(status).body(answer).unwrap())
            }
        });
        Candidate::new(Client::new(service, "system"), "system", "ravelin", name)
    }

    fn answer(&self, method: &Method, body: &[u8]) -> (u16, Value) {
        let mut lease = self.0.lock().unwrap();
        if method == Method::PUT {
            let new: Value = serde_json::from_slice(body).unwrap();
            let version = &lease["metadata"]["resourceVersion"];
            if new["metadata"]["resourceVersion"] != *version {
                return (
                    409,
                    json!({"kind": "Status", "status": "Failure", "message": "", "reason": "Conflict", "code": 409}),
                );
            }
            let next = version.as_str().unwrap().parse::<u64>().unwrap() + 1;
            *lease = new;
            lease["metadata"]["resourceVersion"] = next.to_string().into();
        }
        (200, lease.clone())
    }
}

fn nobody(now: Instant) -> Rival {
    Rival { version: None, since: now }
}

#[tokio::test]
async fn one_leads_and_another_follows_once_it_has_been_silent_for_as_long_as_its_lease() {
    let (server, mut now) = (Server::new(), Instant::now());
    let (a, b) = (server.candidate("a"), server.candidate("b"));
    let (mut of_a, mut of_b) = (nobody(now), nobody(now));
    assert!(a.attempt(&mut of_a, now).await.unwrap());
    assert!(!b.attempt(&mut of_b, now).await.unwrap());
    // A sign of life counts from when it is seen, whatever its clock says.
    now += DURATION - PERIOD;
    assert!(a.attempt(&mut of_a, now).await.unwrap());
    assert!(!b.attempt(&mut of_b, now).await.unwrap());
    now += DURATION - PERIOD;
    assert!(!b.attempt(&mut of_b, now).await.unwrap());
    now += PERIOD;
    assert!(b.attempt(&mut of_b, now).await.unwrap());
    assert!(!a.attempt(&mut of_a, now).await.unwrap(), "it has lost it");
}

#[tokio::test]
async fn a_leader_that_resigns_is_followed_at_once_and_only_its_own_lease_is_given_back() {
    let (server, now) = (Server::new(), Instant::now());
    let (a, b) = (server.candidate("a"), server.candidate("b"));
    assert!(a.attempt(&mut nobody(now), now).await.unwrap());
    b.resign().await;
    assert!(!b.attempt(&mut nobody(now), now).await.unwrap());
    a.resign().await;
    assert!(b.attempt(&mut nobody(now), now).await.unwrap());
}
