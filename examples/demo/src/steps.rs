//! The chapters of the demo. Each checks what it shows: the demo fails when the gateway does.

use anyhow::ensure;
use http::Request;
use ravelin_echo::client::{self, Answer, Client, Load, Protocol};

use crate::{
    gateway::Gateway,
    show::{answer, command, heading, says},
};

const HOST: &str = "shop.example";

pub(crate) async fn all(gateway: &Gateway) -> anyhow::Result<()> {
    route(gateway).await?;
    split(gateway).await?;
    rewrite(gateway).await?;
    key(gateway).await?;
    limit(gateway).await?;
    live_edit(gateway).await?;
    broken_edit(gateway).await?;
    explain(gateway).await
}

/// Shows the request as one would type it, and sends it.
async fn get(gateway: &Gateway, path: &str, header: Option<(&str, &str)>) -> anyhow::Result<Answer> {
    let shown = header.map(|(name, _)| format!("-H '{name}: ...' ")).unwrap_or_default();
    command(&format!("curl -H 'Host: {HOST}' {shown}http://{}{path}", gateway.http));
    let mut client = Client::connect(gateway.http, Protocol::Http1).await?.with_host(HOST);
    Ok(client.get_with(path, header.as_slice()).await?)
}

fn expect(answer: &Answer, status: u16) -> anyhow::Result<()> {
    ensure!(answer.status == status, "{status} was expected: {} {}", answer.status, answer.text());
    Ok(())
}

async fn route(gateway: &Gateway) -> anyhow::Result<()> {
    heading(1, "A route", "An ApiRoute in a file is live as soon as the file is there.");
    let found = get(gateway, "/", None).await?;
    answer(&found, &["content-type", "x-request-id"]);
    says(&found.text());
    expect(&found, 200)
}

async fn split(gateway: &Gateway) -> anyhow::Result<()> {
    heading(2, "A weighted split", "90 to 10, exact over time and not by chance.");
    command(&format!("100 times: curl -H 'Host: {HOST}' http://{}/orders/1", gateway.http));
    let mut client = Client::connect(gateway.http, Protocol::Http1).await?.with_host(HOST);
    let mut second = 0;
    for _ in 0..100 {
        let found = client.get("/orders/1").await?;
        expect(&found, 200)?;
        second += usize::from(found.json()["server"] == "orders-v2");
    }
    says(&format!("orders-v1 answered {} times, orders-v2 {second} times", 100 - second));
    ensure!((9..=11).contains(&second), "10 of 100 were expected at orders-v2");
    Ok(())
}

async fn rewrite(gateway: &Gateway) -> anyhow::Result<()> {
    heading(3, "A rewrite", "The old path goes on; the backend sees the new one.");
    let found = get(gateway, "/shop/v0/orders/7", None).await?;
    answer(&found, &[]);
    let path = found.json()["path"].clone();
    ensure!(path == "/orders/7", "the backend saw {path}");
    says("the backend saw /orders/7");
    expect(&found, 200)
}

async fn key(gateway: &Gateway) -> anyhow::Result<()> {
    heading(4, "An API key", "Keys are Secrets that hold a digest: the key itself is printed once and stored nowhere.");
    let found = get(gateway, "/reports/march", None).await?;
    answer(&found, &["www-authenticate"]);
    expect(&found, 401)?;
    command("ravelin key new --id acme --label app=shop > key.yaml");
    let made = gateway.ravelin(&["key", "new", "--id", "acme", "--label", "app=shop"]).await?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    // The manifest is for the folder, the key for its owner.
    let (manifest, told) = (String::from_utf8(made.stdout)?, String::from_utf8(made.stderr)?);
    let key = told.split_whitespace().find(|word| word.starts_with("rk_")).unwrap_or_default().to_owned();
    ensure!(!key.is_empty(), "no key was printed: {told}");
    let before = revision(gateway).await?;
    gateway.write("key.yaml", &manifest)?;
    gateway.objects(|objects| objects["revision"].as_u64() > before).await?;
    let found = get(gateway, "/reports/march", Some(("x-api-key", &key))).await?;
    answer(&found, &[]);
    expect(&found, 200)?;
    let headers = &found.json()["headers"];
    ensure!(headers["x-caller"][0] == "acme" && headers.get("x-api-key").is_none(), "the backend saw {headers}");
    says("the backend saw x-caller: acme, and no key");
    Ok(())
}

async fn revision(gateway: &Gateway) -> anyhow::Result<Option<u64>> {
    Ok(gateway.objects(|_| true).await?["revision"].as_u64())
}

async fn limit(gateway: &Gateway) -> anyhow::Result<()> {
    heading(5, "A rate limit", "Five at once and one a second for each client; a refusal says when to come again.");
    for _ in 0..5 {
        expect(&client::get(gateway.http, HOST, "/search?q=boots").await?, 200)?;
    }
    says("five requests: 200");
    let found = get(gateway, "/search?q=boots", None).await?;
    answer(&found, &["ratelimit-policy", "ratelimit", "retry-after"]);
    expect(&found, 429)
}

async fn live_edit(gateway: &Gateway) -> anyhow::Result<()> {
    heading(6, "A live edit under load", "All traffic moves to orders-v2 while 300 requests a second come in.");
    let make = |_| {
        // Invariant: a constant request is well-formed.
        Request::get("/orders/1").body(bytes::Bytes::new()).expect("a constant request (invariant)")
    };
    let load = Load::to(gateway.http, Protocol::Http1).host(HOST).rate(300).connections(8).requests(make).start();
    load.more(150).await;
    let before = revision(gateway).await?;
    command("sed -i 's/weight: 90/weight: 0/' routes.yaml");
    gateway.edit("routes.yaml", "weight: 90", "weight: 0")?;
    gateway.objects(|objects| objects["revision"].as_u64() > before).await?;
    let found = client::get(gateway.http, HOST, "/orders/1").await?;
    load.more(150).await;
    let report = load.stop().await;
    says(&format!("{report}"));
    report.assert_no_request_lost();
    ensure!(found.json()["server"] == "orders-v2", "the edit is not live");
    says("and orders-v2 answers now");
    ensure!(report.statuses.keys().eq([&200]), "other answers than 200: {report}");
    Ok(())
}

async fn broken_edit(gateway: &Gateway) -> anyhow::Result<()> {
    heading(7, "A broken edit", "It is refused as a whole, the good state goes on, and the error says what to do.");
    command("sed -i 's/weight: 10/wieght: 10/' routes.yaml");
    gateway.edit("routes.yaml", "weight: 10", "wieght: 10")?;
    let objects = gateway.objects(|objects| !findings(objects).is_empty()).await?;
    for finding in findings(&objects) {
        let word = |name: &str| finding[name].as_str().unwrap_or_default().to_owned();
        says(&format!("{}: {} ({})", word("field"), word("message"), word("reason")));
        says(&word("remedy"));
    }
    let found = get(gateway, "/orders/1", None).await?;
    answer(&found, &[]);
    expect(&found, 200)?;
    gateway.edit("routes.yaml", "wieght: 10", "weight: 10")?;
    gateway.objects(|objects| findings(objects).is_empty()).await?;
    says("repaired: no findings are left");
    Ok(())
}

fn findings(objects: &serde_json::Value) -> Vec<&serde_json::Value> {
    let all = objects["objects"].as_array().into_iter().flatten();
    all.flat_map(|object| object["findings"].as_array().into_iter().flatten())
        .filter(|finding| finding["severity"] == "error")
        .collect()
}

async fn explain(gateway: &Gateway) -> anyhow::Result<()> {
    heading(8, "Explain", "Which rule a request meets, and why, before anyone sends it.");
    command("ravelin explain . GET http://shop.example/reports/march");
    let folder = gateway.shop.display().to_string();
    let said = gateway.ravelin(&["explain", &folder, "GET", "http://shop.example/reports/march"]).await?;
    says(&String::from_utf8_lossy(&said.stdout));
    ensure!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    Ok(())
}
