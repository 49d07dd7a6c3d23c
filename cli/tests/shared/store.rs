//! Debian's `redis-server` on a free port, for as long as a test needs it.

#![allow(dead_code, reason = "each test takes what it needs")]

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process::Stdio,
};

use ravelin_echo::client::DEADLINE;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

pub(crate) struct Store {
    pub(crate) port: u16,
    arguments: Vec<String>,
    folder: TempDir,
    /// What it says when it is.
    ready: &'static str,
    process: Option<Child>,
}

impl Store {
    /// Three nodes that are one cluster, which has all slots.
    pub(crate) async fn cluster() -> [Self; 3] {
        let enabled = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];
        let nodes = [Self::start(&enabled).await, Self::start(&enabled).await, Self::start(&enabled).await];
        let addresses = nodes.each_ref().map(|node| format!("127.0.0.1:{}", node.port));
        let addresses = addresses.each_ref().map(String::as_str);
        let said = nodes[0].tell(&[&["--cluster", "create"][..], &addresses, &["--cluster-yes"]].concat()).await;
        assert!(said.contains("All 16384 slots covered"), "{said}");
        for node in &nodes {
            let whole = async { while !node.tell(&["CLUSTER", "INFO"]).await.contains("cluster_state:ok") {} };
            timeout(DEADLINE, whole).await.expect("the nodes do not become a cluster");
        }
        nodes
    }

    /// A sentinel of `master`, by the name of main.
    pub(crate) async fn sentinel(master: &Self) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sentinel.conf");
        let said = format!(
            "sentinel monitor main 127.0.0.1 {} 1\nsentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n",
            master.port
        );
        std::fs::write(&path, said).unwrap();
        let arguments = vec![path.to_str().unwrap().to_owned(), "--sentinel".to_owned()];
        let mut store = Self { port: free_port(), arguments, folder, ready: "+monitor master main", process: None };
        store.restart().await;
        store
    }

    pub(crate) async fn start(arguments: &[&str]) -> Self {
        let ready = "Ready to accept connections";
        let nothing_kept = ["--save", "", "--appendonly", "no"];
        let arguments = arguments.iter().chain(&nothing_kept).map(|&argument| argument.to_owned()).collect();
        let mut store =
            Self { port: free_port(), arguments, folder: tempfile::tempdir().unwrap(), ready, process: None };
        store.restart().await;
        store
    }

    /// A server that copies what this one has.
    pub(crate) async fn copy(&self) -> Self {
        let copy = Self::start(&["--replicaof", "127.0.0.1", &self.port.to_string()]).await;
        let linked = async { while !copy.tell(&["INFO", "replication"]).await.contains("master_link_status:up") {} };
        timeout(DEADLINE, linked).await.expect("it does not copy");
        copy
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Nothing of before is left, but the port.
    pub(crate) async fn restart(&mut self) {
        self.kill().await;
        let port = self.port.to_string();
        let mut process = Command::new("redis-server")
            .args(&self.arguments)
            .args(["--bind", "127.0.0.1", "--port", &port])
            .current_dir(self.folder.path())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("redis-server, which `make test` installs");
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let ready = async {
            let mut said = Vec::new();
            while let Some(line) = lines.next_line().await.unwrap() {
                if line.contains(self.ready) {
                    return;
                }
                said.push(line);
            }
            panic!("redis-server has ended: {said:#?}");
        };
        timeout(DEADLINE, ready).await.expect("redis-server does not say that it is ready");
        // It must be able to say more.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        self.process = Some(process);
    }

    pub(crate) async fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().await.unwrap();
        }
    }

    /// STOP or CONT.
    pub(crate) async fn signal(&self, name: &str) {
        let id = self.process.as_ref().and_then(Child::id).unwrap().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().await.unwrap().success());
    }

    /// What `redis-cli` prints.
    pub(crate) async fn tell(&self, arguments: &[&str]) -> String {
        let port = self.port.to_string();
        let run = Command::new("redis-cli").args(["-h", "127.0.0.1", "-p", &port]).args(arguments).output();
        let run = timeout(DEADLINE, run).await.unwrap().unwrap();
        String::from_utf8(run.stdout).unwrap().trim_end().to_owned()
    }

    /// Scripts that were run.
    pub(crate) async fn calls(&self) -> u64 {
        let stats = self.tell(&["INFO", "commandstats"]).await;
        let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls=")).unwrap_or("0");
        line.split(',').next().unwrap().parse().unwrap()
    }
}

pub(crate) fn free_port() -> u16 {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    loop {
        let port = TcpListener::bind(any).unwrap().local_addr().unwrap().port();
        if port < 55_536 {
            return port; // the nodes of a cluster speak with each other at 10,000 more
        }
    }
}
