//! The proxies that take part: Ravelin, nginx and HAProxy from Debian, a forwarder of bytes as the floor, and whoever else is named.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    rc::Rc,
};

use anyhow::Context;

use crate::{
    config::{self, Policies, Setup},
    load::{Target, Wire},
    process::{Process, free_address, on_processor},
};

/// One that runs, with a worker on the second processor.
pub(crate) struct Proxy {
    pub(crate) name: String,
    pub(crate) process: Process,
    pub(crate) target: Target,
}

/// `NAME=COMMAND` of a peer that is no part of this; `{listen}` and `{backend}` in the command are addresses.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    name: String,
    command: String,
}

impl std::str::FromStr for Peer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, command) = text.split_once('=').ok_or("a peer is NAME=COMMAND")?;
        Ok(Self { name: name.to_owned(), command: command.to_owned() })
    }
}

/// All that can do what is asked, Ravelin first.
pub(crate) fn start_all(folder: &Path, setup: &Setup<'_>, peers: &[Peer]) -> anyhow::Result<Vec<Proxy>> {
    if setup.wire.is_tls() {
        setup.certificate.write(&folder.join("tls.pem"))?;
    }
    let mut all = vec![ravelin(folder, setup)?];
    all.extend(nginx(folder, setup)?);
    all.extend(haproxy(folder, setup)?);
    if setup.wire == Wire::Http1 && !setup.upstream_http2 {
        all.push(floor(setup)?);
        for peer in peers {
            all.push(other(peer, setup)?);
        }
    }
    Ok(all)
}

impl Proxy {
    fn new(name: &str, process: Process, address: SocketAddr, setup: &Setup<'_>) -> Self {
        let certificate = setup.wire.is_tls().then(|| setup.certificate.der.clone());
        let api_key = (setup.policies != Policies::None).then_some(config::API_KEY);
        let target = Target { wire: setup.wire, certificate, api_key, ..target(address, setup.routes) };
        Self { name: name.to_owned(), process, target }
    }
}

/// Plain requests to routes all over the table.
pub(crate) fn target(address: SocketAddr, routes: usize) -> Target {
    let step = (routes / 150).max(1);
    let paths = Rc::new((0..routes).step_by(step).map(|n| format!("{}/items", config::path(n))).collect());
    Target { address, wire: Wire::Http1, certificate: None, host: config::HOST, api_key: None, paths }
}

fn ravelin(folder: &Path, setup: &Setup<'_>) -> anyhow::Result<Proxy> {
    let objects = folder.join("objects");
    fs::create_dir(&objects)?;
    config::write(&objects, &config::objects(setup))?;
    let started = start_ravelin(&objects)?;
    let address = if setup.wire.is_tls() { started.https } else { started.http };
    Ok(Proxy::new("Ravelin", started.process, address, setup))
}

/// Ravelin, and where it listens.
pub(crate) struct Started {
    pub(crate) process: Process,
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
    pub(crate) admin: SocketAddr,
}

/// With one worker on the second processor, and its access log on.
pub(crate) fn start_ravelin(objects: &Path) -> anyhow::Result<Started> {
    start_with(&mut on_processor(1, &program()?.to_string_lossy()), objects, 1)
}

/// The release's program, which is built beside this one.
pub(crate) fn program() -> anyhow::Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name("ravelin"))
}

/// `command` is the program, or what runs it.
pub(crate) fn start_with(command: &mut Command, objects: &Path, workers: usize) -> anyhow::Result<Started> {
    command.arg("standalone").arg(objects).args(["--workers", &workers.to_string()]);
    start(command)
}

/// `command` has what is served, and by how many workers.
pub(crate) fn start(command: &mut Command) -> anyhow::Result<Started> {
    command.args(["--http", "127.0.0.1:0", "--https", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    let mut process = Process::start(command.stdout(Stdio::piped()).stderr(Stdio::null()))?;
    let ready: serde_json::Value = serde_json::from_str(&process.line()?)?;
    let address = |name: &str| anyhow::Ok(ready[name].as_str().context("no address")?.parse()?);
    Ok(Started { process, http: address("http")?, https: address("https")?, admin: address("admin")? })
}

fn nginx(folder: &Path, setup: &Setup<'_>) -> anyhow::Result<Option<Proxy>> {
    let listen = free_address()?;
    let Some(text) = config::nginx(listen, folder, setup) else { return Ok(None) };
    let file = folder.join("nginx.conf");
    fs::write(&file, text)?;
    let mut command = on_processor(1, "nginx");
    command.arg("-p").arg(folder).arg("-c").arg(&file);
    listening("nginx", command, listen, setup).map(Some)
}

fn haproxy(folder: &Path, setup: &Setup<'_>) -> anyhow::Result<Option<Proxy>> {
    let listen = free_address()?;
    let Some(text) = config::haproxy(listen, folder, setup) else { return Ok(None) };
    let file = folder.join("haproxy.cfg");
    fs::write(&file, text)?;
    let mut command = on_processor(1, "haproxy");
    command.arg("-db").arg("-f").arg(&file);
    listening("HAProxy", command, listen, setup).map(Some)
}

fn floor(setup: &Setup<'_>) -> anyhow::Result<Proxy> {
    let mut command = on_processor(1, &std::env::current_exe()?.to_string_lossy());
    command.args(["--forward-to", &setup.backend.to_string()]).stdout(Stdio::piped());
    let mut process = Process::start(&mut command)?;
    let address = process.line()?.trim().parse()?;
    Ok(Proxy::new("floor", process, address, setup))
}

fn other(peer: &Peer, setup: &Setup<'_>) -> anyhow::Result<Proxy> {
    let listen = free_address()?;
    let command = peer.command.replace("{listen}", &listen.to_string());
    let command = command.replace("{backend}", &setup.backend.to_string());
    let mut shell = on_processor(1, "sh");
    shell.args(["-c", &format!("exec {command}")]);
    listening(&peer.name, shell, listen, setup)
}

fn listening(name: &str, mut command: Command, listen: SocketAddr, setup: &Setup<'_>) -> anyhow::Result<Proxy> {
    let mut process = Process::start(command.stdout(Stdio::null()).stderr(Stdio::null()))?;
    process.wait_for(listen).with_context(|| name.to_owned())?;
    Ok(Proxy::new(name, process, listen, setup))
}
