//! What a request costs: CPU time of the whole process tree per request, beside the peers of the same run, in turns. One case is as
//! usual; each of the others differs from it in one thing.

use std::time::Duration;

use anyhow::Context;

use crate::{
    backend::{self, Body},
    config::{Certificate, Policies, Setup},
    load::{self, Wire},
    proxy::{self, Peer, Proxy},
    report::{Figure, Report},
};

pub(crate) struct Case {
    pub(crate) name: &'static str,
    wire: Wire,
    upstream_http2: bool,
    body: Body,
    /// Requests that are under way at once; each over its own connection, or 16 over one of HTTP/2.
    at_once: usize,
    routes: usize,
    policies: Policies,
    target: &'static str,
}

const KIB: usize = 1 << 10;

const USUAL: Case = Case {
    name: "as usual: HTTP/1.1, 1 KiB, 64 connections, 1,000 routes",
    wire: Wire::Http1,
    upstream_http2: false,
    body: Body::Whole(KIB),
    at_once: 64,
    routes: 1000,
    policies: Policies::None,
    target: "<= 1.15x the better",
};

const GRID: [Case; 15] = [
    Case { name: "1 route", routes: 1, target: "", ..USUAL },
    Case { name: "10,000 routes", routes: 10_000, target: "<= 1.00x the better", ..USUAL },
    Case { name: "100,000 routes", routes: 100_000, target: "", ..USUAL },
    Case { name: "HTTP/2 in", wire: Wire::Http2, target: "<= 1.00x the better", ..USUAL },
    Case { name: "TLS in, HTTP/1.1", wire: Wire::Https1, target: "", ..USUAL },
    Case { name: "TLS in, HTTP/2", wire: Wire::Https2, target: "", ..USUAL },
    Case { name: "h2c to the backend", upstream_http2: true, target: "", ..USUAL },
    Case { name: "empty answers", body: Body::Whole(0), target: "", ..USUAL },
    Case { name: "answers of 64 KiB", body: Body::Whole(64 * KIB), target: "", ..USUAL },
    Case { name: "answers of 64 KiB in chunks", body: Body::Chunks(64 * KIB), target: "", ..USUAL },
    Case { name: "answers of 1 MiB", body: Body::Whole(1024 * KIB), at_once: 16, target: "", ..USUAL },
    Case { name: "1 connection", at_once: 1, target: "", ..USUAL },
    Case { name: "512 connections", at_once: 512, target: "", ..USUAL },
    Case { name: "an API key and a limit", policies: Policies::AuthAndLimit, target: "", ..USUAL },
    Case { name: "all features", policies: Policies::All, target: "", ..USUAL },
];

/// A request a second for the open loop: about a third of what the machine at hand can do.
const PACE: u64 = 6000;

/// As it went with one proxy.
struct Tried {
    proxy: Proxy,
    /// Microseconds of CPU a request, of each round.
    costs: Vec<f64>,
    most_per_second: f64,
}

pub(crate) struct Rounds {
    pub(crate) count: usize,
    pub(crate) time: Duration,
}

/// The usual case, with throughput and latency.
pub(crate) fn usual(rounds: &Rounds, peers: &[Peer], report: &mut Report) -> anyhow::Result<()> {
    let (mut all, _folder) = run(&USUAL, rounds, peers, report)?;
    let line = |of: &dyn Fn(&Tried) -> String| -> (String, String) {
        let said = |tried: &Tried| format!("{} {}", tried.proxy.name, of(tried));
        (of(&all[0]), all[1..].iter().map(said).collect::<Vec<_>>().join(", "))
    };
    let (ours, theirs) = line(&|tried| format!("{:.0}", tried.most_per_second));
    report.add("requests a second of one worker, closed loop", ours, theirs, "");
    let mut said = Vec::new();
    for tried in &mut all {
        let took = load::paced(&tried.proxy.target, USUAL.at_once, PACE, rounds.time * 2)?;
        let share =
            |share: f64| took.get((took.len() as f64 * share) as usize).map_or(0.0, Duration::as_secs_f64) * 1e3;
        let (p50, p99) = (share(0.5), share(0.99));
        said.push((tried.proxy.name.clone(), format!("p50 {p50:.1}, p99 {p99:.1} ms")));
    }
    let theirs: Vec<_> = said[1..].iter().map(|(name, said)| format!("{name} {said}")).collect();
    let what = format!("latency at {PACE} requests a second, open loop");
    report.add(what, said[0].1.clone(), theirs.join("; "), "p99 <= 5 ms");
    Ok(())
}

pub(crate) fn grid(rounds: &Rounds, report: &mut Report) -> anyhow::Result<()> {
    for case in &GRID {
        run(case, rounds, &[], report)?;
    }
    Ok(())
}

fn run(
    case: &Case,
    rounds: &Rounds,
    peers: &[Peer],
    report: &mut Report,
) -> anyhow::Result<(Vec<Tried>, tempfile::TempDir)> {
    let folder = tempfile::tempdir()?;
    let certificate = Certificate::make()?;
    let setup = Setup {
        backend: backend::start(case.body, case.upstream_http2)?,
        routes: case.routes,
        upstream_http2: case.upstream_http2,
        policies: case.policies,
        wire: case.wire,
        certificate: &certificate,
    };
    let tried = |proxy| Tried { proxy, costs: Vec::new(), most_per_second: 0.0 };
    let mut all: Vec<Tried> = proxy::start_all(folder.path(), &setup, peers)?.into_iter().map(tried).collect();
    for round in 0..=rounds.count {
        // Forwards and backwards, so that a machine that slows down favours nobody; the first round warms up.
        let time = if round == 0 { Duration::from_secs(1) } else { rounds.time };
        all.reverse();
        for tried in &mut all {
            tried.round(case, time, round > 0).with_context(|| format!("{}, {}", case.name, tried.proxy.name))?;
        }
    }
    all.sort_by_key(|tried| (tried.proxy.name != "Ravelin", tried.proxy.name == "floor"));
    tell(case, &all, report);
    Ok((all, folder))
}

impl Tried {
    fn round(&mut self, case: &Case, time: Duration, counts: bool) -> anyhow::Result<()> {
        let before = self.proxy.process.cpu()?;
        let answered = load::run(&self.proxy.target, case.at_once, time)?;
        let spent = self.proxy.process.cpu()? - before;
        if counts {
            self.costs.push(spent.as_secs_f64() * 1e6 / answered as f64);
            self.most_per_second = self.most_per_second.max(answered as f64 / time.as_secs_f64());
        }
        Ok(())
    }

    fn figure(&self) -> Figure {
        let least = self.costs.iter().copied().fold(f64::MAX, f64::min);
        let most = self.costs.iter().copied().fold(0.0, f64::max);
        let rounded = |value: f64| (value * 10.0).round() / 10.0;
        Figure {
            of: self.proxy.name.clone(),
            value: rounded(least),
            spread: rounded(most - least),
            unit: "us of CPU a request".to_owned(),
        }
    }
}

fn tell(case: &Case, all: &[Tried], report: &mut Report) {
    let figures: Vec<Figure> = all.iter().map(Tried::figure).collect();
    let peers = figures[1..].iter().filter(|peer| peer.of != "floor");
    let best = peers.map(|peer| peer.value).fold(f64::MAX, f64::min);
    let ours = figures[0].value;
    let ratio = if best < f64::MAX { format!(" ({:.2}x)", ours / best) } else { String::new() };
    let theirs: Vec<_> = figures[1..].iter().map(|peer| format!("{} {:.1}", peer.of, peer.value)).collect();
    eprintln!("bench: {}: {ours:.1} us{ratio}; {}", case.name, theirs.join(", "));
    report.add(format!("CPU a request, {}", case.name), format!("{ours:.1} us{ratio}"), theirs.join(", "), case.target);
    report.figures(figures);
}
