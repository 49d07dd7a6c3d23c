//! Who gets how many requests, over real connections.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use ravelin_echo::{
    Echo,
    client::{Client, Protocol},
    raw::{Gate, Raw, Script},
};
use ravelin_snapshot::backend::{Algorithm, Backend, Balancing, HashOn};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinSet,
};

use super::{
    Gateway,
    gateway::{Limits, said},
};

fn by(algorithm: Algorithm, addresses: impl IntoIterator<Item = SocketAddr>) -> Backend {
    Backend { balancing: Balancing { algorithm, slow_start_ms: None }, ..said(addresses) }
}

fn echoes<const N: usize>() -> [Echo; N] {
    [(); N].map(|()| Echo::start("a").unwrap())
}

async fn ask(gateway: &Gateway, count: usize, header: impl Fn(usize) -> String) {
    let mut client = Client::connect(gateway.addresses[0], Protocol::Http1).await.unwrap();
    for number in 0..count {
        assert_eq!(client.get_with("/", &[("x-user", &header(number))]).await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn by_chance_each_has_its_weight() {
    for algorithm in [Algorithm::Random, Algorithm::LeastRequest, Algorithm::PeakEwma] {
        let echoes = echoes::<3>();
        let mut backend = by(algorithm.clone(), echoes.each_ref().map(Echo::address));
        backend.endpoints[0].weight = 2;
        let gateway = Gateway::start(1, backend);
        ask(&gateway, 2_000, |_| String::new()).await;
        let [heavy, light, other] = echoes.each_ref().map(Echo::requests);
        assert_eq!(heavy + light + other, 2_000);
        if algorithm == Algorithm::PeakEwma {
            assert!(light > 0 && other > 0, "{algorithm:?}: each is asked now and then");
            continue;
        }
        assert!((900..1100).contains(&heavy), "{algorithm:?}: {heavy} {light} {other}");
        assert!((420..580).contains(&light), "{algorithm:?}: {heavy} {light} {other}");
    }
}

/// One of ten holds on to what it gets: it soon gets nothing more.
#[tokio::test]
async fn who_does_not_answer_gets_few_requests_and_of_round_robin_its_turns() {
    for (algorithm, most) in [(Algorithm::LeastRequest, 40), (Algorithm::PeakEwma, 40), (Algorithm::RoundRobin, 100)] {
        let (gate, good) = (Gate::new(), echoes::<9>());
        let stuck = Raw::start(Script::new().read().wait(&gate).send_answer("ok").for_ever()).unwrap();
        let addresses = good.iter().map(Echo::address).chain([stuck.address()]);
        let gateway = Gateway::start(1, by(algorithm.clone(), addresses));
        let mut clients = JoinSet::new();
        for _ in 0..1_000 {
            let address = gateway.addresses[0];
            clients.spawn(async move {
                let mut client = Client::connect(address, Protocol::Http1).await.unwrap();
                client.get("/").await.unwrap()
            });
            // One after another, but for those that are stuck.
            let done = || good.iter().map(Echo::requests).sum::<u64>() + stuck.requests();
            let sent = clients.len() as u64;
            let all = async {
                while done() < sent {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(Duration::from_secs(20), all).await.unwrap();
        }
        let held = stuck.requests();
        gate.open();
        assert!(clients.join_all().await.iter().all(|answer| answer.status == 200));
        assert!(held <= most, "{algorithm:?}: {held} of 1000");
        assert_eq!(held == 100, algorithm == Algorithm::RoundRobin, "{algorithm:?}: {held}");
    }
}

#[tokio::test]
async fn a_key_stays_where_it_is_and_moves_only_with_its_endpoint() {
    let echoes = echoes::<5>();
    let hashed = |echoes: &[Echo]| {
        let on = Algorithm::ConsistentHash(HashOn::Header("x-user".to_owned()));
        by(on, echoes.iter().map(Echo::address))
    };
    let limits = Limits { hash: Some("x-user"), ..Limits::default() };
    let gateway = Gateway::with_limits(1, hashed(&echoes), limits);
    let mut client = Client::connect(gateway.addresses[0], Protocol::Http1).await.unwrap();
    let who = async |client: &mut Client, user: usize| {
        let before = echoes.each_ref().map(Echo::requests);
        assert_eq!(client.get_with("/", &[("x-user", &user.to_string())]).await.unwrap().status, 200);
        let after = echoes.each_ref().map(Echo::requests);
        (0..5).find(|at| after[*at] > before[*at]).unwrap()
    };
    let mut first = Vec::new();
    for user in 0..300 {
        first.push(who(&mut client, user).await);
    }
    for (user, at) in first.iter().enumerate() {
        assert_eq!(who(&mut client, user).await, *at, "the same key, the same endpoint");
    }
    for at in 0..5 {
        let keys = first.iter().filter(|first| **first == at).count();
        assert!((30..100).contains(&keys), "{keys} of 300");
    }
    gateway.swap(hashed(&echoes[..4]));
    let mut moved = 0;
    for (user, at) in first.iter().enumerate() {
        moved += usize::from(who(&mut client, user).await != *at && *at != 4);
    }
    assert!(moved < 30, "{moved} keys of others moved");
}

#[tokio::test]
async fn without_a_key_a_request_goes_anywhere() {
    let echoes = echoes::<2>();
    let on = Algorithm::ConsistentHash(HashOn::Header("x-user".to_owned()));
    let gateway = Gateway::start(1, by(on, echoes.each_ref().map(Echo::address)));
    ask(&gateway, 100, |_| String::new()).await;
    assert!(echoes.iter().all(|echo| echo.requests() > 20));
}

#[tokio::test]
async fn a_new_endpoint_begins_with_a_small_share_and_those_of_the_start_with_all() {
    for algorithm in [Algorithm::RoundRobin, Algorithm::Random, Algorithm::LeastRequest] {
        let echoes = echoes::<2>();
        let slow = |addresses: &[Echo]| {
            let mut backend = by(algorithm.clone(), addresses.iter().map(Echo::address));
            backend.balancing.slow_start_ms = Some(3_600_000);
            backend
        };
        let alone = Gateway::start(1, slow(&echoes[..1]));
        ask(&alone, 10, |_| String::new()).await;
        alone.swap(slow(&echoes));
        ask(&alone, 1_000, |_| String::new()).await;
        let new = echoes[1].requests();
        // A tenth of a share where the other has a whole one.
        assert!((40..150).contains(&new), "{algorithm:?}: {new} of 1000");
        let [before, _] = echoes.each_ref().map(Echo::requests);
        let both = Gateway::start(1, slow(&echoes));
        ask(&both, 100, |_| String::new()).await;
        assert!(echoes[0].requests() - before < 80, "both were there from the start");
    }
}

/// Answers each request after that time, any number at once, and counts them.
async fn slow(time: Duration) -> (SocketAddr, Arc<AtomicU64>) {
    let (listener, served) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), Arc::<AtomicU64>::default());
    let (address, count) = (listener.local_addr().unwrap(), Arc::clone(&served));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                let mut read = [0; 4096];
                // A head is one piece here, and so is all of the request.
                while stream.read(&mut read).await.is_ok_and(|length| length > 0) {
                    count.fetch_add(1, Relaxed);
                    tokio::time::sleep(time).await;
                    drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await);
                }
            });
        }
    });
    (address, served)
}

/// The exact shares are held in `balance/rate.rs`, with a clock of its own; here a busy machine makes all of them slower.
#[tokio::test]
async fn who_answers_at_twice_the_rate_gets_more_and_the_slowest_something() {
    let mut all = Vec::new();
    for millis in [80, 40, 20] {
        all.push(slow(Duration::from_millis(millis)).await);
    }
    let gateway = Gateway::start(1, by(Algorithm::ServiceRate, all.iter().map(|(address, _)| *address)));
    let ask = async |count: usize| {
        let before: Vec<u64> = all.iter().map(|(_, served)| served.load(Relaxed)).collect();
        let mut clients = JoinSet::new();
        for _ in 0..30 {
            let address = gateway.addresses[0];
            clients.spawn(async move {
                let mut client = Client::connect(address, Protocol::Http1).await.unwrap();
                for _ in 0..count / 30 {
                    assert_eq!(client.get("/").await.unwrap().status, 200);
                }
            });
        }
        clients.join_all().await;
        all.iter().zip(before).map(|((_, served), before)| served.load(Relaxed) - before).collect::<Vec<_>>()
    };
    ask(600).await;
    let got = ask(1_500).await;
    assert!(got[0] > 50 && got[0] < got[1] && got[1] < got[2], "{got:?}");
}
