//! Who owns a hostname, against the sentence of the page about routes taken literally.

use proptest::{collection::vec, option, prelude::*, sample::select};
use ravelin_snapshot::HostPattern;

use super::*;

proptest! {
    #[test]
    fn a_hostname_is_served_by_the_namespace_of_the_oldest_route_that_names_it_or_a_wildcard_above(
        routes in vec(
            (select(vec!["a", "b", "c"]), option::of(0_i64..4), "(\\*\\.)?([xy]\\.){0,2}example"),
            1..12,
        )
    ) {
        let mut model = Model::default();
        let mut claims = Vec::new();
        for (n, (namespace, created, host)) in routes.into_iter().enumerate() {
            let name = format!("r{n}");
            let AnyObject::ApiRoute(mut object) = route(namespace, &name, &host, "one") else { unreachable!() };
            object.meta.created = created;
            model.set(AnyObject::ApiRoute(object));
            claims.push((created.unwrap_or(i64::MAX), namespace, name, HostPattern::parse(&host)));
        }
        let compiled = compile(&model, Options::default(), None);
        for (_, namespace, name, host) in &claims {
            let covering = claims.iter().filter(|(.., pattern)| pattern.covers(host));
            let owner = covering.min().map(|(_, owner, ..)| owner);
            let served = compiled.snapshot.routes.get(&ObjectKey::new(*namespace, name.as_str())).is_some();
            prop_assert_eq!(served, owner == Some(namespace), "{} {} of {:?}", namespace, name, host);
        }
    }
}
