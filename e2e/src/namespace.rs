//! A namespace of a test: with backends, routes, and what their statuses say.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{DEADLINE, eventually, expect, kubectl, kubectl_with};

/// It is gone when the next test makes one of the same name; a test that fails leaves it to be looked at.
#[derive(Clone, Debug)]
pub struct Namespace {
    pub name: String,
}

impl Namespace {
    /// A fresh one.
    pub async fn fresh(name: &str) -> Result<Self> {
        kubectl(&["delete", "namespace", name, "--ignore-not-found", "--wait", "--timeout=120s"]).await?;
        kubectl(&["create", "namespace", name]).await?;
        Ok(Self { name: name.to_owned() })
    }

    pub async fn remove(self) -> Result<()> {
        kubectl(&["delete", "namespace", &self.name, "--wait=false"]).await.map(drop)
    }

    /// `kubectl apply`.
    pub async fn apply(&self, manifest: &str) -> Result<String> {
        kubectl_with(&["-n", &self.name, "apply", "-f", "-"], manifest).await
    }

    pub async fn delete(&self, what: &str) -> Result<String> {
        kubectl(&["-n", &self.name, "delete", what, "--wait"]).await
    }

    /// Sample backends with a Service of that name, port 80; returns when all are ready.
    pub async fn echo(&self, name: &str, replicas: u32) -> Result<()> {
        let manifest = include_str!("namespace/echo.yaml");
        self.apply(&manifest.replace("NAME", name).replace("REPLICAS", &replicas.to_string())).await?;
        self.rolled_out(name).await
    }

    pub async fn scale(&self, name: &str, replicas: u32) -> Result<()> {
        let (deployment, replicas) = (format!("deployment/{name}"), format!("--replicas={replicas}"));
        kubectl(&["-n", &self.name, "scale", &deployment, &replicas]).await?;
        self.rolled_out(name).await
    }

    pub async fn rolled_out(&self, name: &str) -> Result<()> {
        let (deployment, timeout) = (format!("deployment/{name}"), format!("--timeout={}s", DEADLINE.as_secs()));
        kubectl(&["-n", &self.name, "rollout", "status", &deployment, &timeout]).await.map(drop)
    }

    /// A route of every path of a host to a Service, applied.
    pub async fn route(&self, name: &str, host: &str, service: &str) -> Result<()> {
        self.apply(&format!(
            "apiVersion: ravelin.dev/v1alpha1\nkind: ApiRoute\nmetadata: {{name: {name}}}\nspec:\n  hostnames: [{host}]\n  \
             rules:\n  - name: all\n    backendRefs: [{{name: {service}, port: 80}}]\n"
        ))
        .await
        .map(drop)
    }

    /// `kubectl wait`, for a condition that is true.
    pub async fn wait(&self, object: &str, condition: &str) -> Result<()> {
        let (condition, timeout) =
            (format!("--for=condition={condition}"), format!("--timeout={}s", DEADLINE.as_secs()));
        kubectl(&["-n", &self.name, "wait", object, &condition, &timeout]).await.map(drop)
    }

    pub async fn get(&self, object: &str) -> Result<Value> {
        Ok(serde_json::from_str(&kubectl(&["-n", &self.name, "get", object, "-o", "json"]).await?)?)
    }

    /// Waits until a condition of an object says this of its present generation, and returns it.
    pub async fn says(&self, object: &str, condition: &str, status: &str, reason: &str) -> Result<Value> {
        eventually(&format!("{object} {condition}: {status}, {reason}"), || async {
            let found = self.condition(object, condition).await?;
            expect(found["status"] == status && found["reason"] == reason, || found.to_string())?;
            Ok(found)
        })
        .await
    }

    /// A condition of an object, if it speaks of the present generation.
    pub async fn condition(&self, object: &str, condition: &str) -> Result<Value> {
        let object = self.get(object).await?;
        let conditions = object["status"]["conditions"].as_array().context("no conditions")?;
        let found = conditions.iter().find(|found| found["type"] == condition).context("no such condition")?;
        expect(found["observedGeneration"] == object["metadata"]["generation"], || format!("it is old: {found}"))?;
        Ok(found.clone())
    }
}
