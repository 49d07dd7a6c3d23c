use ravelin_crds::{ApiRouteSpec, AuthPolicySpec};

use super::*;
use crate::object::{Fault, Secret};

const ROUTES: usize = 0;
const POLICIES: usize = 1;
const KEYS: usize = 2;
const CERTIFICATES: usize = 3;

fn keeper() -> Keeper {
    let kinds = [Kind::ApiRoute, Kind::AuthPolicy, Kind::Secret, Kind::Secret];
    let mut keeper = Keeper::new(kinds.map(|kind| Track::new(kind, None)).into());
    keeper.schemas(Lacking::default());
    keeper
}

/// A keeper whose lists were empty and whose first world was taken.
fn started() -> Keeper {
    let mut keeper = keeper();
    for track in [ROUTES, POLICIES, KEYS, CERTIFICATES] {
        list(&mut keeper, track, []);
    }
    assert!(keeper.world().is_some());
    keeper
}

fn meta(name: &str, version: u64) -> Meta {
    Meta { key: ObjectKey::new("shop", name), resource_version: Some(version), ..Meta::default() }
}

fn is(object: AnyObject) -> Told {
    Told::Is(Box::new(Seen { object, written: None }))
}

fn route(name: &str, hostname: &str, version: u64) -> Told {
    let spec = ApiRouteSpec { hostnames: vec![hostname.to_owned()], ..ApiRouteSpec::default() };
    is(AnyObject::ApiRoute(Object::new(meta(name, version), spec)))
}

fn policy(name: &str, version: u64) -> Told {
    is(AnyObject::AuthPolicy(Object::new(meta(name, version), AuthPolicySpec::default())))
}

fn gone(name: &str, version: u64) -> Told {
    Told::Gone { key: ObjectKey::new("shop", name), version: Some(version) }
}

fn list<const N: usize>(keeper: &mut Keeper, track: usize, objects: [Told; N]) {
    keeper.note(track, Told::Listing);
    for object in objects {
        keeper.note(track, object);
    }
    keeper.note(track, Told::Complete);
}

fn hostname(keeper: &Keeper, name: &str) -> Option<String> {
    let route = keeper.model.routes.get(&ObjectKey::new("shop", name))?;
    route.spec.hostnames.first().cloned()
}

#[test]
fn nothing_is_a_world_before_every_list_is_complete() {
    let mut keeper = keeper();
    for track in [POLICIES, KEYS, CERTIFICATES] {
        list(&mut keeper, track, []);
        assert!(keeper.world().is_none());
    }
    keeper.note(ROUTES, Told::Listing);
    assert!(keeper.world().is_none());
    keeper.note(ROUTES, Told::Complete);
    assert!(keeper.world().is_some());
    assert!(keeper.world().is_none(), "told once");
}

#[test]
fn the_first_world_has_every_route_of_the_first_list() {
    let mut keeper = keeper();
    for track in [POLICIES, KEYS, CERTIFICATES] {
        list(&mut keeper, track, []);
    }
    list(&mut keeper, ROUTES, [route("a", "a.example", 9), route("b", "b.example", 7)]);
    assert!(keeper.world().is_none());
    assert!(keeper.asks());
    keeper.mark(POLICIES, Mark { at: 9, newest: 0 });
    assert_eq!(keeper.world().map(|world| world.model.routes.len()), Some(2));
}

#[test]
fn a_new_route_waits_until_the_policy_that_was_applied_before_it_is_in_the_model() {
    let mut keeper = started();
    keeper.note(ROUTES, route("a", "a.example", 11));
    assert!(keeper.asks());
    // The list names a policy that the watch has not shown yet.
    keeper.mark(POLICIES, Mark { at: 11, newest: 10 });
    assert!(!keeper.asks(), "the watch will show it");
    keeper.world();
    assert_eq!(hostname(&keeper, "a"), None);
    keeper.note(POLICIES, policy("p", 10));
    let world = keeper.world().expect("a world");
    assert_eq!((world.model.routes.len(), world.model.auth_policies.len()), (1, 1));
}

#[test]
fn a_later_policy_lets_a_route_in_without_asking() {
    let mut keeper = started();
    keeper.note(POLICIES, policy("p", 12));
    keeper.note(ROUTES, route("a", "a.example", 11));
    assert!(!keeper.asks());
    assert_eq!(hostname(&keeper, "a").as_deref(), Some("a.example"));
}

#[test]
fn a_route_that_changes_keeps_its_old_form_while_the_new_one_waits() {
    let mut keeper = started();
    keeper.note(ROUTES, route("a", "a.example", 11));
    keeper.mark(POLICIES, Mark { at: 11, newest: 0 });
    keeper.note(ROUTES, route("a", "b.example", 13));
    assert_eq!(hostname(&keeper, "a").as_deref(), Some("a.example"));
    assert_eq!(keeper.observed.marks.of(Kind::ApiRoute, "shop"), Some(("ApiRoute", 12)), "13 is not in the model");
    keeper.note(ROUTES, route("a", "a.example", 14));
    assert!(!keeper.asks(), "it is what the model has: nothing waits");
    keeper.note(ROUTES, route("a", "c.example", 15));
    keeper.note(ROUTES, gone("a", 16));
    keeper.mark(POLICIES, Mark { at: 20, newest: 0 });
    assert_eq!(hostname(&keeper, "a"), None, "what is gone does not come back");
}

#[test]
fn a_policy_of_the_same_name_does_not_let_a_route_go() {
    let mut keeper = started();
    list(&mut keeper, POLICIES, [policy("a", 3)]);
    keeper.note(ROUTES, route("a", "a.example", 11));
    keeper.note(POLICIES, gone("a", 5));
    assert!(keeper.asks());
}

#[test]
fn a_relist_of_the_policies_asks_anew_for_what_a_mark_named() {
    let mut keeper = started();
    keeper.note(ROUTES, route("a", "a.example", 11));
    keeper.mark(POLICIES, Mark { at: 11, newest: 10 });
    // Policy 10 was deleted while the watch was broken: no watch will ever show it.
    list(&mut keeper, POLICIES, []);
    assert!(keeper.asks());
    keeper.mark(POLICIES, Mark { at: 14, newest: 0 });
    assert!(hostname(&keeper, "a").is_some());
}

#[test]
fn a_relist_removes_what_it_does_not_name() {
    let mut keeper = started();
    list(&mut keeper, POLICIES, [policy("p", 3), policy("q", 4)]);
    list(&mut keeper, POLICIES, [policy("q", 4)]);
    let world = keeper.world().expect("a world");
    assert_eq!(world.model.auth_policies.iter().map(|(key, _)| key.name.as_str()).collect::<Vec<_>>(), ["q"]);
}

#[test]
fn an_echo_of_a_status_moves_the_mark_and_not_the_object() {
    let mut keeper = started();
    keeper.note(POLICIES, policy("p", 3));
    let before = keeper.world().expect("a world");
    keeper.note(POLICIES, policy("p", 8));
    let after = keeper.world().expect("a world");
    assert_eq!(after.model.auth_policies.changes(&before.model.auth_policies).count(), 0);
    assert_eq!(after.observed.marks.of(Kind::AuthPolicy, "shop"), Some(("AuthPolicy", 8)));
}

#[test]
fn a_secret_that_changed_its_type_survives_the_late_news_of_its_end() {
    let mut keeper = started();
    let secret = |type_: &str, version| {
        let secret = Secret { type_: type_.to_owned(), ..Secret::default() };
        is(AnyObject::Secret(Object::new(meta("s", version), secret)))
    };
    keeper.note(KEYS, secret("ravelin.dev/api-key", 3));
    keeper.note(CERTIFICATES, secret("kubernetes.io/tls", 5));
    keeper.note(KEYS, gone("s", 4));
    assert_eq!(keeper.model.secrets.len(), 1);
    keeper.note(CERTIFICATES, gone("s", 6));
    assert_eq!(keeper.model.secrets.len(), 0);
}

#[test]
fn an_object_that_cannot_be_decoded_is_an_object_with_a_fault() {
    let mut keeper = started();
    let mut broken = Object::new(meta("p", 3), AuthPolicySpec::default());
    broken.faults = vec![Fault { field: "spec".into(), message: "?".into(), remedy: String::new() }];
    keeper.note(POLICIES, policy("p", 2));
    keeper.note(POLICIES, is(AnyObject::AuthPolicy(broken)));
    let world = keeper.world().expect("a world");
    assert_eq!(world.model.auth_policies.get(&ObjectKey::new("shop", "p")).map(|policy| policy.faults.len()), Some(1));
}
