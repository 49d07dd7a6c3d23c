//! A controller whose installed CRDs are older says so on every policy, serves what it served, and a new replica is not ready.

use anyhow::Result;
use ravelin_e2e::{Gateway, Namespace, eventually, expect, kubectl};

const CRD: &str = "crd/authpolicies.ravelin.dev";
/// As a version before `spec.mode` would have left it.
const OLDER: &str = r#"[{"op": "remove", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/mode"},
    {"op": "remove", "path": "/metadata/annotations/ravelin.dev~1schema-digest"}]"#;

#[tokio::test]
async fn older_crds_are_said_on_every_policy_and_nothing_new_is_served() -> Result<()> {
    let gateway = Gateway::installed().await?;
    let shop = Namespace::fresh("e2e-schemas").await?;
    shop.echo("orders", 1).await?;
    shop.route("orders", "orders.schemas.example", "orders").await?;
    shop.apply(
        "apiVersion: ravelin.dev/v1alpha1\nkind: AuthPolicy\nmetadata: {name: orders}\nspec:\n  \
         targetRefs: [{kind: ApiRoute, name: orders}]\n  network: {allow: [0.0.0.0/0]}\n",
    )
    .await?;
    shop.says("authpolicy/orders", "Programmed", "True", "Programmed").await?;
    let crd = kubectl(&["get", CRD, "-o", "json"]).await?;

    kubectl(&["patch", CRD, "--type=json", "-p", OLDER]).await?;
    let outcome = outdated(&gateway, &shop).await;
    // As it was; a version that the object had then would be refused.
    let mut crd: serde_json::Value = serde_json::from_str(&crd)?;
    for field in ["resourceVersion", "uid", "generation", "managedFields", "creationTimestamp"] {
        crd["metadata"].as_object_mut().map(|metadata| metadata.remove(field));
    }
    ravelin_e2e::kubectl_with(&["replace", "-f", "-"], &crd.to_string()).await?;
    outcome?;

    shop.says("authpolicy/orders", "Accepted", "True", "Accepted").await?;
    gateway.ready(2).await?;
    shop.remove().await
}

async fn outdated(gateway: &Gateway, shop: &Namespace) -> Result<()> {
    let said = shop.says("authpolicy/orders", "Accepted", "False", "SchemaOutdated").await?;
    expect(said["message"].as_str().is_some_and(|message| message.contains("spec.mode")), || said.to_string())?;
    gateway.answers("orders.schemas.example", "/", 200).await?;
    let pods = gateway.pods().await?;
    kubectl(&["-n", Gateway::NAMESPACE, "delete", "pod", &pods[0].name, "--wait=false"]).await?;
    eventually("a new replica that runs and is not ready", || async {
        let now = gateway.pods().await?;
        let new = now.iter().find(|new| pods.iter().all(|old| old.name != new.name));
        let Some(new) = new else { anyhow::bail!("{now:?}") };
        let (ready, said) = new.readyz().await?;
        expect(!ready && !new.ready, || said)
    })
    .await
}
