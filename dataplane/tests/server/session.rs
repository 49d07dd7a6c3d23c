//! Sessions: who comes again is where it was, whatever changes around its endpoint.

use http::HeaderMap;
use ravelin_dataplane::Settings;
use ravelin_echo::{
    Echo,
    client::{Answer, Client, Protocol},
};
use ravelin_snapshot::{
    HostPattern, Part, Snapshot,
    backend::{Address, Backend, BackendKey, Endpoint, Health, Passive, Protocol as Spoken},
    route::{Action, Carrier, Forward, Retry, RetryOn, Session, WeightedBackend},
};

use crate::gateway::{Gateway, add_backend, add_route, echo, forward};

fn cookie(permanent: bool) -> Session {
    let carrier = Carrier::Cookie { name: "sid".into(), path: "/".into(), permanent };
    Session { carrier, absolute_ms: permanent.then_some(3_600_000), idle_ms: None }
}

fn add_echoes(snapshot: &mut Snapshot, name: &str, echoes: &[&Echo]) -> BackendKey {
    let key = add_backend(snapshot, name, echoes[0].address());
    let endpoints = echoes.iter().map(|echo| Endpoint { address: Address::Ip(echo.address()), weight: 1 });
    snapshot.backends.insert(key.clone(), Part::new(Backend::plain(Spoken::Http1, endpoints.collect())));
    key
}

/// One backend with these endpoints, and sessions.
fn kept(echoes: &[&Echo], change: impl FnOnce(&mut Forward, &mut Backend)) -> Snapshot {
    let mut snapshot = Snapshot::default();
    let key = add_echoes(&mut snapshot, "echo", echoes);
    let mut backend = snapshot.backends.get(&key).unwrap().value().as_ref().clone();
    let Action::Forward(mut plain) = forward(key.clone()) else { unreachable!("it forwards") };
    plain.session = Some(Box::new(cookie(false)));
    change(&mut plain, &mut backend);
    snapshot.backends.insert(key, Part::new(backend));
    add_route(&mut snapshot, "all", HostPattern::Any, Action::Forward(plain));
    snapshot
}

/// What a browser would say the next time.
fn given(headers: &HeaderMap) -> Option<String> {
    let said = headers.get("set-cookie")?.to_str().unwrap();
    Some(said.split(';').next().unwrap().to_owned())
}

async fn ask(gateway: &Gateway, cookie: Option<&str>) -> Answer {
    let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
    let said: Vec<_> = cookie.map(|cookie| ("cookie", cookie)).into_iter().collect();
    client.get_with("/", &said).await.unwrap()
}

/// Which of them was asked.
async fn who(gateway: &Gateway, echoes: &[Echo], cookie: Option<&str>) -> (usize, Option<String>) {
    let before: Vec<u64> = echoes.iter().map(Echo::requests).collect();
    let answer = ask(gateway, cookie).await;
    assert_eq!(answer.status, 200);
    let at = (0..echoes.len()).find(|at| echoes[*at].requests() > before[*at]).unwrap();
    (at, given(&answer.headers))
}

fn echoes<const N: usize>() -> [Echo; N] {
    [(); N].map(|()| echo())
}

#[tokio::test]
async fn who_comes_again_is_where_it_was_and_is_told_nothing_new() {
    let echoes = echoes::<5>();
    let gateway = Gateway::start(kept(&echoes.each_ref(), |_, _| {})).await;
    for _ in 0..5 {
        let (first, cookie) = who(&gateway, &echoes, None).await;
        let cookie = cookie.unwrap();
        let name = echoes[first].address().to_string();
        assert!(!cookie.contains(&name) && cookie.starts_with("sid="), "{cookie}");
        for _ in 0..10 {
            assert_eq!(who(&gateway, &echoes, Some(&cookie)).await, (first, None));
        }
    }
}

#[tokio::test]
async fn a_value_that_nobody_made_is_as_none() {
    let echoes = echoes::<4>();
    let gateway = Gateway::start(kept(&echoes.each_ref(), |_, _| {})).await;
    let (_, cookie) = who(&gateway, &echoes, None).await;
    let cookie = cookie.unwrap();
    let address = echoes[0].address();
    let flipped = format!("{}{}", &cookie[..cookie.len() - 2], if cookie.ends_with("AA") { "BB" } else { "AA" });
    for forged in ["sid=", "sid=x", &format!("sid={address}"), &format!("sid={}", "A".repeat(84)), &flipped] {
        let mut seen = [0; 4];
        for _ in 0..8 {
            let (at, new) = who(&gateway, &echoes, Some(forged)).await;
            assert!(new.is_some_and(|new| new != *forged), "{forged}");
            seen[at] += 1;
        }
        assert_eq!(seen, [2; 4], "{forged}");
    }
}

#[tokio::test]
async fn a_session_lives_as_long_as_its_endpoint_whatever_the_others_do() {
    let echoes = echoes::<6>();
    let all: Vec<&Echo> = echoes.iter().collect();
    let gateway = Gateway::start(kept(&all[..3], |_, _| {})).await;
    let (first, cookie) = who(&gateway, &echoes, None).await;
    let cookie = cookie.unwrap();
    let with: Vec<&Echo> = all[3..].iter().chain([&all[first]]).copied().collect();
    gateway.publish(kept(&with, |_, _| {})).await;
    for _ in 0..6 {
        assert_eq!(who(&gateway, &echoes, Some(&cookie)).await, (first, None));
    }
    gateway.publish(kept(&all[3..], |_, _| {})).await;
    let (next, moved) = who(&gateway, &echoes, Some(&cookie)).await;
    assert_ne!(next, first);
    for _ in 0..6 {
        assert_eq!(who(&gateway, &echoes, moved.as_deref()).await, (next, None));
    }
}

/// A and B, as an experiment has them.
fn arms(a: &[&Echo], b: &[&Echo], weights: [u32; 2]) -> Snapshot {
    let mut snapshot = Snapshot::default();
    let keys = [add_echoes(&mut snapshot, "a", a), add_echoes(&mut snapshot, "b", b)];
    let Action::Forward(plain) = forward(keys[0].clone()) else { unreachable!("it forwards") };
    let arm = |at: usize| {
        let Action::Forward(one) = forward(keys[at].clone()) else { unreachable!("it forwards") };
        WeightedBackend { weight: weights[at], ..one.backends[0].clone() }
    };
    let action = Forward { backends: vec![arm(0), arm(1)], session: Some(Box::new(cookie(false))), ..plain };
    add_route(&mut snapshot, "all", HostPattern::Any, Action::Forward(action));
    snapshot
}

#[tokio::test]
async fn who_was_in_an_arm_stays_in_it_until_it_has_no_share() {
    let echoes = echoes::<4>();
    let (a, b) = ([&echoes[0], &echoes[1]], [&echoes[2], &echoes[3]]);
    let gateway = Gateway::start(arms(&a, &b, [50, 50])).await;
    let mut clients = Vec::new();
    for _ in 0..8 {
        let (at, cookie) = who(&gateway, &echoes, None).await;
        clients.push((at, cookie.unwrap()));
    }
    assert_eq!(clients.iter().filter(|(at, _)| *at < 2).count(), 4, "new clients are spread as the weights say");
    for weights in [[50, 50], [1, 99], [99, 1]] {
        gateway.publish(arms(&a, &b, weights)).await;
        for (at, cookie) in &clients {
            assert_eq!(who(&gateway, &echoes, Some(cookie)).await, (*at, None), "{weights:?}");
        }
    }
    gateway.publish(arms(&a, &b, [0, 1])).await;
    for (was, cookie) in &clients {
        let (at, new) = who(&gateway, &echoes, Some(cookie)).await;
        assert!(at >= 2 && new.is_some() == (*was < 2), "{was} {at}");
    }
}

#[tokio::test]
async fn replicas_and_restarts_with_the_same_keys_know_the_same_sessions() {
    let echoes = echoes::<5>();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    std::fs::write(&file, "0123456789abcdef0123456789abcdef\n").unwrap();
    let shared = || Settings { session_key: Some(file.clone()), ..Settings::default() };
    let kept_key = || Settings { quotas: Some(folder.path().join("state")), ..Settings::default() };
    for (settings, same) in [(&shared as &dyn Fn() -> Settings, true), (&kept_key, true), (&Settings::default, false)] {
        let mut moved = 0;
        for _ in 0..4 {
            let one = Gateway::with(settings(), kept(&echoes.each_ref(), |_, _| {})).await;
            let (first, cookie) = who(&one, &echoes, None).await;
            one.running.drain().await;
            let other = Gateway::with(settings(), kept(&echoes.each_ref(), |_, _| {})).await;
            who(&other, &echoes, None).await; // so that it is not the same turn by chance
            let (at, new) = who(&other, &echoes, cookie.as_deref()).await;
            moved += usize::from(at != first);
            assert_eq!(new.is_none(), same);
        }
        assert_eq!(moved > 0, !same);
    }
}

#[tokio::test]
async fn keys_that_are_replaced_while_it_runs_count_and_sessions_go_on() {
    let echoes = echoes::<4>();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    // As a Secret in a volume is replaced: by another file of that name.
    let write = |text: &str| {
        let aside = folder.path().join("aside");
        std::fs::write(&aside, text).unwrap();
        std::fs::rename(&aside, &file).unwrap();
    };
    let [old, new] = ["o", "n"].map(|of| of.repeat(32));
    write(&old);
    let settings = || Settings { session_key: Some(file.clone()), ..Settings::default() };
    let gateway = Gateway::with(settings(), kept(&echoes.each_ref(), |_, _| {})).await;
    let (first, cookie) = who(&gateway, &echoes, None).await;
    write(&new);
    // Another replica has the new key alone, and tells by it who has been given a value of this one.
    let other = Gateway::with(settings(), kept(&echoes.each_ref(), |_, _| {})).await;
    let replaced = async {
        loop {
            let (at, made) = who(&gateway, &echoes, None).await;
            if who(&other, &echoes, made.as_deref()).await == (at, None) {
                break;
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), replaced).await.unwrap();
    assert_eq!(who(&gateway, &echoes, cookie.as_deref()).await, (first, None), "what it made before is known still");
    write("short");
    let (at, made) = who(&gateway, &echoes, None).await;
    assert_eq!(who(&other, &echoes, made.as_deref()).await, (at, None));
}

#[tokio::test]
async fn a_file_of_keys_that_is_of_no_use_stops_the_start_and_is_named() {
    let settings = Settings { session_key: Some("/nowhere/keys".into()), ..Settings::default() };
    let (_, subscriber) = ravelin_snapshot::channel::memory();
    let source = ravelin_dataplane::server::Source::Memory(subscriber);
    let refused = ravelin_dataplane::start(settings, source, Vec::new()).await.err().unwrap().to_string();
    assert!(refused.starts_with("--session-key /nowhere/keys: cannot be read"), "{refused}");
}

#[tokio::test]
async fn who_cannot_be_reached_loses_its_sessions_to_others_and_no_request_with_them() {
    let echoes = echoes::<4>();
    let gateway = Gateway::start(kept(&echoes.each_ref(), |_, _| {})).await;
    let (first, cookie) = who(&gateway, &echoes, None).await;
    echoes[first].kill().await;
    let (next, moved) = who(&gateway, &echoes, cookie.as_deref()).await;
    assert_ne!(next, first);
    assert_eq!(who(&gateway, &echoes, moved.as_deref()).await, (next, None));
}

#[tokio::test]
async fn who_is_ejected_has_its_sessions_elsewhere() {
    let echoes = echoes::<4>();
    let passive = Passive { consecutive_errors: 2, eject_for_ms: 3_600_000, max_ejected_percent: 50 };
    let health = Health { active: None, passive: Some(passive), panic_percent: 0 };
    let gateway = Gateway::start(kept(&echoes.each_ref(), |_, backend| backend.health = Some(health))).await;
    let (first, cookie) = who(&gateway, &echoes, None).await;
    let cookie = cookie.unwrap();
    let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
    for _ in 0..2 {
        let answer = client.get_with("/?status=503", &[("cookie", &cookie)]).await.unwrap();
        assert_eq!((answer.status.as_u16(), given(&answer.headers)), (503, None));
    }
    let (next, moved) = who(&gateway, &echoes, Some(&cookie)).await;
    assert!(next != first && moved.is_some());
}

#[tokio::test]
async fn a_request_that_is_sent_again_goes_to_another_and_so_does_the_session() {
    let echoes = echoes::<2>();
    let retry = Retry {
        attempts: 1,
        backoff_ms: 1,
        codes: vec![503],
        on: vec![RetryOn::ConnectFailure],
        methods: vec!["GET".into()],
    };
    let gateway = Gateway::start(kept(&echoes.each_ref(), |forward, _| forward.retry = Some(Box::new(retry)))).await;
    let (first, cookie) = who(&gateway, &echoes, None).await;
    let cookie = cookie.unwrap();
    let before = echoes.each_ref().map(Echo::requests);
    let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
    let answer = client.get_with("/?status=503", &[("cookie", &cookie)]).await.unwrap();
    let asked = [0, 1].map(|at| echoes[at].requests() - before[at]);
    assert_eq!((answer.status.as_u16(), asked), (503, [1, 1]));
    let moved = given(&answer.headers);
    assert_eq!(who(&gateway, &echoes, moved.as_deref()).await, (1 - first, None));
}

#[tokio::test]
async fn a_header_carries_a_session_as_well() {
    let echoes = echoes::<4>();
    let carrier = Carrier::Header("x-session".into());
    let session = Session { carrier, absolute_ms: None, idle_ms: None };
    let gateway =
        Gateway::start(kept(&echoes.each_ref(), |forward, _| forward.session = Some(Box::new(session)))).await;
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let mut client = Client::connect(gateway.http(), protocol).await.unwrap();
        let first = client.get("/").await.unwrap();
        assert_eq!(first.header("set-cookie"), None);
        let value = first.header("x-session").unwrap().to_owned();
        let before: Vec<u64> = echoes.iter().map(Echo::requests).collect();
        for _ in 0..8 {
            let answer = client.get_with("/", &[("x-session", &value)]).await.unwrap();
            assert_eq!(answer.header("x-session"), None);
        }
        let asked = (0..4).filter(|at| echoes[*at].requests() > before[*at]).count();
        assert_eq!(asked, 1);
    }
}

#[tokio::test]
async fn a_cookie_says_how_long_it_lives_and_an_idle_time_is_counted_from_the_last_request() {
    let echoes = echoes::<2>();
    let permanent = |forward: &mut Forward, _: &mut Backend| forward.session = Some(Box::new(cookie(true)));
    let gateway = Gateway::start(kept(&echoes.each_ref(), permanent)).await;
    let answer = ask(&gateway, None).await;
    let said = answer.header("set-cookie").unwrap();
    assert!(said.ends_with("; Path=/; HttpOnly; Max-Age=3600"), "{said}");
    let idle = |forward: &mut Forward, _: &mut Backend| {
        forward.session = Some(Box::new(Session { idle_ms: Some(600_000), ..cookie(false) }));
    };
    gateway.publish(kept(&echoes.each_ref(), idle)).await;
    let (first, cookie) = who(&gateway, &echoes, None).await;
    let mut cookie = cookie.unwrap();
    let renewed = async {
        loop {
            let (at, new) = who(&gateway, &echoes, Some(&cookie)).await;
            assert_eq!(at, first);
            if let Some(new) = new {
                return new;
            }
        }
    };
    // Its time is in seconds: within the same one nothing is new.
    cookie = tokio::time::timeout(std::time::Duration::from_secs(20), renewed).await.unwrap();
    assert_eq!(who(&gateway, &echoes, Some(&cookie)).await.0, first);
}
