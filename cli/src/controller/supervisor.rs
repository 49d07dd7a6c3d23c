//! The first process of the controller's container: it starts the controller and starts it again, whatever happens.
//!
//! A Pod is ready only while all its containers run, and a replica has to stay ready when its controller is at fault:
//! the data plane serves on. So this process does nothing that can fail, and ends only when it is told to.

use std::{
    env, io,
    process::{ExitCode, Stdio},
    time::Duration,
};

use anyhow::Context;
use tokio::{
    process::{Child, ChildStdin, Command},
    signal::unix::{SignalKind, signal},
    time::{Instant, sleep, timeout},
};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A controller that ran for so long was well.
const WELL: Duration = Duration::from_secs(60);
/// For giving back the leader's Lease.
const LAST_WORDS: Duration = Duration::from_secs(5);

pub(super) async fn run() -> anyhow::Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be heard")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be heard")?;
    let mut pause = FIRST_PAUSE;
    loop {
        let started = Instant::now();
        let mut child = start();
        // Waiting for a child closes its standard input, unless that is somewhere else.
        let leash = child.as_mut().ok().and_then(|child| child.stdin.take());
        let ended = tokio::select! {
            ended = outcome(&mut child) => ended,
            _ = terminate.recv() => return Ok(end(child, leash).await),
            _ = interrupt.recv() => return Ok(end(child, leash).await),
        };
        pause = if started.elapsed() > WELL { FIRST_PAUSE } else { pause };
        tracing::error!(ended, again_in_ms = pause.as_millis(), "the controller has ended; it is started again");
        tokio::select! {
            () = sleep(pause) => {}
            _ = terminate.recv() => return Ok(ExitCode::SUCCESS),
            _ = interrupt.recv() => return Ok(ExitCode::SUCCESS),
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// This program once more, with the same flags. Closing its standard input tells it to end.
fn start() -> io::Result<Child> {
    Command::new(env::current_exe()?)
        .args(env::args_os().skip(1))
        .arg("--supervised")
        .stdin(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
}

async fn outcome(child: &mut io::Result<Child>) -> String {
    match child {
        Ok(child) => match child.wait().await {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        },
        Err(error) => format!("not started: {error}"),
    }
}

async fn end(child: io::Result<Child>, leash: Option<ChildStdin>) -> ExitCode {
    drop(leash);
    if let Ok(mut child) = child {
        // Beyond that it is killed as it is dropped.
        let _ = timeout(LAST_WORDS, child.wait()).await;
    }
    ExitCode::SUCCESS
}
