use ravelin_snapshot::Secret as Hidden;
use rcgen::{CertificateParams, KeyPair};
use serde_json::json;

use super::*;
use crate::{
    compile::{Compiled, Options, compile},
    object::{AnyObject, Kind, Meta, ObjectRef},
};

/// What is published of one world after the other.
#[derive(Default)]
struct Publishing {
    kept: Kept,
    last: Option<Compiled>,
    model: Model,
}

impl Publishing {
    fn publish(&mut self, now: SystemTime) -> &Compiled {
        let model = self.kept.fill(self.model.clone(), self.last.as_ref().map(|last| &last.snapshot), now);
        let compiled = compile(&model, Options::default(), self.last.as_ref());
        // Whatever came before, it is what its model comes to.
        assert_eq!(compiled.snapshot.routes, compile(&model, Options::default(), None).snapshot.routes);
        self.last.insert(compiled)
    }

    fn secret(&mut self, name: &str, pair: (&str, &str)) {
        let data = [("tls.crt", pair.0), ("tls.key", pair.1)];
        let data = data.into_iter().map(|(entry, value)| (entry.to_owned(), Hidden::new(value))).collect();
        let spec = Secret { type_: "kubernetes.io/tls".to_owned(), data, binary: Vec::new() };
        let meta = Meta { key: ObjectKey::new("shop", name), ..Meta::default() };
        self.model.set(AnyObject::Secret(Object::new(meta, spec)));
    }

    fn route(&mut self, name: &str, certificate: &str) {
        let spec = json!({
            "hostnames": [format!("{name}.example")],
            "tls": {"certificateRefs": [{"name": certificate}]},
            "rules": [{"filters": [{"directResponse": {"status": 200}}]}],
        });
        let meta = Meta { key: ObjectKey::new("shop", name), ..Meta::default() };
        self.model.set(AnyObject::ApiRoute(Object::new(meta, serde_json::from_value(spec).unwrap())));
    }
}

fn served(compiled: &Compiled, name: &str) -> Option<String> {
    compiled.snapshot.certificates.get(&ObjectKey::new("shop", name)).map(|part| part.chain.clone())
}

/// Whether the route refers to the certificate, and what `ResolvedRefs` says.
fn told(compiled: &Compiled, name: &str) -> (usize, bool, String) {
    let key = ObjectKey::new("shop", name);
    let state = &compiled.verdicts.get(&ObjectRef::new(Kind::ApiRoute, key.clone())).unwrap().resolved_refs;
    (compiled.snapshot.routes.get(&key).unwrap().certificates.len(), state.status, state.message.clone().into_owned())
}

fn pair(name: &str, ends: i32) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(ends, 1, 1);
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// 2030-01-01.
fn in_2030() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_893_456_000)
}

type Breakage = (&'static str, fn(&mut Publishing));

#[test]
fn a_certificate_whose_secret_breaks_is_served_until_it_expires_and_nobody_else_is_affected() {
    let (good, other) = (pair("a.example", 2031), pair("b.example", 2031));
    let breakages: [Breakage; 3] = [
        ("malformed", |publishing| publishing.secret("a-tls", ("garbage", "hunter2"))),
        ("without its key", |publishing| publishing.secret("a-tls", ("", ""))),
        ("gone", |publishing| {
            publishing.model.remove(&ObjectRef::new(Kind::Secret, ObjectKey::new("shop", "a-tls")));
        }),
    ];
    for (what, breaks) in breakages {
        let mut publishing = Publishing::default();
        publishing.route("a", "a-tls");
        publishing.route("b", "b-tls");
        publishing.secret("a-tls", (&good.0, &good.1));
        publishing.secret("b-tls", (&other.0, &other.1));
        assert!(told(publishing.publish(in_2030()), "a").1);
        assert_eq!(publishing.kept.expiry(in_2030()), None);
        breaks(&mut publishing);
        for _ in 0..2 {
            let broken = publishing.publish(in_2030());
            assert_eq!(served(broken, "a-tls").as_ref(), Some(&good.0), "{what}");
            let (certificates, resolved, message) = told(broken, "a");
            assert_eq!((certificates, resolved), (1, false), "{what}");
            assert!(
                message.contains("Secret shop/a-tls") && message.contains("is served until that expires"),
                "{message}"
            );
            assert!(!message.contains("hunter2"));
            assert_eq!((served(broken, "b-tls").as_ref(), told(broken, "b").1), (Some(&other.0), true), "{what}");
        }
        assert_eq!(publishing.kept.expiry(in_2030()), Some(Duration::from_secs(365 * 86_400)), "{what}");
        let in_2031 = in_2030() + Duration::from_secs(366 * 86_400);
        assert_eq!(publishing.kept.expiry(in_2031), Some(Duration::ZERO), "{what}");
        let expired = publishing.publish(in_2031);
        assert_eq!((served(expired, "a-tls"), told(expired, "a").0), (None, 0), "{what}");
        assert_eq!(publishing.kept.expiry(in_2031), None, "{what}");
    }
}

#[test]
fn a_certificate_that_is_mended_takes_its_place_again() {
    let (good, new) = (pair("a.example", 2031), pair("a.example", 2032));
    let mut publishing = Publishing::default();
    publishing.route("a", "a-tls");
    publishing.secret("a-tls", (&good.0, &good.1));
    publishing.publish(in_2030());
    publishing.secret("a-tls", (&new.0, &good.1));
    assert_eq!(served(publishing.publish(in_2030()), "a-tls").as_ref(), Some(&good.0));
    publishing.secret("a-tls", (&new.0, &new.1));
    let mended = publishing.publish(in_2030());
    assert_eq!((served(mended, "a-tls").as_ref(), told(mended, "a").1), (Some(&new.0), true));
    assert_eq!(publishing.kept.expiry(in_2030()), None);
}

#[test]
fn what_was_never_good_is_not_served_and_what_no_route_wants_is_forgotten() {
    let good = pair("a.example", 2031);
    let mut publishing = Publishing::default();
    publishing.route("a", "a-tls");
    publishing.secret("a-tls", ("garbage", "garbage"));
    let never = publishing.publish(in_2030());
    assert_eq!((served(never, "a-tls"), told(never, "a").0, told(never, "a").1), (None, 0, false));
    publishing.secret("a-tls", (&good.0, &good.1));
    publishing.publish(in_2030());
    publishing.secret("a-tls", ("garbage", "garbage"));
    assert!(served(publishing.publish(in_2030()), "a-tls").is_some());
    publishing.route("a", "other-tls");
    assert_eq!(served(publishing.publish(in_2030()), "a-tls"), None);
    publishing.route("a", "a-tls");
    assert_eq!(served(publishing.publish(in_2030()), "a-tls"), None, "it would be somebody else's by now");
}
