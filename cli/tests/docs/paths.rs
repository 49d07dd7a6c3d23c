//! The table of paths that a backend may take for the same, asked of the gateway.

use std::fs;

use ravelin_echo::client;

use crate::{
    code,
    gateway::Gateway,
    page::{Page, root},
};

#[tokio::test]
async fn each_spelling_of_a_protected_path_is_answered_as_the_page_of_the_policy_says() {
    let page = Page::read(&root().join("docs/src/objects/authpolicy.md"));
    let block = page.blocks.iter().find(|block| block.text.contains("name: admins")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("site.yaml"), &block.text).unwrap();
    let gateway = Gateway::start(folder.path(), &["."]).await;
    let mut asked = 0;
    for cells in page.rows("| `/") {
        for path in code(cells[0]) {
            let request = format!("GET {path} HTTP/1.1\r\nhost: site.example\r\nconnection: close\r\n\r\n");
            let answer = client::exchange(gateway.http, request).await.unwrap();
            assert_eq!(answer.statuses(), [cells[1].parse::<u16>().unwrap()], "{path}: {}", answer.text());
            let by_rest = cells[2].contains("`rest`");
            assert_eq!(answer.text().ends_with("rest"), by_rest, "{path}: {}", answer.text());
            asked += 1;
        }
    }
    assert!(asked > 20, "the table is not where it is looked for");
    // What the page advises: a rule that leaves such spellings out.
    let when = "!request.path.lowerAscii().startsWith('/admin')";
    assert!(page.prose.contains(when));
    let narrow =
        block.text.replace("  - name: rest\n", &format!("  - name: rest\n    matches: [{{when: \"{when}\"}}]\n"));
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("site.yaml"), narrow).unwrap();
    let narrow = Gateway::start(folder.path(), &["."]).await;
    for (path, status) in [("/ADMIN", 404), ("/admin;a", 404), ("/admin%2Fx", 404), ("/other", 200)] {
        assert_eq!(client::get(narrow.http, "site.example", path).await.unwrap().status.as_u16(), status, "{path}");
    }
    gateway.end().await;
    narrow.end().await;
}
