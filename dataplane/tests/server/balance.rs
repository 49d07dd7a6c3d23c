//! What keeps a client where it was.

use ravelin_echo::{
    Echo,
    client::{Client, Protocol},
};
use ravelin_snapshot::{
    HostPattern, Part, Snapshot,
    backend::{Address, Algorithm, Backend, Balancing, Endpoint, HashOn, Protocol as Spoken},
    route::{Action, Forward},
};

use crate::gateway::{Gateway, add_backend, add_route, echo, forward};

/// Many endpoints, so that staying at one is no chance; the rule's balancing stands in for the backend's.
fn hashed(echoes: &[Echo], on: HashOn) -> Snapshot {
    let mut snapshot = Snapshot::default();
    let key = add_backend(&mut snapshot, "echo", echoes[0].address());
    let endpoints = echoes.iter().map(|echo| Endpoint { address: Address::Ip(echo.address()), weight: 1 });
    snapshot.backends.insert(key.clone(), Part::new(Backend::plain(Spoken::Http1, endpoints.collect())));
    let Action::Forward(plain) = forward(key) else { unreachable!("it forwards") };
    let balancing = Balancing { algorithm: Algorithm::ConsistentHash(on), slow_start_ms: None };
    let action = Action::Forward(Forward { balancing: Some(Box::new(balancing)), ..plain });
    add_route(&mut snapshot, "all", HostPattern::Any, action);
    snapshot
}

/// How many of them were asked since.
fn asked(echoes: &[Echo], before: &[u64]) -> usize {
    echoes.iter().zip(before).filter(|(echo, before)| echo.requests() > **before).count()
}

fn counts(echoes: &[Echo]) -> Vec<u64> {
    echoes.iter().map(Echo::requests).collect()
}

#[tokio::test]
async fn the_same_key_goes_to_the_same_endpoint_whatever_it_is_taken_from() {
    let echoes: Vec<Echo> = (0..8).map(|_| echo()).collect();
    for on in [HashOn::Header("x-user".into()), HashOn::QueryParam("u".into()), HashOn::SourceAddress] {
        let gateway = Gateway::start(hashed(&echoes, on.clone())).await;
        let (mut all, start) = (0, counts(&echoes));
        for user in ["ada", "bob", "cem", "dora", "eve", "fay", "gus", "hal"] {
            let before = counts(&echoes);
            for round in 0..10 {
                let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
                let path = format!("/{round}?u={user}");
                assert_eq!(client.get_with(&path, &[("x-user", user)]).await.unwrap().status, 200);
            }
            assert_eq!(asked(&echoes, &before), 1, "{on:?} {user}");
            all += 1;
        }
        let expected = if on == HashOn::SourceAddress { 1..=1 } else { 3..=8 };
        assert!(expected.contains(&asked(&echoes, &start)), "{on:?}: {all} users");
    }
}

#[tokio::test]
async fn a_client_without_the_cookie_gets_one_and_stays_where_it_leads() {
    let echoes: Vec<Echo> = (0..8).map(|_| echo()).collect();
    let on = HashOn::Cookie { name: "lb".into(), ttl_ms: Some(60_000) };
    let gateway = Gateway::start(hashed(&echoes, on)).await;
    let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
    let before_all = counts(&echoes);
    for _ in 0..20 {
        let before = counts(&echoes);
        let answer = client.get("/").await.unwrap();
        let cookie = answer.header("set-cookie").unwrap().to_owned();
        assert!(cookie.ends_with("; Path=/; HttpOnly; Max-Age=60"), "{cookie}");
        let pair = cookie.split(';').next().unwrap();
        assert!(pair.starts_with("lb=") && pair.len() == 35, "{pair}");
        for _ in 0..5 {
            let answer = client.get_with("/", &[("cookie", &format!("a=b; {pair}"))]).await.unwrap();
            assert_eq!(answer.header("set-cookie"), None, "it has one");
        }
        assert_eq!(asked(&echoes, &before), 1);
    }
    assert!(asked(&echoes, &before_all) > 3, "each client has a cookie of its own");
}
