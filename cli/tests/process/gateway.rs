//! `ravelin standalone` or `ravelin dataplane` as a process: what it prints, what its admin interface says, how it ends.

#![allow(dead_code, reason = "each test takes what it needs")]

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use ravelin_echo::client::{self, Answer, DEADLINE};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    sync::watch,
    task::JoinHandle,
    time::timeout,
};

/// Ends with this value.
pub(crate) struct Gateway {
    pub(crate) ready: Value,
    /// As it was printed.
    pub(crate) ready_line: String,
    process: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    log: Log,
}

/// What it was, once it has ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// After the ready line.
    pub(crate) stdout: Vec<String>,
    pub(crate) log: Vec<String>,
}

impl Gateway {
    /// On free ports, two workers.
    pub(crate) async fn standalone(folder: &Path, more: &[&str]) -> Self {
        let free = ["--http", "127.0.0.1:0", "--https", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--workers", "2"];
        let folder = folder.to_str().unwrap();
        Self::start(&[&["standalone", folder], &free[..], more].concat()).await
    }

    pub(crate) async fn start(arguments: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_ravelin"))
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let log = Log::of(process.stderr.take().unwrap());
        let mut stdout = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = timeout(DEADLINE * 4, stdout.next_line()).await.expect("it does not say that it is ready").unwrap();
        let ready_line = line.unwrap_or_else(|| panic!("it ended: {:#?}", log.lines()));
        let ready = serde_json::from_str(&ready_line).unwrap();
        Self { ready, ready_line, process, stdout, log }
    }

    pub(crate) fn address(&self, of: &str) -> SocketAddr {
        self.ready[of].as_str().unwrap_or_else(|| panic!("no {of} in {}", self.ready_line)).parse().unwrap()
    }

    pub(crate) fn http(&self) -> SocketAddr {
        self.address("http")
    }

    /// A page of the admin interface.
    pub(crate) async fn page(&self, path: &str) -> Answer {
        client::get(self.address("admin"), "127.0.0.1", path).await.unwrap()
    }

    /// `holds` becomes true of a page; asked again when the log has news.
    pub(crate) async fn page_until(&self, path: &str, holds: impl Fn(&Answer) -> bool) -> Answer {
        let mut last = None;
        let wait = async {
            let mut news = self.log.news.subscribe();
            loop {
                news.mark_unchanged();
                let answer = self.page(path).await;
                if holds(&answer) {
                    return answer;
                }
                last = Some(answer);
                self.news(&mut news).await;
            }
        };
        match timeout(DEADLINE, wait).await {
            Ok(answer) => answer,
            Err(_) => panic!("{path} stays {last:?}; {:#?}", self.tail()),
        }
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<usize> {
        self.log.news.subscribe()
    }

    /// Returns when something happened, or when it is worth to look anyway.
    pub(crate) async fn news(&self, news: &mut watch::Receiver<usize>) {
        let _ = timeout(Duration::from_millis(100), news.changed()).await;
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lines()
    }

    /// The end of the log, without requests.
    pub(crate) fn tail(&self) -> Vec<String> {
        let mut lines: Vec<_> = self.log.lines().into_iter().filter(|line| !is_access(line)).collect();
        lines.split_off(lines.len().saturating_sub(12))
    }

    /// A line of the log has this text in it.
    pub(crate) async fn logged(&self, text: &str) -> String {
        let mut all = self.log.all.subscribe();
        let wait = async {
            loop {
                let found = self.log.lines().into_iter().find(|line| line.contains(text));
                if let Some(line) = found {
                    return line;
                }
                all.changed().await.expect("the log has not ended");
            }
        };
        timeout(DEADLINE, wait).await.unwrap_or_else(|_| panic!("{text:?} is not logged: {:#?}", self.log.lines()))
    }

    /// SIGTERM.
    pub(crate) async fn terminate(&self) {
        self.signal("TERM").await;
    }

    pub(crate) async fn signal(&self, name: &str) {
        // By `kill`: the standard library knows SIGKILL alone.
        let id = self.process.id().expect("it runs");
        assert!(Command::new("kill").args(["-s", name, &id.to_string()]).status().await.unwrap().success());
    }

    /// SIGTERM, and the end.
    pub(crate) async fn stop(self) -> Ended {
        self.terminate().await;
        self.ended().await
    }

    /// Waits for its end.
    pub(crate) async fn ended(mut self) -> Ended {
        let whole = async {
            let mut stdout = Vec::new();
            while let Some(line) = self.stdout.next_line().await.unwrap() {
                stdout.push(line);
            }
            let status = self.process.wait().await.unwrap();
            self.log.task.await.unwrap();
            Ended { status, stdout, log: self.log.said.lock().unwrap().clone() }
        };
        timeout(DEADLINE * 2, whole).await.expect("it does not end")
    }
}

/// A line of the access log.
pub(crate) fn is_access(line: &str) -> bool {
    line.contains("\"requestId\":") && !line.contains("\"event\":")
}

/// Puts `text` at `path` at once, as `kubectl` and editors do.
pub(crate) fn replace(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    fs::write(&beside, text).unwrap();
    fs::rename(beside, path).unwrap();
}

struct Log {
    said: Arc<Mutex<Vec<String>>>,
    /// Lines that are no requests.
    news: watch::Sender<usize>,
    all: watch::Sender<usize>,
    task: JoinHandle<()>,
}

impl Log {
    fn of(pipe: impl AsyncRead + Send + Unpin + 'static) -> Self {
        let said = Arc::<Mutex<Vec<String>>>::default();
        let (news, all) = (watch::Sender::new(0), watch::Sender::new(0));
        let (keep, new, any) = (Arc::clone(&said), news.clone(), all.clone());
        let task = tokio::spawn(async move {
            let mut lines = BufReader::new(pipe).lines();
            while let Some(line) = lines.next_line().await.unwrap() {
                let access = is_access(&line);
                keep.lock().unwrap().push(line);
                any.send_modify(|lines| *lines += 1);
                if !access {
                    new.send_modify(|lines| *lines += 1);
                }
            }
        });
        Self { said, news, all, task }
    }

    fn lines(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }
}
