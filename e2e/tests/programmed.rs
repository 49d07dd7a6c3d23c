//! `Programmed` is the truth: once it is true, no replica gives an older answer.

use anyhow::Result;
use ravelin_e2e::{Gateway, Namespace};
use ravelin_echo::client::get;

#[tokio::test]
async fn after_kubectl_wait_no_replica_gives_an_older_answer() -> Result<()> {
    let gateway = Gateway::installed().await?;
    let pods = gateway.ready(2).await?;
    let shop = Namespace::fresh("e2e-programmed").await?;
    for generation in 1..=20 {
        shop.apply(&format!(
            "apiVersion: ravelin.dev/v1alpha1\nkind: ApiRoute\nmetadata: {{name: version}}\nspec:\n  hostnames: [version.example]\n  \
             rules:\n  - filters: [{{directResponse: {{status: 200, body: 'version {generation}'}}}}]\n"
        ))
        .await?;
        shop.wait("apiroute/version", "Programmed").await?;
        for pod in &pods {
            for _ in 0..10 {
                let answer = get(pod.address, "version.example", "/").await?;
                assert_eq!(answer.text(), format!("version {generation}"), "{}", pod.name);
            }
        }
    }
    shop.remove().await
}
