//! What it takes to find a request's rule, by the number of routes.

use std::{
    hint::black_box,
    sync::Arc,
    time::{Instant, SystemTime},
};

use http::{HeaderMap, Method};
use ravelin_dataplane::{
    request::{RequestView, Scheme},
    table::Table,
};
use ravelin_snapshot::{
    HostPattern, ObjectKey, Part, Rare, Snapshot,
    route::{Action, Broken, Guard, Match, PathMatch, Route, Rule},
};

use crate::{config, report::Report};

pub(crate) fn measure(report: &mut Report) -> anyhow::Result<()> {
    for (count, target) in [(100, ""), (10_000, "<= 300 ns"), (100_000, "")] {
        let nanos = one(count)?;
        report.add(
            format!("look-up among {count} routes of one host"),
            format!("{nanos:.0} ns"),
            String::new(),
            target,
        );
    }
    Ok(())
}

/// Nanoseconds a look-up: the least of some rounds, each over requests to routes all over the table.
fn one(count: usize) -> anyhow::Result<f64> {
    let mut snapshot = Snapshot::default();
    for n in 0..count {
        snapshot.routes.insert(ObjectKey::new("bench", format!("r{n}")), route(n));
    }
    let table = Table::build(Arc::new(snapshot), None).map_err(|refusal| anyhow::anyhow!("{refusal}"))?;
    let paths: Vec<String> = (0..1000).map(|n| format!("{}/items/7", config::path(n * 7919 % count))).collect();
    let headers = HeaderMap::new();
    let mut view = RequestView {
        method: &Method::GET,
        path: "",
        raw: "",
        query: "",
        headers: &headers,
        host: config::HOST,
        authority: config::HOST,
        scheme: Scheme::Http,
        id: "",
        source: ([127, 0, 0, 1], 1).into(),
        chain: None,
    };
    let mut least = f64::MAX;
    for _ in 0..50 {
        let start = Instant::now();
        for path in &paths {
            view.path = path;
            black_box(table.find(black_box(&view), SystemTime::UNIX_EPOCH).is_some());
        }
        least = least.min(start.elapsed().as_secs_f64() * 1e9 / paths.len() as f64);
    }
    Ok(least)
}

fn route(n: usize) -> Part<Route> {
    let path = PathMatch::Prefix(config::path(n));
    let rule = Rule {
        name: "0".to_owned(),
        matches: vec![Match { path, method: None, headers: vec![], query: vec![], when: None }],
        auth: Guard::Open,
        limits: vec![],
        request_headers: Rare::default(),
        response_headers: Rare::default(),
        filters: None,
        action: Action::Reject(Broken::RouteInvalid),
        timeouts: Rare::default(),
    };
    let hosts = vec![HostPattern::parse(config::HOST)];
    Part::new(Route { created: None, hosts, certificates: vec![], rules: vec![rule] })
}
