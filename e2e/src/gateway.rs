//! The installed chart.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result};
use ravelin_echo::client::{Answer, ClientError, get};
use serde_json::Value;

use crate::{eventually, expect, helm, kubectl, shell};

/// The release and the namespace that all tests share.
const RELEASE: &str = "ravelin";
const NAMESPACE: &str = "ravelin-system";

/// Two replicas behind a load balancer.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// Of the load balancer, port 80.
    pub address: SocketAddr,
}

/// One replica.
#[derive(Clone, Debug)]
pub struct Pod {
    pub name: String,
    /// Its data plane's own address.
    pub address: SocketAddr,
    /// Its data plane's health, readiness and metrics.
    pub probe: SocketAddr,
    pub ready: bool,
    pub controller: Container,
    pub dataplane: Container,
}

#[derive(Clone, Debug)]
pub struct Container {
    /// As the runtime names it.
    pub id: String,
    pub restarts: u64,
}

impl Gateway {
    pub const NAMESPACE: &'static str = NAMESPACE;

    /// Installs the chart unless it is installed, and waits until it is ready.
    pub async fn installed() -> Result<Self> {
        Self::helm(&[]).await?;
        let address = eventually("an address of the load balancer", || async {
            let path = "jsonpath={.status.loadBalancer.ingress[0].ip}";
            let address = kubectl(&["-n", NAMESPACE, "get", "service", RELEASE, "-o", path]).await?;
            address.parse::<IpAddr>().context("none yet")
        })
        .await?;
        let gateway = Self { address: SocketAddr::new(address, 80) };
        // The load balancer's rules follow the endpoints.
        eventually("an answer of the gateway", || async { Ok(get(gateway.address, "nowhere.example", "/").await?) })
            .await?;
        Ok(gateway)
    }

    /// `helm upgrade --install`, with more flags.
    pub async fn helm(flags: &[&str]) -> Result<String> {
        let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/ravelin");
        let mut command = vec!["upgrade", "--install", RELEASE, chart, "--namespace", NAMESPACE, "--create-namespace"];
        command.extend(["--set", "image.repository=ravelin", "--set", "image.tag=dev", "--wait", "--timeout", "5m"]);
        command.extend(flags);
        helm(&command).await
    }

    pub async fn uninstall() -> Result<String> {
        helm(&["uninstall", RELEASE, "--namespace", NAMESPACE, "--wait", "--timeout", "3m"]).await
    }

    /// One GET over a fresh connection.
    pub async fn get(&self, host: &str, path: &str) -> Result<Answer, ClientError> {
        get(self.address, host, path).await
    }

    /// One GET, for its status.
    pub async fn status(&self, host: &str, path: &str) -> Result<u16> {
        Ok(self.get(host, path).await?.status.as_u16())
    }

    /// Waits for an answer with this status.
    pub async fn answers(&self, host: &str, path: &str, status: u16) -> Result<Answer> {
        eventually(&format!("{status} from {host}{path}"), || async {
            let answer = self.get(host, path).await?;
            expect(answer.status == status, || format!("{} {}", answer.status, answer.text()))?;
            Ok(answer)
        })
        .await
    }

    /// Its replicas, but for those on their way out.
    pub async fn pods(&self) -> Result<Vec<Pod>> {
        let selector = "app.kubernetes.io/name=ravelin,app.kubernetes.io/instance=ravelin";
        let list = kubectl(&["-n", NAMESPACE, "get", "pods", "-l", selector, "-o", "json"]).await?;
        let list: Value = serde_json::from_str(&list)?;
        let pods = list["items"].as_array().context("no items")?;
        pods.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()).map(pod).collect()
    }

    /// Ready replicas, as many as were asked for.
    pub async fn ready(&self, count: usize) -> Result<Vec<Pod>> {
        eventually(&format!("{count} ready replicas"), || async {
            let pods = self.pods().await?;
            expect(pods.len() == count && pods.iter().all(|pod| pod.ready), || format!("{pods:?}"))?;
            Ok(pods)
        })
        .await
    }
}

fn pod(pod: &Value) -> Result<Pod> {
    let status = &pod["status"];
    let ip: IpAddr = status["podIP"].as_str().unwrap_or("0.0.0.0").parse()?;
    let conditions = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let container = |name: &str| {
        let statuses = status["containerStatuses"].as_array().map(Vec::as_slice).unwrap_or_default();
        let status = statuses.iter().find(|status| status["name"] == name);
        let text = |field: &str| status.and_then(|status| status[field].as_str()).unwrap_or_default();
        Container {
            id: text("containerID").rsplit('/').next().unwrap_or_default().to_owned(),
            restarts: status.and_then(|status| status["restartCount"].as_u64()).unwrap_or_default(),
        }
    };
    Ok(Pod {
        name: pod["metadata"]["name"].as_str().context("no name")?.to_owned(),
        address: SocketAddr::new(ip, 8080),
        probe: SocketAddr::new(ip, 9900),
        ready: conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True"),
        controller: container("controller"),
        dataplane: container("dataplane"),
    })
}

impl Pod {
    /// What a container of it has logged.
    pub async fn log(&self, container: &str) -> Result<String> {
        shell::run("kubectl", &["-n", NAMESPACE, "logs", &self.name, "-c", container], "").await
    }

    /// Whether its data plane says it may be sent requests, and what it says.
    pub async fn readyz(&self) -> Result<(bool, String)> {
        let answer = get(self.probe, "probe", "/readyz").await?;
        Ok((answer.status.is_success(), answer.text()))
    }

    /// Its data plane's metrics.
    pub async fn metrics(&self) -> Result<String> {
        Ok(get(self.probe, "probe", "/metrics").await?.text())
    }
}
