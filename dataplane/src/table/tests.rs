//! The table against a naive matcher that reads the snapshot and Gateway API's rules, one after the other.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
};

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;
use ravelin_snapshot::{
    Part, Rare, regex,
    route::{Action, Broken, FieldMatch, Guard, Match, PathMatch, Rule as Said, ValueMatch},
};
use regex_automata::meta::Regex;

use super::*;
use crate::{query, request::Scheme};

/// A request as a test writes it.
#[derive(Clone, Debug)]
struct Asked {
    method: &'static str,
    host: String,
    path: String,
    query: String,
    headers: Vec<(&'static str, &'static str)>,
}

impl Asked {
    fn with<R>(&self, run: impl FnOnce(&RequestView<'_>) -> R) -> R {
        let method: Method = self.method.parse().unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        run(&RequestView {
            method: &method,
            path: &self.path,
            raw: &self.path,
            query: &self.query,
            headers: &headers,
            host: &self.host,
            authority: &self.host,
            scheme: Scheme::Http,
            id: "",
            source: ([127, 0, 0, 1], 1).into(),
            chain: None,
        })
    }
}

fn get(host: &str, path: &str) -> Asked {
    Asked { method: "GET", host: host.into(), path: path.into(), query: String::new(), headers: vec![] }
}

/// Namespace, route and rule, and the prefix's length.
type Answer = Option<(String, Option<usize>)>;

fn ask(table: &Table, asked: &Asked) -> Answer {
    asked.with(|view| {
        let found = table.find(view, SystemTime::UNIX_EPOCH)?;
        let name = &found.rule.name;
        Some((format!("{}/{}", name.route, name.rule), found.prefix))
    })
}

/// The oracle: no index, no sharing; everything that holds, sorted by what Gateway API says comes first.
fn naive(snapshot: &Snapshot, asked: &Asked) -> Answer {
    let specific = |pattern: &HostPattern| match pattern {
        HostPattern::Exact(_) => (0, Reverse(0)),
        HostPattern::Wildcard(suffix) => (1, Reverse(suffix.len())),
        HostPattern::Any => (2, Reverse(0)),
    };
    let host = HostPattern::Exact(asked.host.clone());
    let mut patterns = BTreeSet::new();
    for (_, route) in snapshot.routes.iter() {
        let has_matches = route.rules.iter().any(|rule| !rule.matches.is_empty());
        let here = route.hosts.iter().filter(|pattern| pattern.covers(&host) && has_matches);
        patterns.extend(here.map(|pattern| (specific(pattern), pattern.clone())));
    }
    let mut owners: Option<BTreeSet<&str>> = None;
    for (_, pattern) in &patterns {
        let on = || snapshot.routes.iter().filter(|(_, route)| route.hosts.contains(pattern));
        let mut found = Vec::new();
        for (key, route) in on().filter(|(key, _)| owners.as_ref().is_none_or(|all| all.contains(&*key.namespace))) {
            for (at, rule) in route.rules.iter().enumerate() {
                for (one, said) in rule.matches.iter().enumerate() {
                    let Some(path) = holds(said, asked) else { continue };
                    let rank = (path, said.method.is_none(), Reverse(said.headers.len()), Reverse(said.query.len()));
                    let age = (route.created.unwrap_or(i64::MAX), key, at, one);
                    let prefix = matches!(said.path, PathMatch::Prefix(_)).then_some(path.1.0);
                    found.push((rank, age, format!("{}/{}/{}", key.namespace, key.name, rule.name), prefix));
                }
            }
        }
        if let Some((.., name, prefix)) = found.into_iter().min() {
            return Some((name, prefix));
        }
        owners.get_or_insert_with(|| on().map(|(key, _)| key.namespace.as_str()).collect());
    }
    None
}

/// Kind and length of the path, if all holds.
fn holds(said: &Match, asked: &Asked) -> Option<(u8, Reverse<usize>)> {
    let path = match &said.path {
        PathMatch::Exact(path) => (*path == asked.path).then_some((0, Reverse(0)))?,
        PathMatch::Prefix(prefix) if prefix == "/" => (1, Reverse(1)),
        PathMatch::Prefix(prefix) => {
            let rest = asked.path.strip_prefix(prefix.as_str())?;
            (rest.is_empty() || rest.starts_with('/')).then_some((1, Reverse(prefix.len())))?
        }
        PathMatch::Regex(pattern) => whole_match(pattern, &asked.path).then_some((2, Reverse(0)))?,
    };
    let value = |said: &ValueMatch, found: &str| match said {
        ValueMatch::Exact(value) => value == found,
        ValueMatch::Regex(pattern) => whole_match(pattern, found),
        ValueMatch::Present => true,
    };
    let header = |field: &FieldMatch| {
        let all: Vec<_> = asked.headers.iter().filter(|(name, _)| *name == field.name).map(|(_, v)| *v).collect();
        !all.is_empty() && value(&field.value, &all.join(","))
    };
    let parameter =
        |field: &FieldMatch| query::first(&asked.query, &field.name).is_some_and(|found| value(&field.value, found));
    let rest = said.method.as_deref().is_none_or(|method| method == asked.method)
        && said.headers.iter().all(header)
        && said.query.iter().all(parameter);
    rest.then_some(path)
}

/// The few patterns of these tests are built once.
fn whole_match(pattern: &str, text: &str) -> bool {
    static BUILT: Mutex<BTreeMap<String, Regex>> = Mutex::new(BTreeMap::new());
    let mut built = BUILT.lock().unwrap();
    built.entry(pattern.to_owned()).or_insert_with(|| regex::build(pattern, true).unwrap()).is_match(text)
}

fn plain(path: PathMatch) -> Match {
    Match { path, method: None, headers: vec![], query: vec![], when: None }
}

fn rule(name: &str, matches: Vec<Match>) -> Said {
    Said {
        name: name.to_owned(),
        matches,
        auth: Guard::Open,
        limits: vec![],
        request_headers: Default::default(),
        response_headers: Default::default(),
        filters: None,
        action: Action::Reject(Broken::RouteInvalid),
        timeouts: Rare::default(),
    }
}

fn route(hosts: Vec<HostPattern>, created: Option<i64>, rules: Vec<Said>) -> Part<Route> {
    Part::new(Route { created, hosts, certificates: vec![], rules })
}

fn paths() -> impl Strategy<Value = String> {
    proptest::collection::vec(prop_oneof!["a", "b", "ab"], 0..4).prop_map(|s| format!("/{}", s.join("/")))
}

fn path_matches() -> impl Strategy<Value = PathMatch> {
    prop_oneof![
        2 => paths().prop_map(PathMatch::Exact),
        4 => paths().prop_map(PathMatch::Prefix),
        1 => prop_oneof![Just("/a.*"), Just("/(a|b)/ab"), Just("/.")].prop_map(|p| PathMatch::Regex(p.into())),
    ]
}

fn values() -> impl Strategy<Value = ValueMatch> {
    prop_oneof![
        Just(ValueMatch::Exact("1".into())),
        Just(ValueMatch::Exact("1,2".into())),
        Just(ValueMatch::Regex("[12]+".into())),
        Just(ValueMatch::Present)
    ]
}

fn fields() -> impl Strategy<Value = Vec<FieldMatch>> {
    let field = (prop_oneof!["x", "y"], values()).prop_map(|(name, value)| FieldMatch { name, value });
    prop_oneof![3 => Just(vec![]), 1 => proptest::collection::vec(field, 1..3)]
}

fn a_match() -> impl Strategy<Value = Match> {
    let method = prop_oneof![3 => Just(None), 1 => Just(Some("GET".to_owned())), 1 => Just(Some("POST".to_owned()))];
    (path_matches(), method, fields(), fields()).prop_map(|(path, method, headers, query)| Match {
        path,
        method,
        headers,
        query,
        when: None,
    })
}

fn hosts() -> impl Strategy<Value = Vec<HostPattern>> {
    let host = prop_oneof![
        Just(HostPattern::Any),
        prop_oneof!["s.e", "a.s.e", "b.a.s.e"].prop_map(HostPattern::Exact),
        prop_oneof!["e", "s.e", "a.s.e"].prop_map(HostPattern::Wildcard),
    ];
    proptest::collection::btree_set(host, 1..3).prop_map(|hosts| hosts.into_iter().collect())
}

fn a_route() -> impl Strategy<Value = Part<Route>> {
    let rules = proptest::collection::vec(proptest::collection::vec(a_match(), 1..4), 1..4);
    (hosts(), proptest::option::of(0..3_i64), rules).prop_map(|(hosts, created, rules)| {
        let rules = rules.into_iter().enumerate().map(|(at, matches)| rule(&at.to_string(), matches)).collect();
        route(hosts, created, rules)
    })
}

fn key() -> impl Strategy<Value = ObjectKey> {
    (prop_oneof!["m", "n"], prop_oneof!["1", "2", "3", "4"])
        .prop_map(|(namespace, name)| ObjectKey::new(namespace, name))
}

fn asked() -> impl Strategy<Value = Asked> {
    let host = prop_oneof!["s.e", "a.s.e", "b.a.s.e", "c.b.a.s.e", "other"];
    let path = (paths(), prop_oneof![3 => Just(""), 1 => Just("/")]).prop_map(|(path, end)| match path.as_str() {
        "/" => path,
        _ => format!("{path}{end}"),
    });
    let query = prop_oneof![Just(""), Just("x=1"), Just("x=3&x=1&y"), Just("y=1&x=2")];
    let headers = prop_oneof![
        Just(vec![]),
        Just(vec![("x", "1")]),
        Just(vec![("x", "1"), ("x", "2")]),
        Just(vec![("y", "3"), ("x", "12")])
    ];
    (prop_oneof![Just("GET"), Just("POST")], host, path, query, headers)
        .prop_map(|(method, host, path, query, headers)| Asked { method, host, path, query: query.into(), headers })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// Over any sequence of changes: the table that was built step by step, the one that is built at once, and the oracle.
    #[test]
    fn it_answers_as_a_naive_matcher_does_however_it_was_built(
        steps in proptest::collection::vec((key(), proptest::option::weighted(0.8, a_route())), 1..12),
        requests in proptest::collection::vec(asked(), 24),
    ) {
        let mut snapshot = Snapshot::default();
        let mut table = Table::default();
        for (key, part) in steps {
            match part {
                Some(part) => snapshot.routes.insert(key, part),
                None => drop(snapshot.routes.remove(&key)),
            }
            table = Table::build(Arc::new(snapshot.clone()), Some(&table)).unwrap();
        }
        let fresh = Table::build(Arc::new(snapshot.clone()), None).unwrap();
        for asked in &requests {
            let expected = naive(&snapshot, asked);
            prop_assert_eq!(ask(&table, asked), expected.clone(), "step by step: {:?}", asked);
            prop_assert_eq!(ask(&fresh, asked), expected, "at once: {:?}", asked);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn the_rule_that_is_explained_is_the_one_that_serves(
        routes in proptest::collection::btree_map(key(), a_route(), 1..8),
        requests in proptest::collection::vec(asked(), 24),
    ) {
        let mut snapshot = Snapshot::default();
        routes.into_iter().for_each(|(key, part)| snapshot.routes.insert(key, part));
        let table = Table::build(Arc::new(snapshot), None).unwrap();
        for asked in &requests {
            let (found, explained) = asked.with(|view| {
                let found = table.find(view, SystemTime::UNIX_EPOCH).map(|found| found.rule.name.clone());
                let explained = table.trace(view, SystemTime::UNIX_EPOCH).into_iter().find(|tried| tried.why.is_none());
                (found, explained.map(|tried| tried.rule.name.clone()))
            });
            prop_assert_eq!(explained, found, "{:?}", asked);
        }
    }
}

#[test]
fn a_prefix_is_of_whole_segments() {
    let prefix = |path: &str| plain(PathMatch::Prefix(path.into()));
    let mut snapshot = Snapshot::default();
    let rules = vec![rule("a", vec![prefix("/a")]), rule("long", vec![prefix("/a/b/c")])];
    snapshot.routes.insert(ObjectKey::new("n", "r"), route(vec![HostPattern::Any], None, rules));
    let table = Table::build(Arc::new(snapshot), None).unwrap();
    for (path, expected) in [
        ("/a", Some("n/r/a")),
        ("/a/", Some("n/r/a")),
        ("/a/b", Some("n/r/a")),
        ("/ab", None),
        ("/", None),
        ("/a/b/c/d", Some("n/r/long")),
        ("/a/b/cd", Some("n/r/a")),
    ] {
        assert_eq!(ask(&table, &get("h", path)).map(|(name, _)| name).as_deref(), expected, "{path}");
    }
}

#[test]
fn a_host_that_another_namespace_owns_is_not_answered_by_a_wider_rule_of_a_third() {
    let all = || vec![rule("all", vec![plain(PathMatch::Prefix("/".into()))])];
    let orders = vec![rule("orders", vec![plain(PathMatch::Prefix("/orders".into()))])];
    let mut snapshot = Snapshot::default();
    let mut add = |namespace: &str, name: &str, host: &str, rules| {
        snapshot.routes.insert(ObjectKey::new(namespace, name), route(vec![HostPattern::parse(host)], None, rules));
    };
    add("shop", "api", "api.shop.example", orders);
    add("shop", "wide", "*.shop.example", all());
    add("other", "wider", "*.example", all());
    let table = Table::build(Arc::new(snapshot), None).unwrap();
    let name = |host, path| ask(&table, &get(host, path)).map(|(name, _)| name);
    assert_eq!(name("api.shop.example", "/orders/1").as_deref(), Some("shop/api/orders"));
    assert_eq!(name("api.shop.example", "/").as_deref(), Some("shop/wide/all"));
    assert_eq!(name("x.shop.example", "/").as_deref(), Some("shop/wide/all"));
    assert_eq!(name("y.example", "/").as_deref(), Some("other/wider/all"));
    assert_eq!(name("shop.example", "/").as_deref(), Some("other/wider/all"));
}

/// How many of `a`'s rules are the very same in `b`.
fn shared(a: &Table, b: &Table) -> usize {
    let of = |table: &Table| table.rules().map(Arc::as_ptr).collect::<BTreeSet<_>>();
    of(a).intersection(&of(b)).count()
}

#[test]
fn one_changed_route_rebuilds_its_own_rules_and_no_other() {
    let mut snapshot = Snapshot::default();
    for n in 0..500 {
        let rules = vec![rule("0", vec![plain(PathMatch::Prefix(format!("/p{n}")))])];
        let host = HostPattern::parse(&format!("h{}.example", n % 10));
        snapshot.routes.insert(ObjectKey::new("n", n.to_string()), route(vec![host], None, rules));
    }
    let before = Table::build(Arc::new(snapshot.clone()), None).unwrap();
    let rules = vec![rule("0", vec![plain(PathMatch::Prefix("/new".into()))])];
    snapshot.routes.insert(ObjectKey::new("n", "7"), route(vec![HostPattern::parse("h7.example")], None, rules));
    let after = Table::build(Arc::new(snapshot), Some(&before)).unwrap();
    assert_eq!(shared(&before, &after), 499);
    assert!(ask(&after, &get("h7.example", "/new")).is_some() && ask(&after, &get("h7.example", "/p7")).is_none());
    assert!(ask(&before, &get("h7.example", "/p7")).is_some(), "the old table is as it was");
}
