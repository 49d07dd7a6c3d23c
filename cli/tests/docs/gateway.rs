//! The program itself, on free ports.

use std::{net::SocketAddr, path::Path, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) struct Gateway {
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
    pub(crate) admin: SocketAddr,
    process: Child,
}

impl Gateway {
    /// `ravelin standalone` with these arguments, in `folder`; it serves.
    pub(crate) async fn start(folder: &Path, arguments: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_ravelin"))
            .arg("standalone")
            .args(arguments)
            .args(["--http", "127.0.0.1:0", "--https", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .current_dir(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let stdout = process.stdout.take().expect("piped (invariant)");
        let line = timeout(DEADLINE, BufReader::new(stdout).lines().next_line()).await.unwrap().unwrap();
        let ready: serde_json::Value = serde_json::from_str(&line.expect("the gateway ended")).unwrap();
        let address = |name: &str| ready[name].as_str().and_then(|address| address.parse().ok()).unwrap();
        Self { http: address("http"), https: address("https"), admin: address("admin"), process }
    }

    /// As an operator ends it: it ends well.
    pub(crate) async fn end(mut self) {
        let id = self.process.id().expect("the gateway ended by itself");
        Command::new("bash").args(["-c", &format!("kill {id}")]).status().await.unwrap();
        let status = timeout(DEADLINE, self.process.wait()).await.unwrap().unwrap();
        assert!(status.success(), "the gateway ended with {status}");
    }
}
