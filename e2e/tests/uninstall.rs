//! Uninstalling leaves nothing but the CRDs. By its name the last file to run.

use anyhow::Result;
use ravelin_e2e::{Gateway, eventually, expect, kubectl};

#[tokio::test]
async fn uninstalling_leaves_nothing_but_crds() -> Result<()> {
    Gateway::installed().await?;
    Gateway::uninstall().await?;
    eventually("nothing of the release is left", || async {
        let left = left().await?;
        expect(left.is_empty(), || left)
    })
    .await?;
    let crds = kubectl(&["get", "crd", "-o", "name"]).await?;
    assert!(crds.contains("apiroutes.ravelin.dev"), "{crds}");
    Ok(())
}

/// What the cluster itself has for each CRD or each node, and the namespace, which is the user's.
const THE_CLUSTERS: [&str; 5] = ["customresourcedefinition", "apiservice", "node/", "csinode", "namespace/"];

/// Every object of any kind that lists and has our name: in the release's namespace, and outside of namespaces.
async fn left() -> Result<String> {
    let mut left = String::new();
    for (namespaced, place) in [("--namespaced=true", &["-n", Gateway::NAMESPACE][..]), ("--namespaced=false", &[])] {
        let kinds = kubectl(&["api-resources", "--verbs=list", namespaced, "-o", "name"]).await?;
        let kinds: Vec<_> = kinds.lines().filter(|kind| !kind.starts_with("events")).collect();
        let kinds = kinds.join(",");
        let objects = kubectl(&[place, &["get", &kinds, "-o", "name", "--ignore-not-found"]].concat()).await?;
        let ours =
            |object: &&str| object.contains("ravelin") && !THE_CLUSTERS.iter().any(|theirs| object.starts_with(theirs));
        left.extend(objects.lines().filter(ours).map(|object| format!("{object}\n")));
    }
    Ok(left)
}
