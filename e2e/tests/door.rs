//! Who applies a policy before its route is never open in between.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use ravelin_e2e::{DEADLINE, Gateway, Namespace};
use ravelin_echo::client::{Client, Protocol};
use tokio::{task::JoinSet, time::timeout};

const ROUNDS: usize = 200;

/// The policy first: kubectl creates them in this order.
fn manifest(round: usize) -> String {
    format!(
        "apiVersion: ravelin.dev/v1alpha1\nkind: AuthPolicy\nmetadata: {{name: p{round}}}\nspec:\n  targetRefs: [{{kind: ApiRoute, name: r{round}}}]\n  \
         network: {{deny: [0.0.0.0/0, '::/0']}}\n---\n\
         apiVersion: ravelin.dev/v1alpha1\nkind: ApiRoute\nmetadata: {{name: r{round}}}\nspec:\n  hostnames: [r{round}.door.example]\n  \
         rules:\n  - filters: [{{directResponse: {{status: 200, body: open}}}}]\n"
    )
}

#[tokio::test]
async fn a_policy_that_was_applied_before_its_route_is_in_force_from_the_first_request() -> Result<()> {
    let gateway = Gateway::installed().await?;
    let shop = Namespace::fresh("e2e-door").await?;
    let pods = gateway.ready(2).await?;
    for round in 0..ROUNDS {
        let mut visitors = JoinSet::new();
        for pod in &pods {
            visitors.spawn(timeout(DEADLINE, knock(pod.address, round)));
        }
        shop.apply(&manifest(round)).await?;
        while let Some(visitor) = visitors.join_next().await {
            visitor?.with_context(|| format!("round {round}: the route does not come"))??;
        }
    }
    shop.remove().await
}

/// Asks without a pause until the policy refuses it: before, there is no route, and never an answer of it.
async fn knock(address: SocketAddr, round: usize) -> Result<()> {
    let mut client = Client::connect(address, Protocol::Http2).await?.with_host(&format!("r{round}.door.example"));
    loop {
        let answer = client.get("/").await?;
        match answer.status.as_u16() {
            404 => {}
            403 => return Ok(()),
            status => bail!("round {round}: the door was open: {status} {}", answer.text()),
        }
    }
}
