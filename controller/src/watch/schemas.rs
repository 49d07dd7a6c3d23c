//! Whether the installed CRDs say all that this program reads. What an older one lacks, the API server drops from what
//! users apply: a policy would be weaker than they said, and nobody would know.

use std::{sync::Arc, time::Duration};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Client};
use ravelin_crds::generate::{self, SCHEMA_DIGEST};
use tokio::{sync::watch, time::sleep};

/// Between two looks.
const PERIOD: Duration = Duration::from_secs(30);
/// While something is wrong.
const SOON: Duration = Duration::from_secs(3);

/// What the installed CRDs lack, in words; empty is nothing.
pub(super) type Lacking = Arc<[String]>;

/// Looks again and again until nobody wants to know. `None` until the first look.
pub(super) async fn run(client: Client, lacking: watch::Sender<Option<Lacking>>) {
    let api = Api::all(client);
    let ours = generate::all();
    while !lacking.is_closed() {
        match look(&api, &ours).await {
            Ok(found) => {
                let pause = if found.is_empty() { PERIOD } else { SOON };
                lacking.send_if_modified(|last| {
                    let news = last.as_deref() != Some(&found);
                    if news && !found.is_empty() {
                        tracing::error!(
                            ?found,
                            "the installed CRDs are older than this program: apply those of its chart"
                        );
                    }
                    *last = Some(found.into());
                    news
                });
                sleep(pause).await;
            }
            Err(error) => {
                tracing::warn!(%error, "the installed CRDs cannot be looked at");
                sleep(SOON).await;
            }
        }
    }
}

async fn look(api: &Api<CustomResourceDefinition>, ours: &[CustomResourceDefinition]) -> kube::Result<Vec<String>> {
    let mut lacking = Vec::new();
    for crd in ours {
        let name = crd.metadata.name.as_deref().unwrap_or_default();
        let Some(installed) = api.get_opt(name).await? else {
            lacking.push(format!("{name} is not installed"));
            continue;
        };
        let digest = |crd: &CustomResourceDefinition| crd.metadata.annotations.as_ref()?.get(SCHEMA_DIGEST).cloned();
        if digest(crd) == digest(&installed) {
            continue;
        }
        // Another digest may be that of a newer one, which lacks nothing.
        let missing = generate::missing_in(&installed);
        if let Some(first) = missing.first() {
            lacking.push(format!("{name} has no {first} ({} such places)", missing.len()));
        }
    }
    Ok(lacking)
}
