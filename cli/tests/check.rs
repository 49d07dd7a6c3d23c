//! `ravelin check` as others run it: a process, its output, its exit code.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

const GOOD: &str = "apiVersion: ravelin.dev/v1alpha1
kind: ApiRoute
metadata: {name: hello}
spec:
  rules:
  - filters:
    - directResponse: {status: 200, body: hello}
";

fn ravelin(arguments: &[&str], input: &str, folder: &Path) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ravelin"))
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_clean_folder_is_0_findings_are_1_and_what_cannot_be_read_is_2() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("good.yaml"), GOOD).unwrap();
    let clean = ravelin(&["check", "."], "", folder.path());
    assert_eq!(clean.status.code(), Some(0), "{}", stdout(&clean));
    let broken = ravelin(&["check", "-"], &GOOD.replace("body:", "bodi:"), folder.path());
    assert_eq!(broken.status.code(), Some(1));
    let text = stdout(&broken);
    let expected = "-:7: error: ApiRoute default/hello spec.rules[0].filters[0].directResponse.bodi: unknown field `bodi` \
                    (Invalid)\n    did you mean `body`?\n1 errors, 0 warnings\n";
    assert_eq!(text, expected);
    let missing = ravelin(&["check", "good.yaml", "missing.yaml"], "", folder.path());
    assert_eq!(missing.status.code(), Some(2));
    assert!(stdout(&missing).contains("missing.yaml: error: it cannot be read: it is not there"));
}

#[test]
fn a_pipe_that_nobody_writes_to_is_an_error_and_holds_nothing_up() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("good.yaml"), GOOD).unwrap();
    assert!(Command::new("mkfifo").arg(folder.path().join("f")).status().unwrap().success());
    let folded = ravelin(&["check", "."], "", folder.path());
    assert_eq!(folded.status.code(), Some(0), "{}", stdout(&folded));
    let named = ravelin(&["check", "good.yaml", "f"], "", folder.path());
    assert_eq!(named.status.code(), Some(2), "{}", stdout(&named));
    assert!(stdout(&named).contains("f: error: it is a pipe"), "{}", stdout(&named));
}

/// A build server takes a line that begins with `::` for a command, and a terminal whatever follows an escape.
#[test]
fn what_files_say_neither_begins_a_line_nor_speaks_to_the_terminal() {
    let folder = TempDir::new().unwrap();
    let evil = GOOD.replace("{name: hello}", "{name: \"x\\e[31m\\n::error::forged\\u202e\", \"\\n::b\": 1}");
    fs::write(folder.path().join("a\n::error::file.yaml"), evil.replace("body:", "\"\\n::c\":")).unwrap();
    let key = "apiVersion: v1\nkind: Secret\ntype: ravelin.dev/api-key\nmetadata: {name: \"k\\e[31m\\n::k\"}\nstringData: {id: \"i\\n::i\"}\n";
    fs::write(folder.path().join("key.yaml"), key).unwrap();
    let said = [
        vec!["check", "."],
        vec!["check", "missing\n::d.yaml"],
        vec!["key", "list", "."],
        vec!["key", "list", "missing\n::d.yaml"],
        vec!["explain", ".", "GET", "http://a.example/"],
    ];
    for arguments in said {
        let output = ravelin(&arguments, "", folder.path());
        for text in [stdout(&output), String::from_utf8(output.stderr).unwrap()] {
            assert!(!text.contains("\n::") && !text.starts_with("::"), "{arguments:?}: {text}");
            assert!(!text.contains(['\u{1b}', '\u{202e}']), "{arguments:?}: {text:?}");
        }
    }
    let report = ravelin(&["check", "."], "", folder.path());
    let report = stdout(&report);
    assert!(report.contains("x\\u{1b}[31m\\n::error::forged"), "{report}");
    assert!(report.contains("a\\n::error::file.yaml"), "{report}");
}

#[test]
fn json_names_file_line_object_field_reason_and_remedy() {
    let folder = TempDir::new().unwrap();
    let text = GOOD.replace("status: 200", "status: fine");
    fs::write(folder.path().join("a.yaml"), text).unwrap();
    let output = ravelin(&["check", "-o", "json", "a.yaml"], "", folder.path());
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["digest"].as_str().unwrap().len(), 64);
    let findings = report["findings"].as_array().unwrap();
    assert_eq!(findings.len(), 1, "{report:#}");
    let finding = &findings[0];
    let fields: Vec<_> = finding.as_object().unwrap().keys().map(String::as_str).collect();
    let mut wanted =
        ["severity", "file", "line", "kind", "namespace", "name", "field", "reason", "message", "remedy"].to_vec();
    wanted.sort_unstable();
    assert_eq!(fields, wanted);
    assert_eq!(finding["severity"], "error");
    assert_eq!((&finding["file"], &finding["line"]), (&Value::from("a.yaml"), &Value::from(7)));
    assert_eq!(finding["field"], "spec.rules[0].filters[0].directResponse.status");
}

#[test]
fn a_missing_reference_is_found_by_the_compiler_and_has_a_line() {
    let folder = TempDir::new().unwrap();
    let text = "apiVersion: ravelin.dev/v1alpha1\nkind: ApiRoute\nmetadata: {name: r}\nspec:\n  rules:\n  - backendRefs:\n    - {name: nobody, port: 80}\n";
    let output = ravelin(&["check", "-o", "json", "-"], text, folder.path());
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["findings"][0]["reason"], "BackendNotFound", "{report:#}");
    assert_eq!(report["findings"][0]["line"], 7);
}

#[test]
fn the_digest_is_of_meaning_and_not_of_writing() {
    let folder = TempDir::new().unwrap();
    let digest = |text: &str| {
        let output = ravelin(&["check", "-o", "json", "-"], text, folder.path());
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["digest"].clone()
    };
    let aged = GOOD.replace("{name: hello}", "{name: hello, creationTimestamp: 2020-01-01T00:00:00Z}");
    assert_eq!(digest(GOOD), digest(&format!("# a comment\n{aged}")));
    assert_ne!(digest(GOOD), digest(&GOOD.replace("200", "201")));
}

#[test]
fn every_subcommand_has_an_example_in_its_help() {
    let folder = TempDir::new().unwrap();
    let all =
        [vec!["check"], vec!["crds"], vec!["version"], vec!["key", "new"], vec!["key", "list"], vec!["key", "revoke"]];
    for mut arguments in all {
        arguments.push("--help");
        let help = ravelin(&arguments, "", folder.path());
        assert!(help.status.success());
        assert!(stdout(&help).contains("Example"), "{arguments:?}");
    }
}

#[test]
fn a_certificate_that_has_ended_is_a_warning_that_names_the_reference_the_time_and_the_remedy() {
    let folder = TempDir::new().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["shop.example".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let secret = serde_json::json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "tls"}, "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": params.self_signed(&key).unwrap().pem(), "tls.key": key.serialize_pem()},
    });
    fs::write(folder.path().join("tls.json"), secret.to_string()).unwrap();
    let tls = "spec:\n  hostnames: [shop.example]\n  tls:\n    certificateRefs:\n    - name: tls\n";
    fs::write(folder.path().join("route.yaml"), GOOD.replace("spec:\n", tls)).unwrap();
    let checked = ravelin(&["check", "."], "", folder.path());
    let expected = "./route.yaml:8: warning: ApiRoute default/hello spec.tls.certificateRefs[0]: the certificate of Secret \
                    default/tls ended at 2021-01-01T00:00:00Z: clients refuse it (Suspicious)\n    \
                    Put a new one into Secret default/tls.\n0 errors, 1 warnings\n";
    assert_eq!((stdout(&checked).as_str(), checked.status.code()), (expected, Some(1)));
}
