//! The order of the policies, as a client sees it.

use ravelin_dataplane::Settings;
use ravelin_echo::client::{Client, Protocol};
use ravelin_snapshot::{
    HostPattern, ObjectKey, Part, Snapshot,
    auth::Mode,
    rate_limit::{Count, Limit, Phase, RateLimitPolicy, TokenBucket},
    route::{Guard, Route},
};

use crate::gateway::{Gateway, office, route, say};

#[tokio::test]
async fn who_may_not_come_by_his_address_takes_no_token_of_the_limits_before_authentication() {
    let mut snapshot = Snapshot::default();
    let count = Count::TokenBucket(TokenBucket { requests: 1, per_ms: 86_400_000, burst: 1 });
    let limit = Limit {
        name: "one".into(),
        key: None,
        when: None,
        cost: None,
        phase: Phase::PreAuthentication,
        count,
        parent: None,
        max_delay_ms: None,
        ban: None,
    };
    let (office_key, one_key) = (ObjectKey::new("shop", "office"), ObjectKey::new("shop", "one"));
    snapshot.auth.insert(office_key.clone(), Part::new(office()));
    snapshot.limits.insert(
        one_key.clone(),
        Part::new(RateLimitPolicy {
            mode: Mode::Enforce,
            limits: vec![limit],
            plans: None,
            priority: None,
            shared: None,
        }),
    );
    let Route { mut rules, .. } = route(HostPattern::Any, say("in"));
    rules[0].auth = Guard::Policy(office_key);
    rules[0].limits = vec![Guard::Policy(one_key)];
    let guarded = Route { rules, ..route(HostPattern::Any, say("in")) };
    snapshot.routes.insert(ObjectKey::new("shop", "all"), Part::new(guarded));
    let settings = Settings { trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()], ..Settings::default() };
    let gateway = Gateway::with(settings, snapshot).await;
    let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
    for (source, expected) in [("192.0.2.1", 403), ("192.0.2.1", 403), ("10.1.1.1", 200), ("10.1.1.1", 429)] {
        let answer = client.get_with("/", &[("x-forwarded-for", source)]).await.unwrap();
        assert_eq!(answer.status.as_u16(), expected, "{source}: {}", answer.text());
    }
}
