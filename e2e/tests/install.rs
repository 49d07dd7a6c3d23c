//! The chart installs with two replicas, and a route is reached, edited, broken and repaired through its load balancer.

use anyhow::Result;
use ravelin_e2e::{Gateway, Namespace};

#[tokio::test]
async fn a_route_is_reached_through_the_load_balancer_and_its_conditions_say_so() -> Result<()> {
    let gateway = Gateway::installed().await?;
    assert_eq!(gateway.ready(2).await?.len(), 2);
    let shop = Namespace::fresh("e2e-install").await?;
    shop.echo("orders", 2).await?;
    shop.route("orders", "orders.install.example", "orders").await?;
    for condition in ["Accepted", "ResolvedRefs", "Programmed"] {
        shop.wait("apiroute/orders", condition).await?;
    }
    let answer = gateway.get("orders.install.example", "/cart?x=1").await?;
    assert_eq!((answer.status.as_u16(), answer.json()["path"].as_str()), (200, Some("/cart")));
    assert_eq!(gateway.status("elsewhere.install.example", "/").await?, 404);
    shop.remove().await
}

#[tokio::test]
async fn an_edit_is_live_once_its_generation_is_programmed() -> Result<()> {
    let gateway = Gateway::installed().await?;
    let shop = Namespace::fresh("e2e-edit").await?;
    shop.echo("blue", 1).await?;
    shop.echo("green", 1).await?;
    for round in 0..10 {
        let service = if round % 2 == 0 { "blue" } else { "green" };
        shop.route("app", "app.edit.example", service).await?;
        shop.says("apiroute/app", "Programmed", "True", "Programmed").await?;
        let answer = gateway.get("app.edit.example", "/").await?;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let name = answer.json()["server"].as_str().unwrap_or_default().to_owned();
        assert!(name.starts_with(service), "round {round}: {name} answered, not {service}");
    }
    shop.remove().await
}

#[tokio::test]
async fn a_broken_edit_says_why_answers_500_and_is_repaired() -> Result<()> {
    let gateway = Gateway::installed().await?;
    let shop = Namespace::fresh("e2e-broken").await?;
    shop.echo("orders", 1).await?;
    shop.route("orders", "orders.broken.example", "orders").await?;
    gateway.answers("orders.broken.example", "/", 200).await?;

    shop.route("orders", "orders.broken.example", "nobody").await?;
    let said = shop.says("apiroute/orders", "ResolvedRefs", "False", "BackendNotFound").await?;
    assert!(said["message"].as_str().is_some_and(|message| message.contains("nobody")), "{said}");
    let answer = gateway.answers("orders.broken.example", "/", 500).await?;
    assert_eq!(answer.json()["reason"], "backend_invalid");

    shop.route("orders", "orders.broken.example", "orders").await?;
    shop.says("apiroute/orders", "ResolvedRefs", "True", "ResolvedRefs").await?;
    gateway.answers("orders.broken.example", "/", 200).await?;
    shop.remove().await
}
