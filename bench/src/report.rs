//! What is printed, and what is kept: rows of figures, with the machine and the programs that they are of.

use std::{fs, io::Write, process::Command};

use serde::{Deserialize, Serialize};

/// Of one run.
#[derive(Deserialize, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    /// Of the programs that take part, by name.
    pub(crate) versions: Vec<(String, String)>,
    pub(crate) rows: Vec<Row>,
}

#[derive(Deserialize, Serialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) processors: usize,
    pub(crate) memory_gib: u64,
    pub(crate) kernel: String,
}

#[derive(Deserialize, Serialize)]
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) ours: String,
    pub(crate) peers: String,
    pub(crate) target: String,
    /// What a plot is made of, Ravelin's first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) figures: Vec<Figure>,
}

#[derive(Clone, Deserialize, Serialize)]
pub(crate) struct Figure {
    pub(crate) of: String,
    pub(crate) value: f64,
    /// How much more the dearest round was.
    #[serde(default)]
    pub(crate) spread: f64,
    pub(crate) unit: String,
}

impl Report {
    pub(crate) fn new() -> Self {
        Self { machine: Machine::read(), versions: versions(), rows: Vec::new() }
    }

    pub(crate) fn add(&mut self, what: impl Into<String>, ours: String, peers: String, target: &str) {
        let row = Row { what: what.into(), ours, peers, target: target.to_owned(), figures: Vec::new() };
        self.rows.push(row);
    }

    /// Of the row that was added last.
    pub(crate) fn figures(&mut self, figures: Vec<Figure>) {
        if let Some(row) = self.rows.last_mut() {
            row.figures = figures;
        }
    }

    pub(crate) fn print(&self) {
        let mut out = std::io::stdout().lock();
        let rule = format!("|{:-<62}|{:-<22}|{:-<44}|{:-<22}|", "", "", "", "");
        let row = |row: [&str; 4]| format!("| {:<60} | {:<20} | {:<42} | {:<20} |", row[0], row[1], row[2], row[3]);
        let head = row(["what", "Ravelin", "peers, same run", "target"]);
        let rows = self.rows.iter().map(|one| row([&one.what, &one.ours, &one.peers, &one.target]));
        let lines: Vec<String> = [head, rule].into_iter().chain(rows).collect();
        // A reader that has gone away is no trouble.
        drop(writeln!(out, "{}", lines.join("\n")));
    }
}

impl Machine {
    fn read() -> Self {
        let line = |file: &str, name: &str| {
            let text = fs::read_to_string(file).unwrap_or_default();
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_once(':').map_or("", |(_, value)| value.trim()).to_owned()
        };
        let kilobytes = line("/proc/meminfo", "MemTotal").split(' ').next().and_then(|number| number.parse().ok());
        Self {
            processor: line("/proc/cpuinfo", "model name"),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: kilobytes.unwrap_or(0_u64) >> 20,
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
        }
    }
}

fn versions() -> Vec<(String, String)> {
    let first_line = |program: &str, argument: &str| {
        let output = Command::new(program).arg(argument).output().ok()?;
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&text).lines().next().map(str::to_owned)
    };
    let ravelin = Some(format!("ravelin {}", env!("CARGO_PKG_VERSION")));
    let all = [
        ("Ravelin", ravelin),
        ("nginx", first_line("nginx", "-v")),
        ("HAProxy", first_line("haproxy", "-v").map(|line| line.split(" - ").next().unwrap_or_default().to_owned())),
        ("rustc", first_line("rustc", "--version")),
    ];
    all.into_iter().filter_map(|(name, version)| Some((name.to_owned(), version?))).collect()
}
