//! Quotas outlive the process.

use std::path::Path;

use ravelin_echo::client::{Answer, get};
use serde_json::Value;
use tokio::process::Command;

use crate::{Gateway, folder};

const SITE: &str = "apiVersion: ravelin.dev/v1alpha1
kind: ApiRoute
metadata: {name: all}
spec: {rules: [{filters: [{directResponse: {status: 200}}]}]}
---
apiVersion: ravelin.dev/v1alpha1
kind: RateLimitPolicy
metadata: {name: few}
spec:
  targetRefs: [{kind: ApiRoute, name: all}]
  limits:
  - {name: month, key: \"request.headers['x-who']\", quota: {requests: 2, per: Month, timeZone: Europe/Paris}}
";

async fn start(site: &Path, state: &Path) -> Gateway {
    Gateway::standalone(site, &["--state", state.to_str().unwrap()]).await
}

async fn ask(gateway: &Gateway) -> Answer {
    get(gateway.http(), "any.example", "/").await.unwrap()
}

/// `ravelin usage` with these arguments: what it prints.
async fn usage(gateway: &Gateway, arguments: &[&str]) -> String {
    let admin = gateway.address("admin").to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ravelin"));
    let run = command.arg("usage").args(arguments).args(["--admin", &admin]).output().await.unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).unwrap()
}

async fn used(gateway: &Gateway) -> (u64, u64) {
    let told: Value = serde_json::from_str(&usage(gateway, &["-o", "json", "--policy", "default/few"]).await).unwrap();
    let row = &told["usage"][0];
    assert_eq!((&row["limit"], &row["key"], &row["requests"]), (&"month".into(), &"".into(), &2.into()));
    (row["used"].as_u64().unwrap(), row["granted"].as_u64().unwrap())
}

#[tokio::test]
async fn what_is_used_of_a_quota_outlives_the_process_however_it_ends() {
    let (site, state) = (folder(&[("site.yaml", SITE)]), folder(&[]));
    let gateway = start(site.path(), state.path()).await;
    assert_eq!(ask(&gateway).await.status, 200);
    gateway.terminate().await;
    assert!(gateway.ended().await.status.success());

    let gateway = start(site.path(), state.path()).await;
    assert_eq!(used(&gateway).await, (1, 0));
    assert_eq!(ask(&gateway).await.status, 200);
    let refused = ask(&gateway).await;
    assert_eq!((refused.status.as_u16(), &refused.json()["reason"]), (429, &"quota_exceeded".into()));
    let until: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!(until <= 31 * 86_400 + 3_600);
    // What an operator says is on the disk when he is answered.
    assert_eq!(usage(&gateway, &["grant", "default/few", "month", "", "1"]).await, "granted\n");
    drop(gateway); // killed

    let gateway = start(site.path(), state.path()).await;
    assert_eq!(used(&gateway).await, (2, 1));
    assert_eq!((ask(&gateway).await.status.as_u16(), ask(&gateway).await.status.as_u16()), (200, 429));
    assert_eq!(usage(&gateway, &["reset", "default/few", "month", ""]).await, "reset\n");
    assert_eq!(used(&gateway).await, (0, 1));
    assert_eq!(ask(&gateway).await.status, 200);
    assert!(usage(&gateway, &[]).await.contains("default/few"), "a table for people");
}
