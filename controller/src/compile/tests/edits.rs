//! Whatever is edited in whatever order, compiling on comes to what compiling from nothing comes to.

use std::collections::BTreeMap;

use proptest::{collection::vec, option, prelude::*, sample::select};
use ravelin_snapshot::Secret as Hidden;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::object::{EndpointSlice, Fault, Secret, Service, ServicePort, SliceEndpoint};

#[derive(Clone, Debug)]
enum Edit {
    Set(Box<AnyObject>),
    Remove(ObjectRef),
}

fn namespace() -> impl Strategy<Value = &'static str> {
    select(vec!["a", "b"])
}

fn name() -> impl Strategy<Value = &'static str> {
    select(vec!["one", "two", "three"])
}

fn any_of(values: Vec<Value>) -> impl Strategy<Value = Value> {
    select(values)
}

fn some_of(values: Vec<Value>, most: usize) -> impl Strategy<Value = Value> {
    vec(select(values), 0..=most).prop_map(Value::from)
}

fn meta() -> impl Strategy<Value = Meta> {
    let label = option::of(select(vec!["shop", "bank"]));
    (namespace(), name(), option::of(0_i64..4), 0_i64..3, label).prop_map(
        |(namespace, name, created, generation, app)| {
            let labels = app.map(|app| ("app".to_owned(), app.to_owned())).into_iter().collect();
            Meta { key: ObjectKey::new(namespace, name), created, generation, labels, resource_version: None }
        },
    )
}

fn faults(fields: Vec<&'static str>) -> impl Strategy<Value = Vec<Fault>> {
    let fault = |field: &str| Fault { field: field.to_owned(), message: "broken".into(), remedy: "Repair it.".into() };
    prop_oneof![9 => Just(Vec::new()), 1 => select(fields).prop_map(move |field| vec![fault(field)])]
}

fn object_of<S: DeserializeOwned + std::fmt::Debug>(
    spec: impl Strategy<Value = Value>,
    fields: Vec<&'static str>,
) -> impl Strategy<Value = Object<S>> {
    (meta(), spec, faults(fields)).prop_map(|(meta, spec, faults)| {
        let spec = serde_json::from_value(spec).expect("the test writes what the type reads");
        Object { meta, spec, faults }
    })
}

fn rule() -> impl Strategy<Value = Value> {
    let matches = some_of(
        vec![
            json!({}),
            json!({"path": {"value": "/x"}}),
            json!({"path": {"type": "Exact", "value": "/x/"}}),
            json!({"path": {"type": "RegularExpression", "value": "/x/[0-9]+"}}),
            json!({"path": {"type": "RegularExpression", "value": "/x/["}}),
            json!({"method": "GET", "headers": [{"name": "X-A", "value": "1"}]}),
            json!({"when": "request.method == 'GET'"}),
            json!({"when": "request.nothing"}),
        ],
        2,
    );
    let filters = some_of(
        vec![
            json!({"requestHeaderModifier": {"set": [{"name": "x-a", "value": "b"}]}}),
            json!({"urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/v1/"}}}),
            json!({"requestRedirect": {"scheme": "https"}}),
            json!({"directResponse": {"status": 200, "body": "ok"}}),
            json!({"cors": {"allowOrigins": ["*"]}}),
        ],
        1,
    );
    let backends = some_of(
        vec![
            json!({"name": "one", "port": 80}),
            json!({"name": "two", "port": 80, "weight": 3}),
            json!({"name": "one", "kind": "Backend"}),
            json!({"name": "two", "kind": "Backend", "namespace": "a"}),
            json!({"name": "two", "port": 81, "namespace": "b", "weight": 0}),
            json!({"name": "two"}),
            json!({"name": "two", "kind": "Gateway"}),
        ],
        3,
    );
    let name = any_of(vec![json!(null), json!("one"), json!("two")]);
    let fallback = any_of(vec![json!(null), json!({"backendRef": {"name": "three", "kind": "Backend"}}), json!({})]);
    (matches, filters, backends, name, fallback).prop_map(|(matches, filters, backend_refs, name, fallback)| {
        json!({"name": name, "matches": matches, "filters": filters, "backendRefs": backend_refs, "fallback": fallback})
    })
}

fn api_route() -> impl Strategy<Value = AnyObject> {
    let hosts = some_of(["x.example", "y.x.example", "*.example", "*.x.example", "_"].map(Value::from).to_vec(), 2);
    let tls =
        any_of(vec![json!(null), json!({"certificateRefs": [{"name": "one"}, {"name": "two", "namespace": "b"}]})]);
    let parents = prop_oneof![9 => Just(json!([])), 1 => Just(json!([{"name": "gateway"}]))];
    let spec = (hosts, tls, parents, vec(rule(), 0..3)).prop_map(|(hostnames, tls, parent_refs, rules)| {
        json!({"hostnames": hostnames, "tls": tls, "parentRefs": parent_refs, "rules": rules})
    });
    object_of(spec, vec!["spec.hostnames", "spec.rules[0].matches", "spec.rules", "", "spec.hostname"])
        .prop_map(AnyObject::ApiRoute)
}

fn route_targets() -> impl Strategy<Value = Value> {
    some_of(
        vec![
            json!({"kind": "ApiRoute", "name": "one"}),
            json!({"kind": "ApiRoute", "name": "two"}),
            json!({"kind": "ApiRoute", "name": "one", "sectionName": "one"}),
            json!({"kind": "ApiRoute", "name": "one", "sectionName": "two"}),
            json!({"kind": "Namespace", "name": "a"}),
            json!({"kind": "Namespace", "name": "b"}),
        ],
        2,
    )
}

fn auth_policy() -> impl Strategy<Value = AnyObject> {
    let authentication = any_of(vec![
        json!(null),
        json!({"apiKey": {"selector": {"matchLabels": {"app": "shop"}}}}),
        json!({"apiKey": {"selector": {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["shop"]}]}}}),
        json!({"basic": {"secretRef": {"name": "users"}}}),
    ]);
    let spec = (route_targets(), any::<bool>(), authentication).prop_map(|(targets, overrides, authentication)| {
        json!({"targetRefs": targets, "override": overrides, "authentication": authentication})
    });
    object_of(spec, vec!["spec.targetRefs", "spec.override", "spec.network"]).prop_map(AnyObject::AuthPolicy)
}

fn rate_limit_policy() -> impl Strategy<Value = AnyObject> {
    let limits = some_of(
        vec![
            json!({"name": "a", "rate": {"requests": 10, "per": "1m"}, "key": "caller.id"}),
            json!({"name": "b", "rate": {"requests": 5, "per": "1s", "burst": 1}}),
            json!({"name": "c", "concurrency": 3}),
        ],
        2,
    );
    let plans = any_of(vec![
        json!(null),
        json!({"select": "caller.plan", "key": "caller.id"}),
        json!({"select": "caller.plan", "default": "one"}),
    ]);
    let spec = (route_targets(), limits, plans)
        .prop_map(|(targets, limits, plans)| json!({"targetRefs": targets, "limits": limits, "plans": plans}));
    object_of(spec, vec!["spec.targetRefs", "spec.limits[0]"]).prop_map(AnyObject::RateLimitPolicy)
}

fn plan() -> impl Strategy<Value = AnyObject> {
    let limits = any_of(vec![
        json!([{"name": "a", "rate": {"requests": 10, "per": "1m"}}]),
        json!([{"name": "a", "rate": {"requests": 0, "per": "1m"}}]),
        json!([{"name": "a", "concurrency": 3}, {"name": "b", "rate": {"requests": 1, "per": "1s"}, "parent": "a"}]),
    ]);
    object_of(limits.prop_map(|limits| json!({"limits": limits})), vec!["spec.limits[0]"]).prop_map(AnyObject::Plan)
}

fn backend_policy() -> impl Strategy<Value = AnyObject> {
    let targets = some_of(
        vec![
            json!({"kind": "Service", "name": "one"}),
            json!({"kind": "Service", "name": "one", "sectionName": "http"}),
            json!({"kind": "Backend", "name": "one"}),
            json!({"kind": "Backend", "name": "two"}),
        ],
        2,
    );
    let balancing = any_of(vec![json!(null), json!({"algorithm": "LeastRequest"}), json!({"algorithm": "Random"})]);
    let spec = (targets, balancing).prop_map(|(targets, load_balancing)| {
        json!({"targetRefs": targets, "loadBalancing": load_balancing, "connections": {"max": 10}})
    });
    object_of(spec, vec!["spec.tls"]).prop_map(AnyObject::BackendPolicy)
}

fn backend_object() -> impl Strategy<Value = AnyObject> {
    let endpoints = some_of(
        vec![
            json!({"address": "127.0.0.1", "port": 9001}),
            json!({"address": "api.example", "port": 443, "weight": 0}),
            json!({"address": "::1", "port": 9001}),
            json!({"address": "?", "port": 1}),
        ],
        2,
    );
    let protocol = any_of(vec![json!(null), json!("kubernetes.io/h2c"), json!("https")]);
    let spec = (endpoints, protocol)
        .prop_map(|(endpoints, app_protocol)| json!({"endpoints": endpoints, "appProtocol": app_protocol}));
    object_of(spec, vec!["spec.endpoints[0].port"]).prop_map(AnyObject::Backend)
}

fn service() -> impl Strategy<Value = AnyObject> {
    let port = (select(vec![80_u16, 81]), select(vec!["http", ""]), option::of(select(vec!["http", "grpc", "https"])));
    let port = port.prop_map(|(port, name, protocol)| ServicePort {
        name: name.to_owned(),
        port,
        app_protocol: protocol.map(str::to_owned),
        tcp: true,
    });
    let external = prop_oneof![5 => Just(None), 1 => Just(Some("elsewhere.example".to_owned()))];
    (meta(), vec(port, 0..3), external).prop_map(|(meta, ports, external_name)| {
        AnyObject::Service(Object { meta, spec: Service { ports, external_name }, faults: Vec::new() })
    })
}

fn slice() -> impl Strategy<Value = AnyObject> {
    let endpoint = (1_u8..4, any::<bool>(), any::<bool>(), any::<bool>());
    let endpoint = endpoint.prop_map(|(last, ready, serving, terminating)| SliceEndpoint {
        addresses: vec![format!("10.0.0.{last}")],
        ready,
        serving,
        terminating,
    });
    (meta(), name(), vec(endpoint, 0..3), select(vec!["http", ""])).prop_map(|(meta, service, endpoints, port)| {
        let spec = EndpointSlice { service: service.to_owned(), endpoints, ports: vec![(port.to_owned(), 8080)] };
        AnyObject::EndpointSlice(Object { meta, spec, faults: Vec::new() })
    })
}

fn secret() -> impl Strategy<Value = AnyObject> {
    let sha = select(vec!["a", "b", "a", "b", "zz"]).prop_map(|digit| digit.repeat(64));
    let fields = (
        sha,
        select(vec!["true", "false"]),
        select(vec!["ravelin.dev/api-key", "ravelin.dev/api-key", "Opaque", "kubernetes.io/tls"]),
    );
    (meta(), fields).prop_map(|(meta, (sha256, disabled, type_))| {
        let data = [("id", "acme".to_owned()), ("sha256", sha256), ("disabled", disabled.to_owned())];
        let data: BTreeMap<_, _> = data.into_iter().map(|(k, v)| (k.to_owned(), Hidden::new(v))).collect();
        let spec = Secret { type_: type_.to_owned(), data, binary: Vec::new() };
        AnyObject::Secret(Object { meta, spec, faults: Vec::new() })
    })
}

fn grant() -> impl Strategy<Value = AnyObject> {
    let spec = any_of(vec![
        json!({"from": [{"group": "ravelin.dev", "kind": "ApiRoute", "namespace": "a"}], "to": [{"kind": "Service"}]}),
        json!({"from": [{"group": "ravelin.dev", "kind": "ApiRoute", "namespace": "b"}],
               "to": [{"group": "ravelin.dev", "kind": "Backend", "name": "two"}, {"kind": "Secret"}]}),
    ]);
    object_of(spec, vec!["spec.to[0].name"]).prop_map(AnyObject::ReferenceGrant)
}

fn edit() -> impl Strategy<Value = Edit> {
    let set = prop_oneof![
        4 => api_route(),
        2 => auth_policy(),
        2 => rate_limit_policy(),
        1 => plan(),
        1 => backend_policy(),
        2 => backend_object(),
        2 => service(),
        3 => slice(),
        3 => secret(),
        1 => grant(),
    ];
    let remove = (select(Kind::ALL.to_vec()), namespace(), name());
    prop_oneof![
        4 => set.prop_map(|object| Edit::Set(Box::new(object))),
        1 => remove.prop_map(|(kind, namespace, name)| Edit::Remove(ObjectRef::new(kind, ObjectKey::new(namespace, name)))),
    ]
}

/// A world in which most kinds of edges are there to be broken.
fn base() -> Model {
    let mut model = Model::default();
    let backends = json!([{"name": "one", "port": 80}, {"name": "one", "kind": "Backend"}]);
    let route = json!({"hostnames": ["x.example"], "rules": [{"name": "one", "backendRefs": backends}]});
    model.set(AnyObject::ApiRoute(object("a", "one", serde_json::from_value(route).unwrap())));
    let auth = json!({"targetRefs": [{"kind": "ApiRoute", "name": "one"}],
        "authentication": {"apiKey": {"selector": {"matchLabels": {"app": "shop"}}}}});
    model.set(AnyObject::AuthPolicy(object("a", "three", serde_json::from_value(auth).unwrap())));
    let treatment = json!({"targetRefs": [{"kind": "Service", "name": "one"}], "connections": {"max": 3}});
    model.set(AnyObject::BackendPolicy(object("a", "three", serde_json::from_value(treatment).unwrap())));
    let port = ServicePort { name: "http".to_owned(), port: 80, app_protocol: None, tcp: true };
    model.set(AnyObject::Service(object("a", "one", Service { ports: vec![port], external_name: None })));
    let addresses = vec!["10.0.0.1".to_owned()];
    let ready = SliceEndpoint { addresses, ready: true, serving: true, terminating: false };
    let slice =
        EndpointSlice { service: "one".to_owned(), endpoints: vec![ready], ports: vec![("http".to_owned(), 8080)] };
    model.set(AnyObject::EndpointSlice(object("a", "one", slice)));
    model.set(backend("a", "one"));
    model
}

fn said(compiled: &Compiled) -> BTreeMap<&ObjectRef, &Verdict> {
    compiled.verdicts.iter().map(|(object, verdict)| (object, &**verdict)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn compiling_on_comes_to_what_compiling_from_nothing_comes_to(batches in vec(vec(edit(), 1..6), 1..12)) {
        let mut model = base();
        let mut previous = Some(compile(&model, Options::default(), None));
        for batch in batches {
            for edit in batch {
                match edit {
                    Edit::Set(object) => model.set(*object),
                    Edit::Remove(object) => model.remove(&object),
                }
            }
            let on = compile(&model, Options::default(), previous.as_ref());
            let fresh = compile(&model, Options::default(), None);
            prop_assert_eq!(&on.snapshot, &fresh.snapshot);
            prop_assert_eq!(said(&on), said(&fresh));
            prop_assert_eq!(on.snapshot.check(), Ok(()));
            previous = Some(on);
        }
    }
}
