//! Namespaces are isolated: hostnames have owners, and backends of others need a grant.

use anyhow::Result;
use ravelin_e2e::{Gateway, Namespace, kubectl};

#[tokio::test]
async fn a_namespace_cannot_take_the_hostname_of_another() -> Result<()> {
    let gateway = Gateway::installed().await?;
    let (owner, thief) = (Namespace::fresh("e2e-owner").await?, Namespace::fresh("e2e-thief").await?);
    for namespace in [&owner, &thief] {
        namespace.echo("app", 1).await?;
    }
    owner.route("app", "app.owned.example", "app").await?;
    owner.wait("apiroute/app", "Programmed").await?;
    thief.route("app", "app.owned.example", "app").await?;
    let said = thief.says("apiroute/app", "Accepted", "False", "HostnameOwned").await?;
    assert!(said["message"].as_str().is_some_and(|message| message.contains("app.owned.example")), "{said}");
    for _ in 0..20 {
        let answer = gateway.get("app.owned.example", "/").await?;
        assert_eq!(answer.status, 200);
    }
    thief.remove().await?;
    owner.remove().await
}

#[tokio::test]
async fn a_backend_of_another_namespace_needs_a_grant() -> Result<()> {
    let gateway = Gateway::installed().await?;
    let (owner, user) = (Namespace::fresh("e2e-lender").await?, Namespace::fresh("e2e-borrower").await?);
    owner.echo("app", 1).await?;
    user.apply(
        "apiVersion: ravelin.dev/v1alpha1\nkind: ApiRoute\nmetadata: {name: app}\nspec:\n  hostnames: [app.granted.example]\n  \
         rules:\n  - backendRefs: [{name: app, namespace: e2e-lender, port: 80}]\n",
    )
    .await?;
    user.says("apiroute/app", "ResolvedRefs", "False", "RefNotPermitted").await?;
    gateway.answers("app.granted.example", "/", 500).await?;

    // The kind is Gateway API's; a cluster need not have it, and gets it while we run.
    kubectl(&["apply", "-f", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/namespaces/referencegrants.yaml")]).await?;
    kubectl(&["wait", "--for=condition=Established", "crd/referencegrants.gateway.networking.k8s.io", "--timeout=60s"])
        .await?;
    owner
        .apply(
            "apiVersion: gateway.networking.k8s.io/v1beta1\nkind: ReferenceGrant\nmetadata: {name: app}\nspec:\n  \
             from: [{group: ravelin.dev, kind: ApiRoute, namespace: e2e-borrower}]\n  to: [{group: '', kind: Service}]\n",
        )
        .await?;
    user.says("apiroute/app", "ResolvedRefs", "True", "ResolvedRefs").await?;
    gateway.answers("app.granted.example", "/", 200).await?;
    owner.delete("referencegrant/app").await?;
    user.says("apiroute/app", "ResolvedRefs", "False", "RefNotPermitted").await?;
    gateway.answers("app.granted.example", "/", 500).await?;
    user.remove().await?;
    owner.remove().await
}
