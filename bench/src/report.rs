//! The table that is printed.

use std::io::Write;

#[derive(Default)]
pub(crate) struct Report(Vec<Row>);

struct Row {
    what: String,
    ours: String,
    best_peer: String,
    target: &'static str,
}

impl Report {
    pub(crate) fn add(&mut self, what: impl Into<String>, ours: String, best_peer: String, target: &'static str) {
        self.0.push(Row { what: what.into(), ours, best_peer, target });
    }

    pub(crate) fn print(&self) {
        let mut out = std::io::stdout().lock();
        let rule = format!("|{:-<58}|{:-<22}|{:-<26}|{:-<22}|", "", "", "", "");
        let row = |row: [&str; 4]| format!("| {:<56} | {:<20} | {:<24} | {:<20} |", row[0], row[1], row[2], row[3]);
        let head = row(["what", "Ravelin", "peers, same run", "target"]);
        let rows = self.0.iter().map(|one| row([&one.what, &one.ours, &one.best_peer, one.target]));
        let lines: Vec<String> = [head, rule].into_iter().chain(rows).collect();
        // A reader that has gone away is no trouble.
        drop(writeln!(out, "{}", lines.join("\n")));
    }
}
