//! A program that is measured: its CPU time and memory, children included, as the kernel counts them.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

/// Ends with this value, children included.
pub(crate) struct Process {
    child: Child,
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> anyhow::Result<Self> {
        let child = command.stdin(Stdio::null()).spawn().with_context(|| format!("cannot start {command:?}"))?;
        Ok(Self { child })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The first line that it prints.
    pub(crate) fn line(&mut self) -> anyhow::Result<String> {
        let stdout = self.child.stdout.take().context("its output is not piped")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        Ok(line)
    }

    /// CPU time since it began, of all its threads and children.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        let mut nanos = 0;
        for pid in self.tree()? {
            let tasks = fs::read_dir(format!("/proc/{pid}/task"))?;
            for task in tasks.flatten() {
                let stat = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
                nanos += stat.split(' ').next().and_then(|time| time.parse::<u64>().ok()).unwrap_or(0);
            }
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// CPU time of each thread whose name begins so, in the order of names.
    pub(crate) fn cpu_by_thread(&self, prefix: &str) -> anyhow::Result<Vec<Duration>> {
        let mut threads = Vec::new();
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))?.flatten() {
            let read = |file: &str| fs::read_to_string(task.path().join(file)).unwrap_or_default();
            let (name, stat) = (read("comm"), read("schedstat"));
            if name.starts_with(prefix) {
                let nanos = stat.split(' ').next().and_then(|time| time.parse().ok()).unwrap_or(0);
                threads.push((name, Duration::from_nanos(nanos)));
            }
        }
        threads.sort();
        Ok(threads.into_iter().map(|(_, time)| time).collect())
    }

    /// Bytes of resident memory that are its own.
    pub(crate) fn resident(&self) -> anyhow::Result<u64> {
        let mut kilobytes = 0;
        for pid in self.tree()? {
            kilobytes += resident(&format!("{pid}"))?;
        }
        Ok(kilobytes * 1024)
    }

    fn tree(&self) -> anyhow::Result<Vec<u32>> {
        let mut all = vec![self.child.id()];
        let mut at = 0;
        while let Some(pid) = all.get(at) {
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
            all.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
            at += 1;
        }
        Ok(all)
    }

    /// Waits until somebody listens at `address`.
    pub(crate) fn wait_for(&mut self, address: SocketAddr) -> anyhow::Result<()> {
        let until = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(address).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended with {status}");
            }
            if Instant::now() > until {
                bail!("nobody listens at {address}");
            }
            std::thread::yield_now();
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The parent first: nginx replaces a worker that is gone.
        for pid in self.tree().unwrap_or_default() {
            drop(Command::new("kill").args(["-9", &pid.to_string()]).stderr(Stdio::null()).status());
        }
        drop(self.child.wait());
    }
}

/// CPU time of the caller's thread since it began.
pub(crate) fn cpu_of_this_thread() -> anyhow::Result<Duration> {
    let stat = fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanos = stat.split(' ').next().and_then(|time| time.parse().ok()).context("no CPU time")?;
    Ok(Duration::from_nanos(nanos))
}

/// An address that was free a moment ago.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// `command` on one processor, where the machine has more and the tool for it.
pub(crate) fn on_processor(processor: usize, program: &str) -> Command {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if cores > 1 && Command::new("taskset").arg("--version").stdout(Stdio::null()).status().is_ok() {
        let mut command = Command::new("taskset");
        command.args(["-c", &processor.to_string(), program]);
        command
    } else {
        Command::new(program)
    }
}

/// Bytes of resident memory of this process.
pub(crate) fn own_resident() -> anyhow::Result<u64> {
    Ok(resident("self")? * 1024)
}

/// In KiB.
fn resident(pid: &str) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    Ok(line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0))
}
