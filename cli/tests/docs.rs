//! The README and the book, held against the gateway: each YAML block is compiled, each link leads somewhere, and the
//! quickstarts on a laptop are carried out as they stand there, command by command.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "docs/gateway.rs"]
mod gateway;
#[path = "docs/page.rs"]
mod page;
#[path = "docs/paths.rs"]
mod paths;
#[path = "docs/quickstart.rs"]
mod quickstart;
#[path = "docs/source.rs"]
mod source;
#[path = "docs/yaml.rs"]
mod yaml;

use std::{fs, process::Command};

use gateway::Gateway;
use page::{Page, Sort, root};
use ravelin_echo::{Echo, client};

#[test]
fn every_yaml_of_the_readme_and_the_book_says_what_it_claims() {
    let mut wrong = Vec::new();
    for page in Page::all() {
        let mut world = yaml::World::of_the_book();
        for block in &page.blocks {
            let judged = match block.sort {
                Sort::Yaml => world.add(&block.text),
                Sort::Broken => world.refuse(&block.text),
                Sort::HttpRoute => world.refuse_nothing_of(&yaml::migrated(&block.text)),
                Sort::Values => yaml::are_values_of_the_chart(&block.text),
                Sort::Json => {
                    serde_json::from_str::<serde_json::Value>(&block.text).map(drop).map_err(|e| e.to_string())
                }
                Sort::Console | Sort::Text => Ok(()),
                Sort::Unknown => Err("nobody checks a block of this sort".to_owned()),
            };
            wrong.extend(judged.err().map(|why| format!("{}, line {}: {why}", page.name, block.line)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_the_book_says_of_a_broken_object_is_what_check_says() {
    let mut compared = 0;
    for page in Page::all() {
        for pair in page.blocks.windows(2).filter(|pair| pair[0].sort == Sort::Broken && pair[1].sort == Sort::Text) {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("slip.yaml"), &pair[0].text).unwrap();
            let world = root().join("docs/world.yaml");
            let mut check = Command::new(env!("CARGO_BIN_EXE_ravelin"));
            let said = check.arg("check").arg(world).arg("slip.yaml").current_dir(folder.path()).output().unwrap();
            let said = String::from_utf8(said.stdout).unwrap();
            assert!(said.contains(&pair[1].text), "{}, line {}: {said}", page.name, pair[1].line);
            compared += 1;
        }
    }
    assert!(compared > 2, "only {compared} broken objects are followed by what check says");
}

#[test]
fn the_examples_have_no_errors() {
    for example in ["examples/shop", "examples/shared"] {
        yaml::folder_is_sound(&root().join(example)).unwrap();
    }
}

#[test]
fn every_link_leads_somewhere() {
    let pages = Page::all();
    let mut dead = Vec::new();
    for page in &pages {
        for link in page.links().filter(|link| !link.contains("://")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let path = if file.is_empty() { page.path.clone() } else { page.path.with_file_name("").join(file) };
            let target = path.canonicalize().ok();
            let there = target.is_some_and(|target| {
                anchor.is_empty() || Page::read(&target).anchors().any(|heading| heading == anchor)
            });
            if !there {
                dead.push(format!("{}: {link}", page.name));
            }
        }
    }
    assert!(dead.is_empty(), "{}", dead.join("\n"));
}

#[test]
fn every_page_is_in_the_table_of_contents() {
    let summary = Page::read(&root().join("docs/src/SUMMARY.md"));
    let listed: Vec<_> = summary.links().map(|link| root().join("docs/src").join(link)).collect();
    for page in Page::all().iter().filter(|page| page.name.starts_with("docs/") && !page.name.ends_with("SUMMARY.md")) {
        assert!(listed.contains(&page.path), "{} is not in docs/src/SUMMARY.md", page.name);
    }
}

#[test]
fn files_and_functions_that_the_pages_of_how_it_works_name_are_there() {
    let code = source::Code::read();
    let (mut files, mut items) = (0, 0);
    for page in Page::all().iter().filter(|page| page.name.starts_with("docs/src/how/")) {
        let text = fs::read_to_string(&page.path).unwrap();
        for name in self::code(&text).filter(|name| !name.contains(' ')) {
            if name.ends_with(".rs") {
                assert!(code.has_file(name), "{}: {name} is not there", page.name);
                files += 1;
            } else if name.contains("::") {
                assert!(code.has_item(name), "{}: {name} is not there", page.name);
                items += 1;
            }
        }
    }
    assert!(files > 40 && items > 20, "only {files} files and {items} items are named: they are not looked for well");
}

#[test]
fn an_item_is_looked_for_where_its_name_says() {
    let code = source::Code::read();
    for there in ["pipeline::handle", "publish::run", "Exchange::stages", "Guard::Closed", "limit::admit"] {
        assert!(code.has_item(there), "{there}");
    }
    for elsewhere in ["receiver::handle", "Table::stages", "Guard::Phase", "limit::handle", "nowhere::run"] {
        assert!(!code.has_item(elsewhere), "{elsewhere}");
    }
    assert!(code.has_file("wire/request.rs") && !code.has_file("wire/nothing.rs"));
}

#[tokio::test]
async fn the_readme_is_carried_out() {
    quickstart::carry_out(&Page::read(&root().join("README.md"))).await;
}

#[tokio::test]
async fn the_quickstart_on_a_laptop_is_carried_out() {
    quickstart::carry_out(&Page::read(&root().join("docs/src/laptop.md"))).await;
}

#[test]
fn every_attack_has_a_test_that_is_there() {
    let folders =
        ["dataplane", "dataplane/snapshot/src", "controller/src", "cli/tests"].map(|folder| root().join(folder));
    let mut code = String::new();
    let mut folders = folders.to_vec();
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            match path.extension() {
                _ if path.is_dir() => folders.push(path),
                Some(extension) if extension == "rs" => code.push_str(&fs::read_to_string(path).unwrap()),
                _ => {}
            }
        }
    }
    let page = Page::read(&root().join("docs/src/security.md"));
    let attacks = page.rows("| ");
    assert!(attacks.len() > 30, "the table of attacks is not where it is looked for");
    for cells in attacks.iter().filter(|cells| cells[0] != "attack") {
        let test = self::code(cells[2]).next().unwrap_or_else(|| panic!("{} has no test", cells[0]));
        assert!(code.contains(&format!("fn {test}(")), "there is no test {test}");
    }
}

#[tokio::test]
async fn the_page_about_tokens_is_carried_out() {
    quickstart::carry_out(&Page::read(&root().join("docs/src/objects/jwt.md"))).await;
}

#[tokio::test]
async fn the_page_about_passwords_is_carried_out() {
    quickstart::carry_out(&Page::read(&root().join("docs/src/objects/passwords.md"))).await;
}

#[tokio::test]
async fn the_page_about_certificates_of_clients_is_carried_out() {
    quickstart::carry_out(&Page::read(&root().join("docs/src/objects/certificates.md"))).await;
}

#[tokio::test]
async fn the_page_about_signed_requests_is_carried_out() {
    quickstart::carry_out(&Page::read(&root().join("docs/src/objects/signatures.md"))).await;
}

#[tokio::test]
async fn the_page_about_asking_another_service_is_carried_out() {
    quickstart::carry_out(&Page::read(&root().join("docs/src/objects/external.md"))).await;
}

#[test]
fn flags_and_their_defaults_are_the_programs() {
    let page = Page::read(&root().join("docs/src/run/operations.md"));
    let help = |command: &str| {
        let said = Command::new(env!("CARGO_BIN_EXE_ravelin")).args([command, "--help"]).output().unwrap();
        String::from_utf8(said.stdout).unwrap()
    };
    let (standalone, dataplane) = (help("standalone"), help("dataplane"));
    let rows = page.rows("| `--");
    assert!(rows.len() > 15, "the table of flags is not where it is looked for");
    for cells in rows {
        for (at, flag) in code(cells[0]).enumerate() {
            let line = |help: &'_ str| help.lines().find(|line| line.contains(&format!("{flag} "))).map(str::to_owned);
            let line = line(&standalone).or_else(|| line(&dataplane)).unwrap_or_else(|| panic!("there is no {flag}"));
            if let Some(default) = line.split_once("[default: ").and_then(|(_, rest)| rest.split_once(']')) {
                let said = cells[1].split([',', ';']).nth(at).unwrap_or_default().trim().trim_matches('`');
                assert_eq!(said, default.0, "{flag}");
            }
        }
    }
}

#[tokio::test]
async fn metrics_and_pages_of_the_admin_address_are_there() {
    let page = Page::read(&root().join("docs/src/run/operations.md"));
    let (echo, folder) = (Echo::start("orders-v1").unwrap(), tempfile::tempdir().unwrap());
    for file in fs::read_dir(root().join("examples/shop")).unwrap().map(|file| file.unwrap()) {
        let text = fs::read_to_string(file.path()).unwrap().replace("9001", &echo.address().port().to_string());
        fs::write(folder.path().join(file.file_name()), text).unwrap();
    }
    // What only backends with a policy have figures of.
    let policy = "{apiVersion: ravelin.dev/v1alpha1, kind: BackendPolicy, metadata: {name: careful}, spec: {\
                  targetRefs: [{kind: Backend, name: orders-v1}], \
                  circuitBreaker: {consecutiveFailures: 5}, healthCheck: {passive: {}}}}";
    fs::write(folder.path().join("careful.yaml"), policy).unwrap();
    let route = "{apiVersion: ravelin.dev/v1alpha1, kind: ApiRoute, metadata: {name: rare}, spec: {hostnames: [rare.example], \
                 rules: [{backendRefs: [{kind: Backend, name: orders-v1}], filters: [{coalesce: {}}, {requestMirror: {\
                 backendRef: {kind: Backend, name: orders-v1}}}]}]}}";
    fs::write(folder.path().join("rare.yaml"), route).unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["tls.example".to_owned()]).unwrap();
    let secret = serde_json::json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "tls"}, "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": made.cert.pem(), "tls.key": made.signing_key.serialize_pem()},
    });
    fs::write(folder.path().join("tls.json"), secret.to_string()).unwrap();
    let route = "{apiVersion: ravelin.dev/v1alpha1, kind: ApiRoute, metadata: {name: tls}, spec: {hostnames: [tls.example], \
                 tls: {certificateRefs: [{name: tls}]}, rules: [{filters: [{directResponse: {status: 200}}]}]}}";
    fs::write(folder.path().join("tls.yaml"), route).unwrap();
    // Of `alpha`: a key that was used.
    let sum = "8ed3f6ad685b959ead7022518e1af76cd816f8e8ec7ccdda1ed4018e8f2223f8";
    let keyed = format!(
        "{{apiVersion: ravelin.dev/v1alpha1, kind: ApiRoute, metadata: {{name: keyed}}, spec: {{hostnames: [keyed.example], \
         rules: [{{filters: [{{directResponse: {{status: 200}}}}]}}]}}}}\n---\n\
         {{apiVersion: ravelin.dev/v1alpha1, kind: AuthPolicy, metadata: {{name: keyed}}, spec: {{\
         targetRefs: [{{kind: ApiRoute, name: keyed}}], authentication: {{apiKey: {{selector: {{matchLabels: {{app: keyed}}}}}}}}}}}}\n---\n\
         {{apiVersion: v1, kind: Secret, type: ravelin.dev/api-key, metadata: {{name: keyed, labels: {{app: keyed}}}}, \
         stringData: {{id: ada, sha256: {sum}}}}}\n"
    );
    fs::write(folder.path().join("keyed.yaml"), keyed).unwrap();
    let gateway = Gateway::start(folder.path(), &["."]).await;
    for path in ["/orders/1", "/nothing"] {
        client::get(gateway.http, "shop.example", path).await.unwrap();
    }
    let keyed = client::Client::connect(gateway.http, client::Protocol::Http1).await.unwrap();
    let answer = keyed.with_host("keyed.example").get_with("/", &[("x-api-key", "alpha")]).await.unwrap();
    assert_eq!(answer.status, 200);
    let metrics = client::get(gateway.admin, "127.0.0.1", "/metrics").await.unwrap().text();
    let (rows, pages) = (page.rows("| `ravelin_"), page.rows("| `/"));
    assert!(rows.len() > 15 && pages.len() > 5, "the tables are not where they are looked for");
    for cells in rows {
        for name in code(cells[0]) {
            assert!(metrics.contains(name), "there is no metric {name}:\n{metrics}");
        }
    }
    for cells in pages {
        for path in code(cells[0]).filter(|path| path.starts_with('/')) {
            let path = path.replace("...", "http://shop.example/").replace('?', "?x=y&");
            let answer = client::get(gateway.admin, "127.0.0.1", &path).await.unwrap();
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        }
    }
    gateway.end().await;
}

/// What stands in backquotes.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}
