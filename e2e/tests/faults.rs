//! What dies or hangs loses nothing: a controller, its container, a data plane, the API server.

use std::time::Duration;

use anyhow::Result;
use ravelin_e2e::{Gateway, Namespace, Node, eventually, expect};
use ravelin_echo::client::{Load, Protocol, Pulse, get};

async fn served(name: &str, host: &str) -> Result<(Gateway, Namespace)> {
    let gateway = Gateway::installed().await?;
    gateway.ready(2).await?;
    let shop = Namespace::fresh(name).await?;
    shop.echo("orders", 2).await?;
    shop.route("orders", host, "orders").await?;
    shop.wait("apiroute/orders", "Programmed").await?;
    gateway.answers(host, "/", 200).await?;
    Ok((gateway, shop))
}

#[tokio::test]
async fn a_killed_controller_costs_no_readiness_no_request_and_no_tunnel() -> Result<()> {
    let host = "orders.killed.example";
    let (gateway, shop) = served("e2e-killed", host).await?;
    let load = Load::to(gateway.address, Protocol::Http1).host(host).start();
    let pulse = Pulse::start(gateway.address, host, "/socket", Duration::from_millis(50)).await?;

    for pod in gateway.ready(2).await? {
        Node::kill_controller(&pod).await?;
        load.more(500).await;
        let now = gateway.ready(2).await?;
        let same = now.iter().find(|now| now.name == pod.name);
        expect(same.is_some_and(|now| now.controller.restarts == pod.controller.restarts), || format!("{now:?}"))?;
    }
    pulse.stop().await?;
    load.stop().await.assert_no_request_lost();

    // And the new ones do their work.
    shop.route("orders", host, "nobody").await?;
    shop.says("apiroute/orders", "ResolvedRefs", "False", "BackendNotFound").await?;
    shop.remove().await
}

#[tokio::test]
async fn a_killed_controller_container_comes_back_and_loses_no_request() -> Result<()> {
    let host = "orders.container.example";
    let (gateway, shop) = served("e2e-container", host).await?;
    let load = Load::to(gateway.address, Protocol::Http1).host(host).start();

    let pod = gateway.ready(2).await?.remove(0);
    Node::kill(&pod.controller).await?;
    eventually("the container is started again", || async {
        let now = gateway.pods().await?;
        let restarts = now.iter().find(|now| now.name == pod.name).map(|now| now.controller.restarts);
        expect(restarts > Some(pod.controller.restarts), || format!("{now:?}"))
    })
    .await?;
    gateway.ready(2).await?;
    load.more(200).await;

    load.stop().await.assert_no_request_lost();
    shop.remove().await
}

#[tokio::test]
async fn without_the_api_server_a_data_plane_that_restarts_serves_the_last_snapshot_and_says_so() -> Result<()> {
    let host = "orders.outage.example";
    let (gateway, shop) = served("e2e-outage", host).await?;
    let pod = gateway.ready(2).await?.remove(0);

    Node::stop_api_server().await?;
    let outcome = restart_both(&pod, host).await;
    Node::resume_api_server().await?;
    outcome?;

    gateway.ready(2).await?;
    // What was missed meanwhile is caught up with.
    shop.route("later", "later.outage.example", "orders").await?;
    shop.says("apiroute/later", "Programmed", "True", "Programmed").await?;
    shop.remove().await
}

/// Kills both halves of a replica, so that no controller can tell the data plane anything, and looks at the data plane.
async fn restart_both(pod: &ravelin_e2e::Pod, host: &str) -> Result<()> {
    Node::kill(&pod.controller).await?;
    Node::kill(&pod.dataplane).await?;
    eventually("the data plane is back", || async {
        let answer = get(pod.address, host, "/").await?;
        expect(answer.status == 200, || answer.text())?;
        let metrics = pod.metrics().await?;
        let kept = metrics.lines().find(|line| line.starts_with("ravelin_snapshot_from_disk"));
        expect(kept.is_some_and(|line| line.ends_with(" 1")), || format!("it does not say so: {kept:?}"))
    })
    .await
}
