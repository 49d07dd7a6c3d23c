//! Many routes, and what users do to them.

use std::fmt;

use ravelin_controller::{
    model::Model,
    object::{AnyObject, Kind, Meta, Object, ObjectRef},
};
use ravelin_crds::{ApiRouteRule, ApiRouteSpec, BackendEndpoint, BackendRef, BackendSpec, PathMatch, RouteMatch};
use ravelin_snapshot::ObjectKey;

use crate::config;

/// How routes are spread.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    /// Ten to a host, and ten to a backend.
    Spread,
    /// All of them on one host, to one backend.
    OneHost,
}

impl Shape {
    /// The number of a route's host and backend.
    fn group(self, route: usize) -> usize {
        match self {
            Self::Spread => route / 10,
            Self::OneHost => 0,
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Spread => "10 a host",
            Self::OneHost => "one host",
        })
    }
}

/// What is edited, one object at a time.
#[derive(Clone, Copy, Debug)]
pub(super) enum Edit {
    /// The path of one route or another.
    Route,
    /// The endpoints of one backend or another.
    Endpoints,
    /// A route of a host and a backend of its own comes, and goes with the next edit.
    ComeAndGo,
}

impl Edit {
    pub(super) const ALL: [Self; 3] = [Self::Route, Self::Endpoints, Self::ComeAndGo];

    /// What the edit of that number sets, or removes.
    pub(super) fn object(self, number: usize, count: usize, shape: Shape) -> Result<AnyObject, ObjectRef> {
        let n = number * 7919 % count;
        match self {
            Self::Route => Ok(route(n, shape.group(n), &format!("{}/edit-{number}", config::path(n)))),
            Self::Endpoints => Ok(backend(shape.group(n), 1000 + number as u16)),
            Self::ComeAndGo if number.is_multiple_of(2) => Ok(route(count, SPARE, "/new")),
            Self::ComeAndGo => Err(ObjectRef::new(Kind::ApiRoute, key(format!("r{count}")))),
        }
    }
}

impl fmt::Display for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Route => "a route",
            Self::Endpoints => "endpoints",
            Self::ComeAndGo => "new and gone",
        })
    }
}

/// A backend that no route uses.
const SPARE: usize = usize::MAX;

pub(crate) fn model(count: usize, shape: Shape) -> Model {
    let mut model = Model::default();
    model.set(backend(SPARE, 9));
    for n in 0..=shape.group(count - 1) {
        model.set(backend(n, 9));
    }
    for n in 0..count {
        model.set(route(n, shape.group(n), &config::path(n)));
    }
    model
}

fn key(name: String) -> ObjectKey {
    ObjectKey::new("bench", name)
}

fn object<S>(name: String, spec: S) -> Object<S> {
    let meta = Meta { key: key(name), created: Some(0), ..Meta::default() };
    Object { meta, spec, faults: Vec::new() }
}

fn backend(group: usize, port: u16) -> AnyObject {
    let endpoint = BackendEndpoint { address: "127.0.0.1".to_owned(), port, weight: None };
    AnyObject::Backend(object(format!("b{group}"), BackendSpec { endpoints: vec![endpoint], app_protocol: None }))
}

fn route(n: usize, group: usize, path: &str) -> AnyObject {
    let path = PathMatch { type_: None, value: Some(path.to_owned()) };
    let backend = BackendRef {
        group: None,
        kind: Some("Backend".to_owned()),
        name: format!("b{group}"),
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
    let hostnames = vec![format!("h{group}.{}", config::HOST)];
    let spec = ApiRouteSpec { hostnames, rules: vec![rule], ..ApiRouteSpec::default() };
    AnyObject::ApiRoute(object(format!("r{n}"), spec))
}
