//! One edit among many routes, from the event to the swapped table: model, compile, channel, table.

use std::{sync::Arc, time::Instant};

use anyhow::{Context, anyhow};
use ravelin_controller::{
    compile::{Compiled, Options, compile},
    model::Model,
    object::{AnyObject, Meta, Object},
};
use ravelin_crds::{ApiRouteRule, ApiRouteSpec, BackendEndpoint, BackendRef, BackendSpec, PathMatch, RouteMatch};
use ravelin_dataplane::table::Table;
use ravelin_snapshot::{ObjectKey, channel};

use crate::{config, report::Report};

pub(crate) fn measure(report: &mut Report) -> anyhow::Result<()> {
    // Fewer of those that take longer, and said as they come: who waits sees how far it is.
    for (count, edits, target) in [(10_000, 1000, "p99 <= 5 ms"), (100_000, 100, "")] {
        let (first, mut times) = one(count, edits)?;
        times.sort_unstable_by(f64::total_cmp);
        let of = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        eprintln!("bench: {edits} changes among {count} routes: p50 {:.2}, p99 {:.2} ms", of(0.5), of(0.99));
        report.add(
            format!("one change among {count} routes, event to swapped"),
            format!("p50 {:.2}, p99 {:.2} ms", of(0.5), of(0.99)),
            String::new(),
            target,
        );
        report.add(format!("{count} routes from nothing to a table"), format!("{first:.0} ms"), String::new(), "");
    }
    Ok(())
}

/// Milliseconds: the first table, then each edit.
fn one(count: usize, edits: usize) -> anyhow::Result<(f64, Vec<f64>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut model = Model::default();
    model.set(AnyObject::Backend(object(
        "backend".to_owned(),
        BackendSpec {
            endpoints: vec![BackendEndpoint { address: "127.0.0.1".to_owned(), port: 9, weight: None }],
            app_protocol: None,
        },
    )));
    for n in 0..count {
        model.set(route(n, &config::path(n)));
    }
    let start = Instant::now();
    let (publisher, mut subscriber) = channel::memory();
    let mut compiled: Option<Compiled> = None;
    let mut table: Option<Table> = None;
    let mut swap = |model: &Model| {
        let next = compile(model, Options::default(), compiled.as_ref());
        publisher.publish(next.snapshot.clone());
        let snapshot = runtime.block_on(subscriber.next()).context("the channel has ended")?;
        let built = Table::build(Arc::clone(&snapshot), table.as_ref()).map_err(|refusal| anyhow!("{refusal}"))?;
        table = Some(built);
        subscriber.accept(snapshot.revision);
        compiled = Some(next);
        anyhow::Ok(())
    };
    swap(&model)?;
    let first = start.elapsed().as_secs_f64() * 1e3;
    let edits = (0..edits).map(|edit| {
        let n = edit * 7919 % count;
        let start = Instant::now();
        model.set(route(n, &format!("{}/edit-{edit}", config::path(n))));
        swap(&model)?;
        Ok(start.elapsed().as_secs_f64() * 1e3)
    });
    Ok((first, edits.collect::<anyhow::Result<_>>()?))
}

fn object<S>(name: String, spec: S) -> Object<S> {
    let meta = Meta { key: ObjectKey::new("bench", name), created: Some(0), ..Meta::default() };
    Object { meta, spec, faults: Vec::new() }
}

fn route(n: usize, path: &str) -> AnyObject {
    let path = PathMatch { type_: None, value: Some(path.to_owned()) };
    let backend = BackendRef {
        group: None,
        kind: Some("Backend".to_owned()),
        name: "backend".to_owned(),
        namespace: None,
        port: None,
        weight: None,
        filters: Vec::new(),
    };
    let rule = ApiRouteRule {
        matches: vec![RouteMatch { path: Some(path), ..RouteMatch::default() }],
        backend_refs: vec![backend],
        ..ApiRouteRule::default()
    };
    let spec = ApiRouteSpec { hostnames: vec![config::HOST.to_owned()], rules: vec![rule], ..ApiRouteSpec::default() };
    AnyObject::ApiRoute(object(format!("r{n}"), spec))
}
