//! Certificates that have ended, or not begun: it is said of whoever refers to them, when the clock says so.

use ravelin_snapshot::Secret as Hidden;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use serde_json::json;

use super::*;
use crate::object::{ConfigMap, Secret};

/// 2030-01-01, 2031-01-01 and one second before each.
const FROM: i64 = 1_893_456_000;
const UNTIL: i64 = 1_924_991_999;

fn pair() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["api.example".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_before = rcgen::date_time_ymd(2030, 1, 1);
    params.not_after = rcgen::date_time_ymd(2031, 1, 1) - std::time::Duration::from_secs(1);
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// One certificate, referred to in all ways.
fn model() -> Model {
    let (chain, key) = pair();
    let mut model = Model::default();
    let data = [("tls.crt", &chain), ("tls.key", &key)].map(|(name, pem)| (name.to_owned(), Hidden::new(pem.as_str())));
    let spec = Secret { type_: "kubernetes.io/tls".to_owned(), data: data.into(), binary: Vec::new() };
    model.set(AnyObject::Secret(object("shop", "tls", spec)));
    let spec = ConfigMap { data: [("ca.crt".to_owned(), chain)].into() };
    model.set(AnyObject::ConfigMap(object("shop", "ca", spec)));
    let spec = json!({
        "hostnames": ["api.example"],
        "tls": {"certificateRefs": [{"name": "tls"}]},
        "rules": [{"backendRefs": [{"name": "orders", "kind": "Backend"}]}],
    });
    model.set(AnyObject::ApiRoute(object("shop", "api", serde_json::from_value(spec).unwrap())));
    model.set(backend("shop", "orders"));
    let spec = json!({
        "targetRefs": [{"kind": "Backend", "name": "orders"}],
        "tls": {
            "hostname": "orders.internal",
            "caCertificateRefs": [{"kind": "ConfigMap", "name": "ca"}],
            "clientCertificateRef": {"name": "tls"},
        },
    });
    model.set(AnyObject::BackendPolicy(object("shop", "tls", serde_json::from_value(spec).unwrap())));
    model
}

fn said(compiled: &Compiled) -> Vec<String> {
    let findings = compiled.verdicts.iter().flat_map(|(object, verdict)| {
        assert!(verdict.accepted.status && verdict.resolved_refs.status, "{object}: {verdict:?}");
        verdict.findings.iter().map(move |finding| (object, finding))
    });
    let one = |(object, f): (&ObjectRef, &Finding)| format!("{object} {}: {}. {}", f.field, f.message, f.remedy);
    let mut said: Vec<_> = findings.map(one).collect();
    said.sort();
    said
}

#[test]
fn a_certificate_that_ends_is_said_when_it_has_ended_though_no_object_changes() {
    let model = model();
    let mut last: Option<Compiled> = None;
    let mut at = |clock: i64| {
        let model = Model { clock: Some(clock), ..model.clone() };
        let compiled = compile(&model, Options::default(), last.as_ref());
        let fresh = compile(&model, Options::default(), None);
        assert_eq!(said(&compiled), said(&fresh), "at {clock}");
        assert_eq!((compiled.snapshot.digest(), compiled.next_moment), (fresh.snapshot.digest(), fresh.next_moment));
        let told = (said(&compiled), compiled.next_moment, compiled.computed);
        last = Some(compiled);
        told
    };
    let (early, next, _) = at(FROM - 10);
    assert_eq!(
        early,
        [
            "ApiRoute shop/api spec.tls.certificateRefs[0]: the certificate of Secret shop/tls begins only at \
             2030-01-01T00:00:00Z: clients refuse it. Put one into Secret shop/tls that holds already, or set the clock.",
            "BackendPolicy shop/tls spec.tls.caCertificateRefs[0]: the certificate of ConfigMap shop/ca begins only at \
             2030-01-01T00:00:00Z. Put one into ConfigMap shop/ca that holds already, or set the clock.",
            "BackendPolicy shop/tls spec.tls.clientCertificateRef: the certificate of Secret shop/tls begins only at \
             2030-01-01T00:00:00Z: backends refuse it. Put one into Secret shop/tls that holds already, or set the clock.",
        ]
    );
    assert_eq!(next, Some(FROM));
    assert_eq!(at(FROM - 1), (early.clone(), Some(FROM), 0), "nothing is computed for time that passes");
    let (good, next, computed) = at(FROM);
    assert_eq!((good, next), (Vec::new(), Some(UNTIL + 1)));
    assert!(computed > 0);
    assert_eq!(at(UNTIL), (Vec::new(), Some(UNTIL + 1), 0));
    let (late, next, _) = at(UNTIL + 1);
    assert_eq!(late.len(), 3);
    assert!(
        late[0]
            .contains("spec.tls.certificateRefs[0]: the certificate of Secret shop/tls ended at 2030-12-31T23:59:59Z")
    );
    assert!(late.iter().all(|said| said.contains("Put a new one into ")), "{late:?}");
    assert_eq!(next, None);
    // Clocks are set.
    assert_eq!(at(FROM - 5).0, early);
    let without = compile(&model, Options::default(), last.as_ref());
    assert_eq!((said(&without), without.next_moment), (Vec::new(), None), "without a clock nothing is said");
}
