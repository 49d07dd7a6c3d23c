//! Commands, as a user types them.

use std::process::Stdio;

use anyhow::{Context, Result, bail};
use tokio::{io::AsyncWriteExt, process::Command};

/// What it prints; an error with all that it said if it fails.
pub async fn kubectl(arguments: &[&str]) -> Result<String> {
    run("kubectl", arguments, "").await
}

/// The same with something on standard input: `kubectl_with(&["apply", "-f", "-"], manifest)`.
pub async fn kubectl_with(arguments: &[&str], input: &str) -> Result<String> {
    run("kubectl", arguments, input).await
}

/// Whether it succeeded, and all that it said.
pub async fn try_kubectl(arguments: &[&str], input: &str) -> Result<(bool, String)> {
    let (success, out, err) = output("kubectl", arguments, input).await?;
    Ok((success, out + &err))
}

pub async fn helm(arguments: &[&str]) -> Result<String> {
    run("helm", arguments, "").await
}

pub(crate) async fn run(program: &str, arguments: &[&str], input: &str) -> Result<String> {
    let (success, out, err) = output(program, arguments, input).await?;
    if !success {
        bail!("{program} {}: {out}{err}", arguments.join(" "));
    }
    Ok(out)
}

async fn output(program: &str, arguments: &[&str], input: &str) -> Result<(bool, String, String)> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("{program} is needed"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).await?;
    }
    let output = child.wait_with_output().await?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((output.status.success(), text(&output.stdout), text(&output.stderr)))
}
