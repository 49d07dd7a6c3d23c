//! One edit among many routes, from the event to the swapped table, step by step: model, compile, channel, table, swap.
//!
//! The two halves meet over a Unix socket as they do in a pod, on one thread, so that no step hides behind another.

mod relay;
pub(crate) mod world;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use ravelin_controller::{
    compile::{Compiled, Options, compile},
    model::Model,
};
use ravelin_dataplane::table::Table;
use ravelin_snapshot::channel::{Publisher, Subscriber, unix};
use tokio::runtime::Runtime;

use crate::{process, report::Report};
use relay::Passed;
use world::{Edit, Shape};

const COUNTS: [usize; 3] = [1000, 10_000, 100_000];
const EDITS: usize = 1000;
const PER_SECOND: u32 = 100;
const CHURN: Duration = Duration::from_secs(5);
/// Each step's name, in the order in which they happen.
const STEPS: [&str; 6] = ["model", "compile", "received", "built", "swapped", "acknowledged"];

pub(crate) fn measure(report: &mut Report) -> anyhow::Result<()> {
    for count in COUNTS {
        for shape in [Shape::Spread, Shape::OneHost] {
            let mut gateway = Gateway::start(count, shape, None)?;
            let (compiled, first) = (gateway.compiled, gateway.first);
            // Said as it comes: who waits sees how far it is.
            eprintln!("bench: {count} routes, {shape}: compiled in {compiled:.0} ms, swapped after {first:.0} ms");
            let what = format!("{count} routes, {shape}: compiled from nothing; from nothing to swapped");
            report.add(what, format!("{compiled:.0}; {first:.0} ms"), String::new(), "");
            for edit in Edit::ALL {
                let times = gateway.edits(edit, EDITS)?;
                eprintln!("bench:   {EDITS}x {edit}: {}", steps(&times));
                let target = match count {
                    10_000 => "p99 <= 1 ms",
                    100_000 => "p99 <= 2x that of 10,000",
                    _ => "",
                };
                report.add(format!("{edit} among {count}, {shape}, to swapped"), whole(&times), String::new(), target);
            }
            let what = format!("{PER_SECOND} changes of endpoints a second among {count}, {shape}");
            report.add(what, gateway.churn()?, String::new(), "");
        }
    }
    COUNTS.into_iter().try_for_each(|count| bytes(count, report))
}

/// What travels for one change, and for the first snapshot. Not timed: what counts them is in the way.
fn bytes(count: usize, report: &mut Report) -> anyhow::Result<()> {
    let passed = Passed::default();
    let mut gateway = Gateway::start(count, Shape::Spread, Some(&passed))?;
    let mut all = format!("first snapshot {} KiB", passed.bytes() >> 10);
    for edit in Edit::ALL {
        let before = passed.bytes();
        gateway.edits(edit, 100)?;
        all += &format!(", {edit} {} B", (passed.bytes() - before) / 100);
    }
    eprintln!("bench: on the channel, {count} routes: {all}");
    report.add(format!("bytes on the channel, {count} routes"), all, String::new(), "");
    Ok(())
}

/// Milliseconds of each step.
type Times = [f64; STEPS.len()];

/// Both halves.
struct Gateway {
    count: usize,
    shape: Shape,
    runtime: Runtime,
    model: Model,
    publisher: Publisher,
    subscriber: Subscriber,
    halves: Halves,
    /// Milliseconds until the first snapshot was compiled, and until its table was swapped in.
    compiled: f64,
    first: f64,
    _folder: tempfile::TempDir,
}

#[derive(Default)]
struct Halves {
    compiled: Option<Compiled>,
    table: Arc<Table>,
}

impl Gateway {
    fn start(count: usize, shape: Shape, passed: Option<&Passed>) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let folder = tempfile::tempdir()?;
        let (socket, front) = (folder.path().join("s"), folder.path().join("f"));
        let guard = runtime.enter();
        let publisher = unix::listen(&socket)?;
        let socket = match passed {
            Some(passed) => passed.relay(&front, socket).map(|()| front)?,
            None => socket,
        };
        let subscriber = unix::connect(socket, None);
        drop(guard);
        let mut connected = subscriber.connected();
        runtime.block_on(connected.wait_for(|connected| *connected))?;
        let model = world::model(count, shape);
        let halves = Halves::default();
        let (compiled, first) = (0.0, 0.0);
        let mut gateway =
            Self { count, shape, runtime, model, publisher, subscriber, halves, compiled, first, _folder: folder };
        let times = gateway.swap(Instant::now())?;
        (gateway.compiled, gateway.first) = (times[1], times[..=4].iter().sum());
        Ok(gateway)
    }

    fn edits(&mut self, edit: Edit, edits: usize) -> anyhow::Result<Vec<Times>> {
        let mut times = Vec::with_capacity(edits);
        for number in 0..edits {
            let object = edit.object(number, self.count, self.shape);
            let start = Instant::now();
            match object {
                Ok(object) => self.model.set(object),
                Err(gone) => self.model.remove(&gone),
            }
            times.push(self.swap(start)?);
        }
        Ok(times)
    }

    /// Changes that come at their times, whether or not those before are served; those that have come together are one swap.
    fn churn(&mut self) -> anyhow::Result<String> {
        let total = PER_SECOND * CHURN.as_secs() as u32;
        let (start, before) = (Instant::now(), process::cpu_of_this_thread()?);
        let (mut swaps, mut waited) = (0, Vec::new());
        let mut next = 0;
        while next < total {
            let due = |number: u32| start + number * (Duration::from_secs(1) / PER_SECOND);
            #[expect(clippy::disallowed_methods, reason = "changes come at their times, not at events")]
            std::thread::sleep(due(next).saturating_duration_since(Instant::now()));
            let first = next;
            while next < total && due(next) <= Instant::now() {
                if let Ok(object) = Edit::Endpoints.object(next as usize, self.count, self.shape) {
                    self.model.set(object);
                }
                next += 1;
            }
            self.swap(Instant::now())?;
            let served = Instant::now();
            waited.extend((first..next).map(|number| (served - due(number)).as_secs_f64() * 1e3));
            swaps += 1;
        }
        let took = start.elapsed().as_secs_f64();
        let cpu = (process::cpu_of_this_thread()? - before).as_secs_f64();
        let (p50, p99) = shares(waited.into_iter());
        let rate = f64::from(swaps) / took;
        Ok(format!("{rate:.0} swaps/s, served after p50 {p50:.2}, p99 {p99:.2} ms, {:.0} % CPU", 100.0 * cpu / took))
    }

    /// `start` is when the event came.
    fn swap(&mut self, start: Instant) -> anyhow::Result<Times> {
        let Self { runtime, model, publisher, subscriber, halves, .. } = self;
        let mut laps = Laps { last: start, times: Vec::with_capacity(STEPS.len()) };
        laps.lap();
        let next = compile(model, Options::default(), halves.compiled.as_ref());
        laps.lap();
        let revision = publisher.publish(next.snapshot.clone());
        let snapshot = runtime.block_on(subscriber.next()).context("the channel has ended")?;
        laps.lap();
        let built = Table::build(snapshot, Some(&halves.table)).map_err(|refusal| anyhow!("{refusal}"))?;
        laps.lap();
        halves.table = Arc::new(built);
        laps.lap();
        subscriber.accept(revision);
        let mut delivery = publisher.delivery();
        runtime.block_on(delivery.wait_for(|delivery| delivery.acknowledged == Some(revision)))?;
        // What the compilation before held alone is given back here, as it is where it matters: after the swap.
        halves.compiled = Some(next);
        laps.lap();
        laps.times.try_into().map_err(|_| anyhow!("a step is missing"))
    }
}

struct Laps {
    last: Instant,
    times: Vec<f64>,
}

impl Laps {
    fn lap(&mut self) {
        let now = Instant::now();
        self.times.push(now.duration_since(self.last).as_secs_f64() * 1e3);
        self.last = now;
    }
}

fn whole(times: &[Times]) -> String {
    // Acknowledging is behind the swap.
    let (p50, p99) = shares(times.iter().map(|times| times[..=4].iter().sum()));
    format!("p50 {p50:.2}, p99 {p99:.2} ms")
}

fn steps(times: &[Times]) -> String {
    let steps = STEPS.iter().enumerate().map(|(step, name)| {
        let (p50, p99) = shares(times.iter().map(|times| times[step]));
        format!("{name} {p50:.3}/{p99:.3}")
    });
    format!("{}; {} (ms, p50/p99)", whole(times), steps.collect::<Vec<_>>().join(", "))
}

fn shares(times: impl Iterator<Item = f64>) -> (f64, f64) {
    let mut times: Vec<f64> = times.collect();
    times.sort_unstable_by(f64::total_cmp);
    let of = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    (of(0.5), of(0.99))
}
