//! Limits that replicas share, in a real `redis-server`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "process/gateway.rs"]
mod gateway;
#[path = "shared/store.rs"]
mod store;

use std::{fs, path::Path};

use gateway::Gateway;
use ravelin_echo::client::{Answer, Client, Protocol};
use store::Store;
use tempfile::TempDir;

/// A site whose every answer is 200, behind these limits.
fn site(policy: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let site = format!(
        "{{apiVersion: ravelin.dev/v1alpha1, kind: ApiRoute, metadata: {{name: all}}, spec: {{rules: [{{filters: [{{directResponse: {{status: 200}}}}]}}]}}}}
---
apiVersion: ravelin.dev/v1alpha1
kind: RateLimitPolicy
metadata: {{name: few}}
spec:
  targetRefs: [{{kind: ApiRoute, name: all}}]
  scope: Shared
{policy}"
    );
    fs::write(folder.path().join("site.yaml"), site).unwrap();
    folder
}

async fn replica(site: &Path, redis: &str, more: &[&str]) -> Gateway {
    Gateway::standalone(site, &[&["--redis", redis][..], more].concat()).await
}

/// Asks until it is refused, and says how often it was not.
async fn passing(gateway: &Gateway, who: &str, most: usize) -> usize {
    let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
    for n in 0..most {
        let answer = ask(&mut client, who).await;
        match answer.status.as_u16() {
            200 => {}
            429 => return n,
            other => panic!("{other}: {}", answer.text()),
        }
    }
    most
}

async fn ask(client: &mut Client, who: &str) -> Answer {
    client.get_with("/", &[("x-who", who)]).await.unwrap()
}

#[tokio::test]
async fn two_replicas_together_admit_exactly_what_the_limit_says() {
    let store = Store::start(&[]).await;
    let site = site(
        "  limits:
  - {name: bucket, key: \"request.headers['x-who']\", rate: {requests: 10, per: 1h}}
",
    );
    let (one, two) = (replica(site.path(), &store.url(), &[]).await, replica(site.path(), &store.url(), &[]).await);
    let mut clients = [
        Client::connect(one.http(), Protocol::Http1).await.unwrap(),
        Client::connect(two.http(), Protocol::Http1).await.unwrap(),
    ];
    let mut passed = 0;
    for n in 0..40 {
        passed += usize::from(ask(&mut clients[n % 2], "a").await.status == 200);
    }
    assert_eq!(passed, 10);
    assert_eq!(passing(&two, "b", 100).await, 10, "another key");
    assert_eq!(passing(&one, "b", 100).await, 0);
}
