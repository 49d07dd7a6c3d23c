//! A folder that is broken when the program starts: what is sound is served, the rest is closed.

use std::{fmt::Write, fs};

use ravelin_echo::{
    Echo,
    client::{self, Client, Protocol},
};

use crate::{
    Gateway, folder,
    gateway::{is_access, replace},
    site,
};

/// A route whose rules answer by themselves: (path, body, more of the rule).
fn route(name: &str, rules: &[(&str, &str, &str)]) -> String {
    let mut text = format!(
        "apiVersion: ravelin.dev/v1alpha1\nkind: ApiRoute\nmetadata: {{name: {name}}}\n\
         spec:\n  hostnames: [{name}.example]\n  rules:\n"
    );
    for (path, body, more) in rules {
        let filter = format!("{{directResponse: {{status: 200, body: \"{body}\"}}}}");
        write!(text, "  - matches: [{{path: {{value: {path}}}}}]\n    filters: [{filter}]\n{more}").unwrap();
    }
    text
}

async fn asked(gateway: &Gateway, host: &str, path: &str) -> (u16, String) {
    let answer = client::get(gateway.http(), host, path).await.unwrap();
    let text = match answer.header("content-type") {
        Some("application/problem+json") => answer.json()["reason"].as_str().unwrap().to_owned(),
        _ => answer.text(),
    };
    (answer.status.as_u16(), text)
}

#[tokio::test]
async fn an_auth_policy_with_an_unknown_field_closes_its_route_and_nothing_else() {
    let policy = "---\napiVersion: ravelin.dev/v1alpha1\nkind: AuthPolicy\nmetadata: {name: p}\n\
                  spec:\n  targetRefs: [{kind: ApiRoute, name: guarded}]\n  mod: Shadow\n";
    let guarded = route("guarded", &[("/", "secret", "")]) + policy;
    let folder = folder(&[("guarded.yaml", &guarded), ("open.yaml", &route("open", &[("/", "open", "")]))]);
    let gateway = Gateway::standalone(folder.path(), &[]).await;
    assert_eq!(asked(&gateway, "guarded.example", "/").await, (503, "policy_invalid".to_owned()));
    assert_eq!(asked(&gateway, "open.example", "/").await, (200, "open".to_owned()));
    let objects = gateway.page("/objects").await.text();
    assert!(objects.contains("unknown field `mod`"), "{objects}");
    let told = gateway.logged("unknown field `mod`").await;
    assert!(told.contains("guarded.yaml"), "{told}");
    let mended = guarded.replace("mod: Shadow", "network: {deny: [10.0.0.0/8]}");
    replace(&folder.path().join("guarded.yaml"), &mended);
    gateway.page_until("/objects", |page| !page.text().contains("unknown field")).await;
    gateway.page_until("/snapshot", |page| page.text().contains("10.0.0.0/8")).await;
    assert_eq!(asked(&gateway, "guarded.example", "/").await, (200, "secret".to_owned()));
    let log = gateway.stop().await.log;
    let times = log.iter().filter(|line| line.contains("unknown field `mod`")).count();
    assert_eq!(times, 1, "a finding is logged once: {log:#?}");
}

#[tokio::test]
async fn a_broken_rule_answers_500_while_its_neighbours_serve() {
    let rules = [("/a", "a", ""), ("/b", "b", "    timeouts: {request: soon}\n"), ("/", "rest", "")];
    let folder = folder(&[("r.yaml", &route("r", &rules))]);
    let gateway = Gateway::standalone(folder.path(), &[]).await;
    assert_eq!(asked(&gateway, "r.example", "/a").await, (200, "a".to_owned()));
    assert_eq!(asked(&gateway, "r.example", "/b/x").await, (500, "route_invalid".to_owned()), "not the wider rule");
    assert_eq!(asked(&gateway, "r.example", "/c").await, (200, "rest".to_owned()));
    drop(gateway);
}

#[tokio::test]
async fn of_10000_routes_of_which_one_is_broken_9999_follow_every_edit() {
    const ROUTES: usize = 10_000;
    const PER_FILE: usize = 10;
    let more = |number| if number == 424 { "    surprise: true\n" } else { "" };
    let file = |file: usize, edit: usize| {
        let routes = (file * PER_FILE..(file + 1) * PER_FILE).map(|number| {
            let body = format!("{number} after {edit}");
            route(&format!("r{number}"), &[("/", &body, more(number))])
        });
        routes.collect::<Vec<_>>().join("---\n")
    };
    let name = |number: usize| format!("f{number}.yaml");
    let folder = folder(&[]);
    for number in 0..ROUTES / PER_FILE {
        replace(&folder.path().join(name(number)), &file(number, 0));
    }
    let gateway = Gateway::standalone(folder.path(), &["--access-log", "off"]).await;
    let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
    // The file of the broken one never passed: what is sound in it follows all the same.
    for (edit, files) in [(0, 0..ROUTES / PER_FILE), (1, 42..43), (2, 7..8), (3, 42..44)] {
        if edit > 0 {
            files.clone().for_each(|number| replace(&folder.path().join(name(number)), &file(number, edit)));
            let marks: Vec<_> = files.clone().map(|number| format!("\"{} after {edit}\"", number * PER_FILE)).collect();
            gateway
                .page_until("/snapshot", |page| {
                    let text = page.text();
                    marks.iter().all(|mark| text.contains(mark))
                })
                .await;
        }
        for number in files.start * PER_FILE..files.end * PER_FILE {
            let host = format!("r{number}.example");
            let answer = client.get_with("/", &[("host", &host)]).await.unwrap();
            if number == 424 {
                assert_eq!((answer.status.as_u16(), &answer.json()["reason"]), (500, &"route_invalid".into()));
            } else {
                assert_eq!((answer.status.as_u16(), answer.text()), (200, format!("{number} after {edit}")));
            }
        }
    }
    assert!(!gateway.log().iter().any(|line| is_access(line)));
}

#[tokio::test]
async fn a_policy_whose_file_becomes_a_link_to_nothing_protects_until_the_link_is_gone() {
    let echo = Echo::on_thread("echo").unwrap();
    let policy = "apiVersion: ravelin.dev/v1alpha1\nkind: AuthPolicy\nmetadata: {name: keys}\n\
                  spec:\n  targetRefs: [{kind: ApiRoute, name: all}]\n  authentication:\n    apiKey: {selector: {matchLabels: {app: shop}}}\n";
    let folder = folder(&[("route.yaml", &site(echo.address())), ("policy.yaml", policy)]);
    let gateway = Gateway::standalone(folder.path(), &[]).await;
    let status = || async { client::get(gateway.http(), "any.example", "/").await.unwrap().status.as_u16() };
    assert_eq!(status().await, 401);
    let file = folder.path().join("policy.yaml");
    std::os::unix::fs::symlink("nothing.yaml", folder.path().join(".next")).unwrap();
    fs::rename(folder.path().join(".next"), &file).unwrap();
    let line = gateway.logged("a link that leads to nothing").await;
    assert!(line.contains("policy.yaml"), "{line}");
    assert_eq!(status().await, 401);
    fs::remove_file(&file).unwrap();
    gateway.page_until("/objects", |page| !page.text().contains("\"keys\"")).await;
    assert_eq!(status().await, 200, "a policy that is deleted protects no longer");
}
