//! The compiler on small worlds. Promises to users are the golden cases in `tests/golden`.

mod anything;
mod edits;
mod expiry;
mod ownership;
mod precedence;

use ravelin_crds::{ApiRouteRule, ApiRouteSpec, BackendEndpoint, BackendRef, BackendSpec, PathMatch, RouteMatch};
use ravelin_snapshot::{
    ObjectKey,
    backend::{Address, BackendKey, BackendKind},
    route::{Action, Target},
};

use super::*;
use crate::object::{AnyObject, Kind, Meta, Object};

fn object<S>(namespace: &str, name: &str, spec: S) -> Object<S> {
    let meta = Meta { key: ObjectKey::new(namespace, name), ..Meta::default() };
    Object { meta, spec, faults: Vec::new() }
}

fn backend(namespace: &str, name: &str) -> AnyObject {
    let endpoint = BackendEndpoint { address: "127.0.0.1".to_owned(), port: 9001, weight: None };
    AnyObject::Backend(object(namespace, name, BackendSpec { endpoints: vec![endpoint], app_protocol: None }))
}

fn route(namespace: &str, name: &str, host: &str, backend: &str) -> AnyObject {
    let reference = BackendRef {
        group: None,
        kind: Some("Backend".to_owned()),
        name: backend.to_owned(),
        namespace: None,
        port: None,
        weight: None,
        filters: Vec::new(),
    };
    let rule = ApiRouteRule { backend_refs: vec![reference], ..ApiRouteRule::default() };
    let spec = ApiRouteSpec { hostnames: vec![host.to_owned()], rules: vec![rule], ..ApiRouteSpec::default() };
    AnyObject::ApiRoute(object(namespace, name, spec))
}

#[test]
fn one_route_and_one_backend_become_a_snapshot_that_holds_together() {
    let mut model = Model::default();
    model.set(backend("shop", "orders"));
    model.set(route("shop", "orders", "api.shop.example", "orders"));
    let compiled = compile(&model, Options::default(), None);
    compiled.snapshot.check().unwrap();
    let route = compiled.snapshot.routes.get(&ObjectKey::new("shop", "orders")).unwrap();
    let Action::Forward(forward) = &route.rules[0].action else { panic!("{:?}", route.rules[0].action) };
    let Target::Backend(key) = &forward.backends[0].target else { panic!("{forward:?}") };
    let expected = BackendKey { kind: BackendKind::Backend, object: ObjectKey::new("shop", "orders"), port: 0 };
    assert_eq!(*key, expected);
    let endpoints = &compiled.snapshot.backends.get(key).unwrap().endpoints;
    assert_eq!(endpoints[0].address, Address::Ip("127.0.0.1:9001".parse().unwrap()));
    assert!(compiled.verdicts.iter().all(|(_, verdict)| verdict.accepted.status && verdict.resolved_refs.status));
    assert_eq!(compiled.verdicts.len(), 2);
}

#[test]
fn one_changed_route_among_two_thousand_is_all_that_is_compiled() {
    let mut model = Model::default();
    model.set(backend("shop", "shared"));
    model.set(backend("shop", "other"));
    for n in 0..2_000 {
        model.set(route("shop", &format!("route-{n}"), &format!("h{n}.example"), "shared"));
    }
    let first = compile(&model, Options::default(), None);
    assert!(first.computed > 2_000);

    model.set(route("shop", "route-7", "h7.example", "other"));
    let second = compile(&model, Options::default(), Some(&first));
    assert!(second.computed <= 4, "{} results were computed", second.computed);
    let untouched = ObjectKey::new("shop", "route-8");
    let part = |compiled: &Compiled| std::sync::Arc::clone(compiled.snapshot.routes.get(&untouched).unwrap().value());
    assert!(std::sync::Arc::ptr_eq(&part(&first), &part(&second)), "what did not change is the same allocation");
    assert_eq!(second.snapshot.backends.len(), 2);

    model.remove(&ObjectRef::new(Kind::Backend, ObjectKey::new("shop", "other")));
    let third = compile(&model, Options::default(), Some(&second));
    assert!(third.computed <= 4, "{} results were computed", third.computed);
    let fresh = compile(&model, Options::default(), None);
    assert_eq!(third.snapshot.digest(), fresh.snapshot.digest());
}

#[test]
fn on_a_host_of_two_thousand_routes_one_that_changes_comes_or_goes_is_all_that_is_compiled() {
    let mut model = Model::default();
    model.set(backend("shop", "shared"));
    model.set(backend("shop", "other"));
    let on = |name: String, path: &str, backend: &str| {
        let AnyObject::ApiRoute(mut object) = route("shop", &name, "x.example", backend) else { unreachable!() };
        let path = PathMatch { type_: None, value: Some(path.to_owned()) };
        object.spec.rules[0].matches = vec![RouteMatch { path: Some(path), ..RouteMatch::default() }];
        AnyObject::ApiRoute(object)
    };
    for n in 0..2_000 {
        model.set(on(format!("route-{n}"), &format!("/{n}"), "shared"));
    }
    let mut last = compile(&model, Options::default(), None);
    // None of them is the first by name, to which the host belongs.
    for object in [
        on("route-7".to_owned(), "/changed", "other"),
        on("route-7".to_owned(), "/7", "shared"),
        on("route-new".to_owned(), "/new", "shared"),
    ] {
        model.set(object);
        last = compile(&model, Options::default(), Some(&last));
        assert!(last.computed <= 4, "{} results were computed", last.computed);
    }
    model.remove(&ObjectRef::new(Kind::ApiRoute, ObjectKey::new("shop", "route-new")));
    last = compile(&model, Options::default(), Some(&last));
    assert!(last.computed <= 4, "{} results were computed", last.computed);
    let fresh = compile(&model, Options::default(), None);
    assert_eq!(last.snapshot.digest(), fresh.snapshot.digest());
}

#[test]
fn the_digest_knows_no_age_no_endpoint_and_no_key_and_every_route() {
    let mut model = Model::default();
    model.set(backend("shop", "orders"));
    model.set(route("shop", "orders", "api.shop.example", "orders"));
    let digest_of = |model: &Model| digest(&compile(model, Options::default(), None));
    let before = digest_of(&model);
    let AnyObject::ApiRoute(mut older) = route("shop", "orders", "api.shop.example", "orders") else { unreachable!() };
    older.meta.created = Some(1);
    model.set(AnyObject::ApiRoute(older));
    let AnyObject::Backend(mut moved) = backend("shop", "orders") else { unreachable!() };
    moved.spec.endpoints[0].port = 9002;
    model.set(AnyObject::Backend(moved));
    assert_eq!(digest_of(&model), before);
    model.set(route("shop", "orders", "api.shop.example", "missing"));
    assert_ne!(digest_of(&model), before);
}

#[test]
fn namespaces_merge_on_one_hostname_where_the_installation_says_so() {
    let mut model = Model::default();
    model.set(backend("a", "one"));
    model.set(route("a", "one", "x.example", "one"));
    model.set(route("b", "one", "x.example", "one"));
    let shared = Options { hostname_ownership: HostnameOwnership::Shared, ..Options::default() };
    let first = compile(&model, shared, None);
    assert_eq!(first.snapshot.routes.len(), 2);
    let owned = compile(&model, Options::default(), Some(&first));
    assert_eq!(owned.snapshot.routes.len(), 1, "an option that changes is no reason to keep what was");
}
