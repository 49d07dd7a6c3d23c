//! `ravelin key` from a new key to a revoked one.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;
use tempfile::TempDir;

fn ravelin(arguments: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ravelin")).args(arguments).current_dir(folder).output().unwrap()
}

fn keys(folder: &Path) -> Vec<Value> {
    let output = ravelin(&["key", "list", "-o", "json", "."], folder);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice::<Value>(&output.stdout).unwrap()["keys"].as_array().unwrap().clone()
}

#[test]
fn a_key_is_made_listed_and_revoked_and_its_manifest_does_not_hold_it() {
    let folder = TempDir::new().unwrap();
    let made = ravelin(
        &[
            "key",
            "new",
            "--id",
            "acme",
            "--namespace",
            "shop",
            "--label",
            "app=shop",
            "--plan",
            "gold",
            "--expires",
            "90d",
        ],
        folder.path(),
    );
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let told = String::from_utf8(made.stderr).unwrap();
    let key = told.trim().rsplit(' ').next().unwrap();
    assert!(key.starts_with("rk_") && key.len() == 46);
    let manifest = String::from_utf8(made.stdout).unwrap();
    assert!(!manifest.contains(key));
    fs::write(folder.path().join("acme.yaml"), &manifest).unwrap();
    assert!(ravelin(&["check", "."], folder.path()).status.success(), "the manifest is one that check likes");
    let listed = keys(folder.path());
    assert_eq!((&listed[0]["id"], &listed[0]["state"]), (&"acme".into(), &"live".into()), "{listed:?}");
    assert_eq!((&listed[0]["plan"], &listed[0]["namespace"]), (&"gold".into(), &"shop".into()));

    let revoked = ravelin(&["key", "revoke", "acme", "--namespace", "shop", "."], folder.path());
    assert!(revoked.status.success(), "{}", String::from_utf8_lossy(&revoked.stderr));
    assert_eq!(keys(folder.path())[0]["state"], "revoked");
    let after = fs::read_to_string(folder.path().join("acme.yaml")).unwrap();
    assert_eq!(after.replace("  disabled: \"true\"\n", ""), manifest, "one line more, and no other change");
    let again = ravelin(&["key", "revoke", "acme", "--namespace", "shop", "."], folder.path());
    assert!(again.status.success());
    assert_eq!(fs::read_to_string(folder.path().join("acme.yaml")).unwrap(), after);
}

#[test]
fn a_key_among_others_is_revoked_where_it_stands() {
    let folder = TempDir::new().unwrap();
    let secret = |name: &str, holder: &str, id: &str, sha256: &str| {
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\ntype: ravelin.dev/api-key\n{holder}:\n  id: {id}\n  sha256: {sha256}\n"
        )
    };
    let text = format!(
        "# mine\n{}---\n{}---\n{}",
        secret("one", "stringData", "a", "'00'"),
        secret("two", "data", "Yg==", "MDA="),
        secret("three", "stringData", "b", "'01' # keep")
    );
    fs::write(folder.path().join("keys.yaml"), &text).unwrap();
    let revoked = ravelin(&["key", "revoke", "b", "keys.yaml"], folder.path());
    assert!(revoked.status.success(), "{}", String::from_utf8_lossy(&revoked.stderr));
    let states: Vec<_> = keys(folder.path()).iter().map(|key| (key["name"].clone(), key["state"].clone())).collect();
    let wanted = [("one", "live"), ("three", "revoked"), ("two", "revoked")];
    assert_eq!(states, wanted.map(|(name, state)| (Value::from(name), Value::from(state))));
    // A file that cannot be read whole may hold another of the caller's keys.
    fs::write(folder.path().join("torn.yaml"), format!("{}---\nkind: [\n", secret("four", "stringData", "c", "'02'")))
        .unwrap();
    for who in ["c", "b"] {
        let torn = ravelin(&["key", "revoke", who, "."], folder.path());
        assert_eq!(torn.status.code(), Some(2), "{who}");
        assert!(String::from_utf8_lossy(&torn.stderr).contains("torn.yaml"), "{who}");
    }
    let nobody = ravelin(&["key", "revoke", "nobody", "keys.yaml"], folder.path());
    assert_eq!(nobody.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("no key of `nobody` in namespace default"));
}

#[test]
fn what_is_wrong_with_the_flags_is_said_with_a_remedy() {
    let folder = TempDir::new().unwrap();
    for (arguments, said) in [
        (vec!["--id", "a", "--expires", "soon"], "--expires soon: write 90d"),
        (vec!["--id", "a", "--expires", "0d"], "--expires 0d: write 90d"),
        (vec!["--id", "a", "--label", "app"], "--label app: write KEY=VALUE"),
        (vec!["--id", "a", "--scope", "a b"], "a scope or group is one word"),
        (vec!["--id", " "], "--id is empty"),
        (vec!["--id", "a\nb"], "--id: it has at most 253 bytes and no control characters"),
        (vec!["--id", "a", "--label", "=b"], "--label =b: write KEY=VALUE"),
        (vec!["--id", "a", "--label", "app=two words"], "--label app=two words: write KEY=VALUE"),
        (vec!["--id", "a", "--label", "x_/app=b"], "--label x_/app=b: write KEY=VALUE"),
        (vec!["--id", "a", "--namespace", "A B"], "--namespace \"A B\": write the name of a namespace"),
        (vec!["--id", "a", "--name", "../x"], "--name \"../x\": write small letters"),
    ] {
        let arguments: Vec<_> = ["key", "new"].into_iter().chain(arguments.iter().copied()).collect();
        let joined: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
        let joined: Vec<&str> = joined.iter().map(String::as_str).collect();
        let output = ravelin(&joined, folder.path());
        assert!(!output.status.success());
        assert!(
            String::from_utf8_lossy(&output.stderr).contains(said),
            "{joined:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(output.stdout.is_empty());
    }
}
