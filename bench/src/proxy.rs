//! What a request costs: CPU time of the proxy per request, one worker, 64 connections, answers of 1 KB, in turns.

use std::{
    fs,
    process::{Command, Stdio},
    rc::Rc,
    time::Duration,
};

use anyhow::Context;

use crate::{
    backend, config,
    load::{self, Target},
    process::{Process, free_address, on_processor},
    report::Report,
};

const CONNECTIONS: usize = 64;
pub(crate) const ROUTES: usize = 1000;

struct Proxy {
    name: &'static str,
    process: Process,
    target: Target,
    /// The least, in microseconds of CPU a request.
    least: f64,
    most_per_second: f64,
}

pub(crate) fn measure(rounds: usize, seconds: u64, report: &mut Report) -> anyhow::Result<()> {
    let backend = backend::start()?;
    let folder = tempfile::tempdir()?;
    let mut proxies =
        [ravelin(folder.path(), backend)?, nginx(folder.path(), backend)?, haproxy(folder.path(), backend)?];
    for round in 0..=rounds {
        // Forwards and backwards, so that a machine that slows down favours nobody; the first round warms up.
        let count = proxies.len();
        for turn in 0..count {
            let proxy = &mut proxies[if round % 2 == 0 { turn } else { count - 1 - turn }];
            proxy.round(Duration::from_secs(if round == 0 { 1 } else { seconds }), round > 0)?;
        }
    }
    let [ours, nginx, haproxy] = proxies;
    let best = nginx.least.min(haproxy.least);
    report.add(
        format!("CPU a request, {ROUTES} routes, {CONNECTIONS} connections, 1 KB"),
        format!("{:.1} us ({:.2}x)", ours.least, ours.least / best),
        format!("{} {:.1}, {} {:.1} us", nginx.name, nginx.least, haproxy.name, haproxy.least),
        "<= 1.15x the better",
    );
    report.add(
        "requests a second of one worker, closed loop",
        format!("{:.0}", ours.most_per_second),
        format!("{:.0}, {:.0}", nginx.most_per_second, haproxy.most_per_second),
        "",
    );
    Ok(())
}

impl Proxy {
    fn round(&mut self, time: Duration, counts: bool) -> anyhow::Result<()> {
        let before = self.process.cpu()?;
        let answered = load::run(&self.target, CONNECTIONS, time).with_context(|| self.name)?;
        let spent = self.process.cpu()? - before;
        if counts {
            self.least = self.least.min(spent.as_secs_f64() * 1e6 / answered as f64);
            self.most_per_second = self.most_per_second.max(answered as f64 / time.as_secs_f64());
        }
        Ok(())
    }

    fn new(name: &'static str, process: Process, address: std::net::SocketAddr) -> Self {
        Self { name, process, target: target(address), least: f64::MAX, most_per_second: 0.0 }
    }
}

/// Requests to routes all over the table.
pub(crate) fn target(address: std::net::SocketAddr) -> Target {
    let paths = Rc::new((0..ROUTES).step_by(7).map(|n| format!("{}/items", config::path(n))).collect());
    Target { address, host: config::HOST, paths }
}

fn ravelin(folder: &std::path::Path, backend: std::net::SocketAddr) -> anyhow::Result<Proxy> {
    let objects = folder.join("objects");
    fs::create_dir(&objects)?;
    fs::write(objects.join("routes.yaml"), config::routes(ROUTES, backend))?;
    let (process, address) = start_ravelin(&objects)?;
    Ok(Proxy::new("ravelin", process, address))
}

/// With one worker on the second processor, and its access log on.
pub(crate) fn start_ravelin(objects: &std::path::Path) -> anyhow::Result<(Process, std::net::SocketAddr)> {
    start_with(&mut on_processor(1, &program()?.to_string_lossy()), objects)
}

/// The release's program, which is built beside this one.
pub(crate) fn program() -> anyhow::Result<std::path::PathBuf> {
    Ok(std::env::current_exe()?.with_file_name("ravelin"))
}

/// `command` is the program, or what runs it.
pub(crate) fn start_with(
    command: &mut Command,
    objects: &std::path::Path,
) -> anyhow::Result<(Process, std::net::SocketAddr)> {
    command.arg("standalone").arg(objects).args(["--workers", "1", "--http", "127.0.0.1:0", "--https", "127.0.0.1:0"]);
    command.args(["--admin", "127.0.0.1:0"]).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut process = Process::start(command)?;
    let ready: serde_json::Value = serde_json::from_str(&process.line()?)?;
    Ok((process, ready["http"].as_str().context("no address")?.parse()?))
}

fn nginx(folder: &std::path::Path, backend: std::net::SocketAddr) -> anyhow::Result<Proxy> {
    let listen = free_address()?;
    let file = folder.join("nginx.conf");
    fs::write(&file, config::nginx(listen, backend))?;
    let mut command = on_processor(1, "nginx");
    command.arg("-p").arg(folder).arg("-c").arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = Process::start(&mut command)?;
    process.wait_for(listen)?;
    Ok(Proxy::new("nginx", process, listen))
}

fn haproxy(folder: &std::path::Path, backend: std::net::SocketAddr) -> anyhow::Result<Proxy> {
    let listen = free_address()?;
    let file = folder.join("haproxy.cfg");
    fs::write(&file, config::haproxy(listen, backend))?;
    let mut command = on_processor(1, "haproxy");
    command.arg("-db").arg("-f").arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = Process::start(&mut command)?;
    process.wait_for(listen)?;
    Ok(Proxy::new("HAProxy", process, listen))
}
