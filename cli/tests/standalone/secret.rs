//! What is in no log, no page and no metric.

use ravelin_echo::{
    Echo,
    client::{Client, Protocol},
};
use rcgen::{CertificateParams, KeyPair};

use crate::{Gateway, folder, gateway::replace, site};

/// A Secret for `shop.example`, and its chain.
pub(crate) fn tls() -> (String, String) {
    tls_of(&CertificateParams::new(vec!["shop.example".to_owned()]).unwrap())
}

pub(crate) fn tls_of(params: &CertificateParams) -> (String, String) {
    let pair = KeyPair::generate().unwrap();
    let chain = params.self_signed(&pair).unwrap().pem();
    let indent = |pem: &str| pem.lines().map(|line| format!("    {line}\n")).collect::<String>();
    let secret = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: tls}}\ntype: kubernetes.io/tls\nstringData:\n  tls.crt: |\n{}  tls.key: |\n{}",
        indent(&chain),
        indent(&pair.serialize_pem())
    );
    (secret, chain)
}

const SIGNING: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
const HASH: &str = "$2y$04$WvvTPHKwdBJ3uk0Z37EMR.1JAqDrIkTwmEP9eT1zusSukCck2G.9u";

#[tokio::test]
async fn keys_their_digests_and_private_keys_are_in_no_log_and_on_no_page() {
    let echo = Echo::on_thread("echo").unwrap();
    let (tls, _) = tls();
    let sum = "8ed3f6ad685b959ead7022518e1af76cd816f8e8ec7ccdda1ed4018e8f2223f8";
    let key = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: key, labels: {{app: shop}}}}\ntype: ravelin.dev/api-key\n\
         stringData: {{id: acme, sha256: {sum}, plan: gold}}\n---\n\
         apiVersion: v1\nkind: Secret\nmetadata: {{name: other}}\nstringData: {{password: correct-horse-battery}}\n---\n\
         apiVersion: v1\nkind: Secret\nmetadata: {{name: signer, labels: {{app: shop}}}}\ntype: ravelin.dev/hmac-key\n\
         stringData: {{id: signer, key: {SIGNING}}}\n---\n\
         apiVersion: v1\nkind: Secret\nmetadata: {{name: users}}\nstringData: {{auth: 'ada:{HASH}'}}\n---\n\
         apiVersion: v1\nkind: Secret\nmetadata: {{name: rs}}\nstringData: {{clientSecret: client-hush-hush}}\n"
    );
    let policy = "apiVersion: ravelin.dev/v1alpha1\nkind: AuthPolicy\nmetadata: {name: keys}\n\
                  spec:\n  targetRefs: [{kind: ApiRoute, name: all}]\n  authentication:\n    apiKey: {selector: {matchLabels: {app: shop}}}\n    \
                  hmac: {secretSelector: {matchLabels: {app: shop}}}\n    basic: {secretRef: {name: users}}\n    \
                  introspection: {endpoint: 'http://127.0.0.1:1/', clientSecretRef: {name: rs}}\n";
    let route = site(echo.address()).replace(
        "spec:\n  rules",
        "spec:\n  hostnames: [shop.example]\n  tls: {certificateRefs: [{name: tls}]}\n  rules",
    );
    let folder = folder(&[("tls.yaml", &tls), ("key.yaml", &key), ("policy.yaml", policy), ("route.yaml", &route)]);
    let gateway = Gateway::standalone(folder.path(), &["--log-level", "trace"]).await;

    let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap().with_host("shop.example");
    assert_eq!(client.get_with("/", &[("x-api-key", "alpha")]).await.unwrap().status, 200);
    assert_eq!(client.get_with("/", &[("x-api-key", "wrong-hush-hush")]).await.unwrap().status, 401);
    for (header, value, status) in [
        ("authorization", "Bearer opaque-hush-hush", 503),
        ("authorization", "Basic YWRhOndyb25nLXBhc3N3b3Jk", 401),
        ("signature", "sig=:aHVzaGh1c2g=:", 401),
    ] {
        assert_eq!(client.get_with("/", &[(header, value)]).await.unwrap().status, status, "{value}");
    }
    // What is wrong with a Secret is told without what is in it.
    let broken = key.replace(&format!("sha256: {sum}"), "sha256: half-a-digest-8ed3f6");
    replace(&folder.path().join("key.yaml"), &broken);
    let objects = gateway.page_until("/objects", |page| page.text().contains("sha256")).await.text();

    let mut shown = vec![("/objects", objects)];
    for page in [
        "/snapshot",
        "/metrics",
        "/backends",
        "/keys",
        "/objects",
        "/explain?method=GET&url=http://shop.example/&header=x-api-key:%20alpha",
    ] {
        let answer = gateway.page(page).await;
        assert_eq!(answer.status, 200, "{page}");
        shown.push((page, answer.text()));
    }
    shown.push(("the log", gateway.stop().await.log.join("\n")));
    let private = tls.split_once("PRIVATE KEY-----\n").unwrap().1.lines().next().unwrap().trim();
    let own =
        [sum, "half-a-digest", "correct-horse-battery", private, "PRIVATE KEY", SIGNING, HASH, "client-hush-hush"];
    let sent = ["wrong-hush-hush", "opaque-hush-hush", "YWRhOndyb25nLXBhc3N3b3Jk", "wrong-password", "aHVzaGh1c2g"];
    let secrets = own.into_iter().chain(sent);
    for (place, text) in &shown {
        for secret in secrets.clone() {
            assert!(!text.contains(secret), "{place} shows {secret}");
        }
    }
    // Looked at the right thing: both objects are in the table.
    assert!(shown[1].1.contains("\"tls\"") && shown[1].1.contains("acme"), "{}", shown[1].1);
}

#[tokio::test]
async fn who_waits_for_the_revision_of_objects_is_served_by_what_was_changed() {
    let echo = Echo::on_thread("echo").unwrap();
    // Of `alpha` and of `beta`.
    let sums = [
        "8ed3f6ad685b959ead7022518e1af76cd816f8e8ec7ccdda1ed4018e8f2223f8",
        "f44e64e75f3948e9f73f8dfa94721c4ce8cbb4f265c4790c702b2d41cfbf2753",
    ];
    let key = |sum: &str| {
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: key, labels: {{app: shop}}}}\ntype: ravelin.dev/api-key\n\
             stringData: {{id: acme, sha256: {sum}}}\n"
        )
    };
    let policy = "apiVersion: ravelin.dev/v1alpha1\nkind: AuthPolicy\nmetadata: {name: keys}\n\
                  spec:\n  targetRefs: [{kind: ApiRoute, name: all}]\n  authentication:\n    apiKey: {selector: {matchLabels: {app: shop}}}\n";
    let folder = folder(&[("key.yaml", &key(sums[0])), ("policy.yaml", policy), ("route.yaml", &site(echo.address()))]);
    let gateway = Gateway::standalone(folder.path(), &[]).await;
    let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
    let revision = |page: &str| serde_json::from_str::<serde_json::Value>(page).unwrap()["revision"].as_u64().unwrap();
    let mut before = revision(&gateway.page("/objects").await.text());
    for round in 1..=20 {
        replace(&folder.path().join("key.yaml"), &key(sums[round % 2]));
        let page = gateway.page_until("/objects", |page| revision(&page.text()) > before).await;
        before = revision(&page.text());
        let (good, bad) = if round % 2 == 0 { ("alpha", "beta") } else { ("beta", "alpha") };
        assert_eq!(client.get_with("/", &[("x-api-key", good)]).await.unwrap().status, 200, "round {round}");
        assert_eq!(client.get_with("/", &[("x-api-key", bad)]).await.unwrap().status, 401, "round {round}");
    }
}
