//! The node of the cluster, seen from the machine that it runs on: faults are made there.

use anyhow::{Context, Result};

use crate::{Pod, eventually, expect, gateway::Container, shell};

/// Signals to processes of the node, by `node.sh`.
pub struct Node;

impl Node {
    /// The first process of a container, and those that it started.
    pub async fn processes(container: &Container) -> Result<Vec<u32>> {
        let pids = node(&["pids", &container.id]).await?;
        pids.split_whitespace().map(|pid| pid.parse().context("no process id")).collect()
    }

    pub async fn signal(signal: &str, process: u32) -> Result<()> {
        node(&["signal", signal, &process.to_string()]).await.map(drop)
    }

    /// The API server hangs until [`Node::resume_api_server`]: it takes connections and answers nothing.
    pub async fn stop_api_server() -> Result<()> {
        node(&["apiserver", "STOP"]).await.map(drop)
    }

    pub async fn resume_api_server() -> Result<()> {
        node(&["apiserver", "CONT"]).await.map(drop)
    }

    /// Kills what the supervisor of this replica's controller looks after, and not the supervisor.
    pub async fn kill_controller(pod: &Pod) -> Result<()> {
        let processes = Self::processes(&pod.controller).await?;
        expect(processes.len() == 2, || format!("not a supervisor and its child: {processes:?}"))?;
        Self::signal("KILL", processes[1]).await?;
        eventually("another controller", || async {
            let now = Self::processes(&pod.controller).await?;
            expect(now.len() == 2 && now[1] != processes[1], || format!("{now:?}"))
        })
        .await
    }

    /// Kills a container, as a crash does.
    pub async fn kill(container: &Container) -> Result<()> {
        let processes = Self::processes(container).await?;
        Self::signal("KILL", *processes.first().context("the container does not run")?).await
    }
}

async fn node(arguments: &[&str]) -> Result<String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/node.sh");
    shell::run(script, arguments, "").await
}
