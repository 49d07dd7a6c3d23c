//! What a request costs in counts that do not depend on the machine's mood: instructions in user space and allocations (by
//! callgrind), system calls (by strace). One worker, answers of 1 KB, connections kept on both sides.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::{
    backend::{self, Body},
    config::{self, Certificate, Policies, Setup},
    load::{self, Target, Wire},
    proxy,
    report::Report,
};

/// What is counted.
struct Case {
    /// In the baseline.
    name: &'static str,
    wire: Wire,
    policies: Policies,
    targets: [&'static str; 3],
}

const CASES: [Case; 3] = [
    Case { name: "plain", wire: Wire::Http1, policies: Policies::None, targets: ["<= 15,000", "<= 4", "<= 5"] },
    Case { name: "key and limit", wire: Wire::Http1, policies: Policies::AuthAndLimit, targets: [""; 3] },
    // All over one connection.
    Case { name: "HTTP/2", wire: Wire::Http2, policies: Policies::None, targets: [""; 3] },
];

/// Requests at once, closed loop.
const AT_ONCE: usize = 16;
/// In the table.
const ROUTES: usize = 1000;
const WARM_UP: usize = 1_600;
const REQUESTS: usize = 8_000;

/// More than this above the baseline is a step back.
const TOLERANCE: f64 = 0.03;

/// Of one and a few, three in a hundred is less than what differs from run to run: a tick of the writer of the log, a buffer that
/// grows.
const SLACK: f64 = 0.1;

/// Per request.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Counts {
    instructions: f64,
    allocations: f64,
    system_calls: f64,
}

/// By the names of cases.
type Baseline = BTreeMap<String, Counts>;

/// All cases, or those of these names.
pub(crate) fn measure(
    only: &[String],
    report: &mut Report,
    baseline: Option<&Path>,
    write: bool,
) -> anyhow::Result<()> {
    let named = |case: &&Case| only.iter().any(|name| name == case.name);
    let all = !CASES.iter().any(|case| named(&case));
    let mut counted = Baseline::new();
    for case in CASES.iter().filter(|case| all || named(case)) {
        counted.insert(case.name.to_owned(), case.count(report).with_context(|| case.name)?);
    }
    let Some(file) = baseline else { return Ok(()) };
    if write {
        let text = serde_json::to_string_pretty(&counted)? + "\n";
        return fs::write(file, text).with_context(|| format!("cannot write {}", file.display()));
    }
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    judge(&counted, &serde_json::from_str(&text)?)
}

impl Case {
    fn count(&self, report: &mut Report) -> anyhow::Result<Counts> {
        let folder = tempfile::tempdir()?;
        let setup = Setup {
            backend: backend::start(Body::Whole(1024), false)?,
            routes: ROUTES,
            upstream_http2: false,
            policies: self.policies,
            wire: self.wire,
            certificate: &Certificate::make()?,
        };
        config::write(folder.path(), &config::objects(&setup))?;
        let (instructions, allocations) = self.under_callgrind(folder.path())?;
        let (system_calls, each) = self.under_strace(folder.path())?;
        let mut add = |what: &str, count: String, each: String, target| {
            report.add(format!("{what} a request, {}", self.name), count, each, target);
        };
        let [of_instructions, of_allocations, of_calls] = self.targets;
        add("user instructions", format!("{instructions:.0}"), String::new(), of_instructions);
        add("heap allocations", format!("{allocations:.2}"), String::new(), of_allocations);
        add("system calls", format!("{system_calls:.2}"), each, of_calls);
        Ok(Counts { instructions, allocations, system_calls })
    }

    fn target(&self, address: SocketAddr) -> Target {
        let api_key = (self.policies != Policies::None).then_some(config::API_KEY);
        Target { wire: self.wire, api_key, ..proxy::target(address, ROUTES) }
    }

    /// Instructions and allocations a request.
    fn under_callgrind(&self, objects: &Path) -> anyhow::Result<(f64, f64)> {
        let folder = tempfile::tempdir()?;
        let out = folder.path().join("out");
        let mut valgrind = Command::new("valgrind");
        // The start, with all its routes, does not count and runs at full speed, as far as valgrind has one.
        valgrind
            .args(["--tool=callgrind", "--instr-atstart=no", "-q"])
            .arg(format!("--callgrind-out-file={}", out.display()));
        valgrind.arg(proxy::program()?);
        let proxy::Started { process, http: address, .. } = proxy::start_with(&mut valgrind, objects, 1)?;
        let control = |what: &[&str]| {
            let mut command = Command::new("callgrind_control");
            command.args(what).arg(process.id().to_string()).stdout(Stdio::null()).stderr(Stdio::null());
            let done = command.status().context("callgrind_control")?;
            ensure!(done.success(), "callgrind_control {what:?}: {done}");
            Ok(())
        };
        control(&["-i", "on"])?;
        load::exactly(&self.target(address), AT_ONCE, WARM_UP / AT_ONCE)?;
        control(&["-z"])?;
        load::exactly(&self.target(address), AT_ONCE, REQUESTS / AT_ONCE)?;
        control(&["-d"])?;
        let dump = fs::read_dir(folder.path())?.flatten().map(|entry| entry.path()).find(|path| *path != out);
        let text = fs::read_to_string(dump.context("callgrind wrote nothing")?)?;
        if let Some(keep) = std::env::var_os("CALLGRIND_KEEP") {
            fs::write(Path::new(&keep).with_extension(self.name.replace([' ', '/'], "-")), &text)?; // for callgrind_annotate
        }
        let (instructions, allocations) = read_dump(&text)?;
        Ok((instructions as f64 / REQUESTS as f64, allocations as f64 / REQUESTS as f64))
    }

    /// System calls a request, and the most frequent of them.
    fn under_strace(&self, objects: &Path) -> anyhow::Result<(f64, String)> {
        let folder = tempfile::tempdir()?;
        let out = folder.path().join("out");
        let proxy::Started { process, http: address, .. } = proxy::start_ravelin(objects)?;
        load::exactly(&self.target(address), AT_ONCE, WARM_UP / AT_ONCE)?;
        let mut command = Command::new("strace");
        command.args(["-f", "-c", "-o"]).arg(&out).args(["-p", &process.id().to_string()]);
        let mut strace = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().context("cannot start strace")?;
        let mut said = BufReader::new(strace.stderr.take().context("its output is not piped")?);
        let mut line = String::new();
        while !line.contains("attached") {
            line.clear();
            if said.read_line(&mut line)? == 0 {
                bail!("strace does not attach: {}", strace.wait()?);
            }
        }
        load::exactly(&self.target(address), AT_ONCE, REQUESTS / AT_ONCE)?;
        Command::new("kill").args(["-INT", &strace.id().to_string()]).status()?;
        strace.wait()?;
        let mut calls: Vec<(u64, String)> = fs::read_to_string(&out)?.lines().filter_map(read_row).collect();
        calls.sort_unstable_by(|a, b| b.cmp(a));
        let each = |count: u64| count as f64 / REQUESTS as f64;
        let most = calls.iter().take(6).map(|(count, name)| format!("{name} {:.2}", each(*count)));
        Ok((each(calls.iter().map(|(count, _)| count).sum()), most.collect::<Vec<_>>().join(", ")))
    }
}

/// A case that the baseline does not have yet is not judged.
fn judge(counted: &Baseline, baseline: &Baseline) -> anyhow::Result<()> {
    let known = counted.iter().filter_map(|(name, counts)| Some((name, counts, baseline.get(name)?)));
    let worse: Vec<String> = known.flat_map(|(name, counts, before)| counts.worse(name, before)).collect();
    ensure!(worse.is_empty(), "{} (make bench-gate WRITE=1 sets a new baseline)", worse.join("; "));
    Ok(())
}

impl Counts {
    fn worse(&self, case: &str, baseline: &Self) -> Vec<String> {
        let pairs = [
            ("instructions", self.instructions, baseline.instructions),
            ("allocations", self.allocations, baseline.allocations + SLACK),
            ("system calls", self.system_calls, baseline.system_calls + SLACK),
        ];
        let worse = pairs.into_iter().filter(|(_, now, before)| *now > before * (1.0 + TOLERANCE));
        let said = |(what, now, before)| format!("{case}, {what} a request: {now:.2}, the baseline is {before:.2}");
        worse.map(said).collect()
    }
}

/// The sum of a dump, and how often something was allocated in it.
fn read_dump(text: &str) -> anyhow::Result<(u64, u64)> {
    const ALLOCATORS: [&str; 6] = ["malloc", "calloc", "realloc", "mallocx", "rallocx", "aligned_alloc"];
    let (mut instructions, mut allocations) = (None, 0);
    let mut names = BTreeMap::new();
    let mut called = "";
    for line in text.lines() {
        let name = line.strip_prefix("cfn=").or_else(|| line.strip_prefix("fn="));
        if let Some(name) = name {
            // A name is written once, and is a number from then on.
            let (number, text) = name.split_once(' ').unwrap_or((name, ""));
            if !text.is_empty() {
                names.insert(number, text);
            }
            if line.starts_with('c') {
                called = names.get(number).copied().unwrap_or_default();
            }
        } else if let Some(calls) = line.strip_prefix("calls=") {
            let function = called.strip_prefix("_rjem_").unwrap_or(called);
            if ALLOCATORS.contains(&function) {
                allocations += calls.split(' ').next().unwrap_or_default().parse::<u64>()?;
            }
        } else if let Some(sum) = line.strip_prefix("summary: ").or_else(|| line.strip_prefix("totals: ")) {
            instructions = Some(sum.trim().parse()?);
        }
    }
    Ok((instructions.context("a dump without a sum")?, allocations))
}

/// `% time, seconds, usecs/call, calls, errors (or nothing), syscall`.
fn read_row(line: &str) -> Option<(u64, String)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    words.first()?.parse::<f64>().ok()?;
    let name = words.last().filter(|name| **name != "total")?;
    Some((words.get(3)?.parse().ok()?, (*name).to_owned()))
}
