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

/// Every object of every kind that lists, in the release's namespace and outside of namespaces, that has our label or name.
async fn left() -> Result<String> {
    let mut left = String::new();
    for scope in ["true", "false"] {
        let namespaced = format!("--namespaced={scope}");
        let kinds = kubectl(&["api-resources", "--verbs=list", &namespaced, "-o", "name"]).await?;
        for kind in
            kinds.lines().filter(|kind| !kind.starts_with("customresourcedefinitions") && !kind.starts_with("events"))
        {
            let objects = match scope {
                "true" => kubectl(&["-n", Gateway::NAMESPACE, "get", kind, "-o", "name", "--ignore-not-found"]).await?,
                _ => kubectl(&["get", kind, "-o", "name", "--ignore-not-found"]).await?,
            };
            let ours = |object: &&str| object.contains("ravelin") && !object.starts_with("namespace/");
            left.extend(objects.lines().filter(ours).map(|object| format!("{object}\n")));
        }
    }
    Ok(left)
}
