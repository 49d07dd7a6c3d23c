//! Rights are least: what the controller asks an API server for is what it is granted, and nothing else is.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use ravelin_e2e::{Gateway, kubectl};
use serde_json::Value;

/// What the code asks for: where, group, resource, verb, and the names that it asks for if it knows them.
const ASKED: &[(&str, &str, &str, &[&str], &str)] = &[
    // The watches, and the policies' list for routes that wait.
    (
        "cluster",
        "ravelin.dev",
        "apiroutes backends backendpolicies authpolicies ratelimitpolicies plans",
        &["list", "watch"],
        "",
    ),
    ("cluster", "", "services secrets configmaps", &["list", "watch"], ""),
    ("cluster", "discovery.k8s.io", "endpointslices", &["list", "watch"], ""),
    ("cluster", "gateway.networking.k8s.io", "referencegrants", &["list", "watch"], ""),
    // Statuses, by server-side apply.
    (
        "cluster",
        "ravelin.dev",
        "apiroutes/status backends/status backendpolicies/status authpolicies/status ratelimitpolicies/status plans/status",
        &["patch"],
        "",
    ),
    // How old the installed CRDs are.
    (
        "cluster",
        "apiextensions.k8s.io",
        "customresourcedefinitions",
        &["get"],
        "apiroutes.ravelin.dev backends.ravelin.dev backendpolicies.ravelin.dev authpolicies.ravelin.dev ratelimitpolicies.ravelin.dev plans.ravelin.dev",
    ),
    // The leader's Lease, and each replica's own.
    ("namespace", "coordination.k8s.io", "leases", &["get", "update"], "ravelin"),
    ("namespace", "coordination.k8s.io", "leases", &["list", "watch", "create", "patch"], ""),
    ("namespace", "", "pods", &["list", "watch"], ""),
];

#[tokio::test]
async fn what_is_granted_is_what_is_asked_for() -> Result<()> {
    let gateway = Gateway::installed().await?;
    let mut asked = BTreeSet::new();
    for (place, group, resources, verbs, names) in ASKED {
        for resource in resources.split(' ') {
            asked.extend(verbs.iter().flat_map(|verb| {
                names.split(' ').map(move |name| format!("{place} {group}/{resource} {verb} {name}"))
            }));
        }
    }
    assert_eq!(granted().await?, asked);
    for pod in gateway.ready(2).await? {
        let log = pod.log("controller").await?;
        assert!(!log.to_lowercase().contains("forbidden"), "something is asked for that is not granted:\n{log}");
    }
    Ok(())
}

#[tokio::test]
async fn the_data_plane_has_no_token_and_the_pod_is_restricted() -> Result<()> {
    Gateway::installed().await?;
    let deployment = kubectl(&["-n", Gateway::NAMESPACE, "get", "deployment", "ravelin", "-o", "json"]).await?;
    let pod = &serde_json::from_str::<Value>(&deployment)?["spec"]["template"]["spec"];
    assert_eq!(pod["automountServiceAccountToken"], false);
    let containers = pod["containers"].as_array().context("no containers")?;
    let dataplane = containers.iter().find(|container| container["name"] == "dataplane").context("no data plane")?;
    assert!(!dataplane["volumeMounts"].to_string().contains("token"), "{dataplane}");
    // The API server's own judgement of the whole namespace.
    let label = ["label", "namespace", Gateway::NAMESPACE, "pod-security.kubernetes.io/enforce=restricted"];
    let (judged, said) =
        ravelin_e2e::try_kubectl(&[&label[..], &["--dry-run=server", "--overwrite"]].concat(), "").await?;
    assert!(judged && !said.contains("violat"), "{said}");
    Ok(())
}

/// Every rule of every role that our service account is bound to.
async fn granted() -> Result<BTreeSet<String>> {
    let mut granted = BTreeSet::new();
    for (place, bindings, role) in
        [("cluster", "clusterrolebindings", "clusterrole"), ("namespace", "rolebindings", "role")]
    {
        let list: Value = serde_json::from_str(&kubectl(&["get", bindings, "-A", "-o", "json"]).await?)?;
        for binding in list["items"].as_array().context("no items")? {
            let ours =
                |subject: &Value| subject["kind"] == "ServiceAccount" && subject["namespace"] == Gateway::NAMESPACE;
            if !binding["subjects"].as_array().is_some_and(|subjects| subjects.iter().any(ours)) {
                continue;
            }
            let name = binding["roleRef"]["name"].as_str().context("no role")?;
            let rules = kubectl(&["-n", Gateway::NAMESPACE, "get", role, name, "-o", "json"]).await?;
            let rules: Value = serde_json::from_str(&rules)?;
            for rule in rules["rules"].as_array().context("no rules")? {
                granted.extend(flat(place, rule));
            }
        }
    }
    Ok(granted)
}

fn flat(place: &str, rule: &Value) -> BTreeSet<String> {
    let texts = |field: &str| -> Vec<String> {
        let values = rule[field].as_array().map(Vec::as_slice).unwrap_or_default();
        values.iter().filter_map(|value| Some(value.as_str()?.to_owned())).collect()
    };
    let names = match texts("resourceNames") {
        names if names.is_empty() => vec![String::new()],
        names => names,
    };
    let mut flat = BTreeSet::new();
    for group in texts("apiGroups") {
        for resource in texts("resources") {
            for verb in texts("verbs") {
                flat.extend(names.iter().map(|name| format!("{place} {group}/{resource} {verb} {name}")));
            }
        }
    }
    flat.extend(texts("nonResourceURLs"));
    flat
}
