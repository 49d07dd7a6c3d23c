//! Applies a status.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use kube::{
    Api, Client,
    api::{DynamicObject, Patch, PatchParams},
    core::ApiResource,
};
use ravelin_crds as crds;
use serde_json::json;
use tokio::time::timeout;

use super::conditions::{Wanted, Written, parents};
use crate::object::{Kind, ObjectRef};

/// A write that takes longer is given up, and tried again.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct Writer {
    client: Client,
    kinds: BTreeMap<Kind, ApiResource>,
}

impl Writer {
    pub(super) fn new(client: Client) -> Self {
        let kinds = [
            (Kind::ApiRoute, ApiResource::erase::<crds::ApiRoute>(&())),
            (Kind::Backend, ApiResource::erase::<crds::Backend>(&())),
            (Kind::BackendPolicy, ApiResource::erase::<crds::BackendPolicy>(&())),
            (Kind::AuthPolicy, ApiResource::erase::<crds::AuthPolicy>(&())),
            (Kind::RateLimitPolicy, ApiResource::erase::<crds::RateLimitPolicy>(&())),
            (Kind::Plan, ApiResource::erase::<crds::Plan>(&())),
        ];
        Self { client, kinds: kinds.into() }
    }

    /// Says whether the API server took it. An object that is gone meanwhile needs no status.
    pub(super) async fn write(
        &self,
        object: &ObjectRef,
        wanted: &Wanted,
        written: &Written,
        references: &[crds::ParentReference],
    ) -> bool {
        let Some(resource) = self.kinds.get(&object.kind) else { return true };
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &object.key.namespace, resource);
        let conditions = wanted.conditions(written, Timestamp::now());
        let mut status = json!({ "conditions": conditions });
        if !references.is_empty() {
            status["parents"] = json!(parents(references, &conditions));
        }
        let apply = Patch::Apply(json!({
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {"name": object.key.name, "namespace": object.key.namespace},
            "status": status,
        }));
        let params = PatchParams::apply("ravelin").force();
        match timeout(PATIENCE, api.patch_status(&object.key.name, &params, &apply)).await {
            Ok(Ok(_)) => true,
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => true,
            Ok(Err(error)) => {
                tracing::warn!(%object, %error, "a status was not written");
                false
            }
            Err(_) => {
                tracing::warn!(%object, "a status was not written: no answer");
                false
            }
        }
    }
}
