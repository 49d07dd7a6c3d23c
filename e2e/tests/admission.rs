//! What a schema or a CEL rule can see is refused by `kubectl apply`, with the reason; what is right is taken, without a warning.
//!
//! The objects are those of crds/tests/objects. Nothing is stored: all are dry runs, against the CRDs of the installed chart.

#![allow(clippy::unwrap_used, reason = "a test fails so")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ravelin_e2e::Gateway;

/// What kubectl answers to a manifest: whether it was taken, and all that was said.
fn kubectl(arguments: &[&str], manifest: &str) -> (bool, String) {
    let mut kubectl = Command::new("kubectl")
        .args(arguments)
        .args(["--dry-run=server", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    kubectl.stdin.take().unwrap().write_all(manifest.as_bytes()).unwrap();
    let answer = kubectl.wait_with_output().unwrap();
    let said = [answer.stdout, answer.stderr].concat();
    (answer.status.success(), String::from_utf8_lossy(&said).into_owned())
}

fn create(manifest: &str) -> (bool, String) {
    kubectl(&["create", "--validate=strict"], manifest)
}

fn files(folder: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds").join(folder);
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read_to_string(file).unwrap()).collect()
}

#[tokio::test]
async fn crds_are_taken_without_a_warning() {
    Gateway::installed().await.unwrap();
    for crd in files("yaml") {
        // A name of its own would not fit the kind: the installed ones are changed, if only in a dry run.
        let (taken, said) = kubectl(&["apply", "--server-side", "--force-conflicts"], &crd);
        assert!(taken && !said.contains("Warning"), "{said}");
    }
}

#[tokio::test]
async fn right_objects_are_taken_without_a_warning() {
    Gateway::installed().await.unwrap();
    for document in files("tests/objects/accepted").iter().flat_map(|text| text.split("---\n")) {
        let (taken, said) = create(document);
        assert!(taken && !said.contains("Warning"), "{said}\n{document}");
    }
}

#[tokio::test]
async fn wrong_objects_are_refused_and_the_answer_says_why() {
    Gateway::installed().await.unwrap();
    for document in files("tests/objects/refused").iter().flat_map(|text| text.split("---\n")) {
        let expected = document.lines().find_map(|line| line.strip_prefix("# refused: ")).unwrap();
        let (taken, said) = create(document);
        assert!(!taken && said.contains(expected), "{said}\n{document}");
    }
}
