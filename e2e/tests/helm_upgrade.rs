//! `helm upgrade` replaces every pod under load, and no request is lost.

use std::time::SystemTime;

use anyhow::Result;
use ravelin_e2e::{Gateway, Namespace};
use ravelin_echo::client::{Load, Protocol};

#[tokio::test]
async fn a_rolling_upgrade_under_load_loses_no_request() -> Result<()> {
    let gateway = Gateway::installed().await?;
    let before = gateway.ready(2).await?;
    let shop = Namespace::fresh("e2e-upgrade").await?;
    shop.echo("orders", 2).await?;
    shop.route("orders", "orders.upgrade.example", "orders").await?;
    shop.wait("apiroute/orders", "Programmed").await?;
    // A client meets a connection that the gateway has just closed well: it may send an idempotent request again.
    let load = |protocol| {
        Load::to(gateway.address, protocol).host("orders.upgrade.example").rate(50).connections(4).resending()
    };
    let loads = [load(Protocol::Http1).start(), load(Protocol::Http2).start()];

    // Another one in every run, so that every pod is replaced.
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_nanos();
    Gateway::helm(&["--set-string", &format!("podAnnotations.round={now}")]).await?;
    let after = gateway.ready(2).await?;
    assert!(after.iter().all(|new| before.iter().all(|old| old.name != new.name)), "{before:?} {after:?}");
    for load in &loads {
        load.more(300).await;
    }

    for load in loads {
        load.stop().await.assert_no_request_lost();
    }
    shop.remove().await
}
