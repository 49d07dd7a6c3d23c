//! A backend scales and rolls under load, and no request is lost.

use anyhow::Result;
use ravelin_e2e::{Gateway, Namespace, kubectl};
use ravelin_echo::client::{Load, Protocol};

#[tokio::test]
async fn a_backend_scales_up_and_down_and_rolls_out_under_load_without_a_failed_request() -> Result<()> {
    let gateway = Gateway::installed().await?;
    let shop = Namespace::fresh("e2e-scale").await?;
    shop.echo("orders", 3).await?;
    shop.route("orders", "orders.scale.example", "orders").await?;
    shop.wait("apiroute/orders", "Programmed").await?;
    let load = |protocol| Load::to(gateway.address, protocol).host("orders.scale.example").rate(50).connections(4);
    let loads = [load(Protocol::Http1).start(), load(Protocol::Http2).start()];

    shop.scale("orders", 10).await?;
    shop.scale("orders", 3).await?;
    kubectl(&["-n", &shop.name, "rollout", "restart", "deployment/orders"]).await?;
    shop.rolled_out("orders").await?;
    // The last of the old pods are still going.
    for load in &loads {
        load.more(500).await;
    }

    for load in loads {
        load.stop().await.assert_no_request_lost();
    }
    shop.remove().await
}
