//! A long run: edits all the time under open-loop load, with a WebSocket and a gRPC call open throughout. What is lost, what memory does, and how
//! even the work of two workers is.

mod memory;
mod stream;

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use ravelin_echo::{
    Echo,
    client::{Load, Protocol, Pulse, get},
};

use crate::{
    config,
    load::{self, Target, Wire},
    process::Process,
    proxy,
    report::Report,
};
use memory::Samples;
use stream::Call;

const ROUTES: usize = 1000;
/// Of the whole run, however long it is.
const EDITS: u32 = 10_000;
/// Requests a second, of each of the two loads.
const RATE: u32 = 500;
const OPENED_AND_CLOSED: usize = 100_000;

pub(crate) fn measure(time: Duration, report: &mut Report) -> anyhow::Result<()> {
    let echo = Echo::on_thread("soak")?;
    let folder = tempfile::tempdir()?;
    config::write(folder.path(), &config::routes(ROUTES, echo.address()))?;
    fs::write(folder.path().join("calls.yaml"), calls(echo.address()))?;
    edit(folder.path(), 0)?;
    let mut command = std::process::Command::new(proxy::program()?);
    // Of what rests longer than that the gateway takes leave: a load that uses the last connection first lets some rest.
    let rest = time.as_secs() + 3600;
    command.arg("standalone").arg(folder.path()).args(["--workers", "2", "--idle-timeout", &format!("{rest}s")]);
    let started = proxy::start(&mut command)?;
    let (process, address) = (&started.process, started.http);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(churn(process, address, started.admin, folder.path(), time, report))?;
    let before = process.resident()?;
    connections(address)?;
    report.add(
        format!("{OPENED_AND_CLOSED} connections opened, used once and closed: resident memory before, after"),
        format!("{:.1}, {:.1} MiB", mib(before), mib(process.resident()?)),
        String::new(),
        "",
    );
    skew(process, address, report)
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// A route for calls, to a backend that speaks HTTP/2.
fn calls(backend: SocketAddr) -> String {
    format!(
        "apiVersion: ravelin.dev/v1alpha1\nkind: Backend\nmetadata: {{name: calls}}\nspec:\n  appProtocol: kubernetes.io/h2c\n  endpoints: [{{address: {}, port: {}}}]\n---\napiVersion: ravelin.dev/v1alpha1\nkind: ApiRoute\nmetadata: {{name: calls}}\nspec:\n  hostnames: [{}]\n  rules:\n  - matches: [{{path: {{value: /bench.Calls}}}}]\n    backendRefs: [{{name: calls, kind: Backend}}]\n",
        backend.ip(),
        backend.port(),
        config::HOST
    )
}

/// A route that is another at each edit.
fn edit(folder: &Path, number: u32) -> anyhow::Result<()> {
    let text = format!(
        "apiVersion: ravelin.dev/v1alpha1\nkind: ApiRoute\nmetadata: {{name: edited}}\nspec:\n  hostnames: [{}]\n  rules:\n  - matches: [{{path: {{value: /edited}}}}]\n    filters: [{{directResponse: {{status: 200, body: \"{number}\"}}}}]\n",
        config::HOST
    );
    // In one step, as an editor saves.
    let new = folder.join("edited.new");
    fs::write(&new, text)?;
    Ok(fs::rename(new, folder.join("edited.yaml"))?)
}

async fn churn(
    process: &Process,
    address: SocketAddr,
    admin: SocketAddr,
    folder: &Path,
    time: Duration,
    report: &mut Report,
) -> anyhow::Result<()> {
    let path = format!("{}/items", config::path(7));
    let load = |protocol| {
        let path = path.clone();
        let requests = move |_| ravelin_echo::client::request(http::Method::GET, &path, &[], bytes::Bytes::new());
        Load::to(address, protocol).host(config::HOST).rate(RATE).connections(16).requests(requests).start()
    };
    let socket = Pulse::start(address, config::HOST, &path, Duration::from_millis(20)).await?;
    let call = Call::start(address, config::HOST, "/bench.Calls/Echo?body=back", Duration::from_millis(20)).await?;
    let loads = [load(Protocol::Http1), load(Protocol::Http2)];
    let (start, first) = (Instant::now(), revision(admin).await?);
    let mut samples = Samples::default();
    let mut tick = tokio::time::interval(time / EDITS);
    for number in 1..=EDITS {
        tick.tick().await;
        edit(folder, number)?;
        samples.take(start.elapsed(), process)?;
    }
    // The last edit is served, so all are that were not overtaken by the next.
    while get(address, config::HOST, "/edited").await?.body != EDITS.to_string().as_bytes() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let swaps = revision(admin).await? - first;
    let beats = socket.stop().await.map_err(|broken| anyhow::anyhow!("the WebSocket broke: {broken:?}"))?;
    let messages = call.stop().await.context("the gRPC call broke")?;
    let [http1, http2] = loads;
    let (http1, http2) = (http1.stop().await, http2.stop().await);
    let lost: u64 = [&http1, &http2].iter().flat_map(|load| load.errors.values().chain(load.wrong.values())).sum();
    let ended = http1.ended_by_peer + http2.ended_by_peer;
    let minutes = time.as_secs_f64() / 60.0;
    report.add(
        format!(
            "{minutes:.0} minutes, {swaps} swaps under {RATE} requests a second over HTTP/1.1 and as many over HTTP/2"
        ),
        format!(
            "{} sent, {lost} lost, {ended} connections ended; {beats} beats of a WebSocket, {messages} messages of a gRPC call",
            http1.sent + http2.sent
        ),
        String::new(),
        "0 lost, 0 ended",
    );
    let said = samples.judge();
    report.add(
        "resident memory: after the first fifth, at the end, slope",
        said,
        String::new(),
        "within 5 %, < 1 MiB/h",
    );
    Ok(())
}

/// How often the table was swapped.
async fn revision(admin: SocketAddr) -> anyhow::Result<u64> {
    let page = get(admin, "localhost", "/metrics").await?.text();
    let line = page.lines().find_map(|line| line.strip_prefix("ravelin_snapshot_revision "));
    Ok(line.context("no revision in the metrics")?.parse::<f64>()? as u64)
}

fn connections(address: SocketAddr) -> anyhow::Result<()> {
    const AT_ONCE: usize = 100;
    for _ in 0..OPENED_AND_CLOSED / AT_ONCE {
        load::exactly(&proxy::target(address, ROUTES), AT_ONCE, 1)?;
    }
    Ok(())
}

/// Eight connections of HTTP/2 that stay, each with requests all the time: the kernel spreads them by chance.
fn skew(process: &Process, address: SocketAddr, report: &mut Report) -> anyhow::Result<()> {
    const CONNECTIONS: usize = 8;
    const TIME: Duration = Duration::from_secs(10);
    let target = Target { wire: Wire::Http2, ..proxy::target(address, ROUTES) };
    let before = process.cpu_by_thread("worker-")?;
    let answered = load::run(&target, CONNECTIONS * load::STREAMS, TIME)?;
    let after = process.cpu_by_thread("worker-")?;
    let spent: Vec<f64> = after.iter().zip(&before).map(|(after, before)| (*after - *before).as_secs_f64()).collect();
    ensure!(spent.len() == 2, "{} workers", spent.len());
    let (least, most) = (spent[0].min(spent[1]), spent[0].max(spent[1]));
    report.add(
        format!("{CONNECTIONS} long-lived HTTP/2 connections on two workers: CPU of the idler beside the busier"),
        format!("{:.0} %", 100.0 * least / most),
        format!("{:.0} requests a second", answered as f64 / TIME.as_secs_f64()),
        "none idle",
    );
    Ok(())
}
