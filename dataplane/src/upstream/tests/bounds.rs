//! Places: never more than the policy says, in order, and nobody starves.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use ravelin_echo::{
    Echo,
    client::{Answer, Client, Protocol},
    raw::{Gate, Raw, Script},
};
use ravelin_snapshot::backend::{Backend, Connections};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

use super::{Gateway, gateway::said};

const LONG: u64 = 20_000;

fn bounded(address: SocketAddr, change: impl FnOnce(&mut Connections)) -> Backend {
    let mut backend = said([address]);
    backend.connections.pending_timeout_ms = LONG;
    change(&mut backend.connections);
    backend
}

fn get(address: SocketAddr, path: &str) -> JoinHandle<Answer> {
    let path = path.to_owned();
    tokio::spawn(async move {
        let mut client = Client::connect(address, Protocol::Http1).await.unwrap();
        client.get(&path).await.unwrap()
    })
}

async fn until(gateway: &Gateway, reached: impl Fn(&crate::upstream::Counts) -> bool) {
    let endpoint = gateway.backend.load().endpoints().next().unwrap();
    let waiting = async {
        while !reached(endpoint.counts()) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap();
}

/// Answers a little later; knows how many requests were under way at once.
async fn busy_backend() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let record = Arc::clone(&most);
    let serve = move |mut stream: TcpStream| {
        let (now, most) = (Arc::clone(&now), Arc::clone(&record));
        async move {
            let mut heard = Vec::new();
            while stream.read_buf(&mut heard).await.is_ok_and(|count| count > 0) {
                if heard.ends_with(b"\r\n\r\n") {
                    heard.clear();
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(2)).await;
                    now.fetch_sub(1, Ordering::SeqCst);
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
                }
            }
        }
    };
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve.clone()(stream));
        }
    });
    (address, most)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_never_sees_more_than_it_may_and_all_who_wait_are_served() {
    for (workers, change) in [
        (1, (|bounds| bounds.max = 3) as fn(&mut Connections)),
        (2, |bounds| bounds.max = 3),
        (2, |bounds| bounds.max_requests = 3),
        (2, |bounds| bounds.max = 1),
    ] {
        let (address, most) = busy_backend().await;
        let backend = bounded(address, change);
        let allowed = backend.connections.max.min(backend.connections.max_requests) as usize;
        let gateway = Gateway::start(workers, backend);
        let mut clients = JoinSet::new();
        for number in 0..30 {
            let address = gateway.addresses[number % workers];
            clients.spawn(async move {
                let mut client = Client::connect(address, Protocol::Http1).await.unwrap();
                for _ in 0..10 {
                    assert_eq!(client.get("/").await.unwrap().status, 200);
                }
            });
        }
        clients.join_all().await;
        assert_eq!(most.load(Ordering::SeqCst), allowed, "{workers} workers");
    }
}

#[tokio::test]
async fn connections_are_handed_on_and_not_opened_anew() {
    let echo = Echo::start("a").unwrap();
    let gateway = Gateway::start(1, bounded(echo.address(), |bounds| bounds.max = 4));
    let asked: Vec<_> = (0..40).map(|_| get(gateway.addresses[0], "/?delay=5ms")).collect();
    for answer in asked {
        assert_eq!(answer.await.unwrap().status, 200);
    }
    assert_eq!(echo.connections_total(), 4);
}

#[tokio::test]
async fn exactly_as_many_wait_as_may_and_the_next_is_overloaded() {
    for change in [(|bounds| bounds.max = 2) as fn(&mut Connections), |bounds| bounds.max_requests = 2] {
        let gate = Gate::new();
        let raw = Raw::start(Script::new().read().wait(&gate).send_answer("ok").for_ever()).unwrap();
        let backend = bounded(raw.address(), |bounds| {
            bounds.max_pending = 3;
            change(bounds);
        });
        let gateway = Gateway::start(1, backend);
        let served: Vec<_> = (0..5).map(|_| get(gateway.addresses[0], "/")).collect();
        until(&gateway, |counts| counts.pending() == 3).await;
        for _ in 0..4 {
            let answer = get(gateway.addresses[0], "/").await.unwrap();
            assert_eq!((answer.status.as_u16(), answer.header("reason")), (503, Some("overloaded")));
            assert_eq!(answer.header("again"), Some("yes"));
        }
        assert_eq!(raw.requests(), 2);
        gate.open();
        for answer in served {
            assert_eq!(answer.await.unwrap().status, 200);
        }
        until(&gateway, |counts| counts.pending() == 0 && counts.in_flight() == 0).await;
    }
}

#[tokio::test]
async fn who_waits_too_long_is_overloaded_and_leaves_the_line() {
    let gate = Gate::new();
    let raw = Raw::start(Script::new().read().wait(&gate).send_answer("ok").for_ever()).unwrap();
    let backend = bounded(raw.address(), |bounds| (bounds.max, bounds.pending_timeout_ms) = (1, 20));
    let gateway = Gateway::start(1, backend);
    let first = get(gateway.addresses[0], "/");
    raw.wait_until(|counts| counts.requests == 1).await;
    let answer = get(gateway.addresses[0], "/").await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.header("reason")), (503, Some("overloaded")));
    gate.open();
    assert_eq!(first.await.unwrap().status, 200);
    assert_eq!(get(gateway.addresses[0], "/").await.unwrap().status, 200);
    assert_eq!(raw.connections_total(), 1);
}

#[tokio::test]
async fn who_came_first_is_served_first_even_if_others_leave() {
    for change in [(|bounds| bounds.max = 1) as fn(&mut Connections), |bounds| bounds.max_requests = 1] {
        let gate = Gate::new();
        let raw = Raw::start(Script::new().read().wait(&gate).send_answer("ok").for_ever()).unwrap();
        let gateway = Gateway::start(1, bounded(raw.address(), change));
        let mut asked = vec![get(gateway.addresses[0], "/first")];
        raw.wait_until(|counts| counts.requests == 1).await;
        for number in 0..10 {
            asked.push(get(gateway.addresses[0], &format!("/{number}")));
            until(&gateway, |counts| counts.pending() == number + 1).await;
        }
        asked.remove(4).abort();
        until(&gateway, |counts| counts.pending() == 9).await;
        gate.open();
        for answer in asked {
            assert_eq!(answer.await.unwrap().status, 200);
        }
        let received = String::from_utf8_lossy(&raw.received().concat()).into_owned();
        let order: Vec<_> = received.lines().filter_map(|line| line.strip_prefix("GET /")?.split(' ').next()).collect();
        assert_eq!(order, ["first", "0", "1", "2", "4", "5", "6", "7", "8", "9"]);
    }
}

#[tokio::test]
async fn an_idle_connection_of_one_worker_starves_no_other() {
    let echo = Echo::start("a").unwrap();
    let gateway = Gateway::start(2, bounded(echo.address(), |bounds| bounds.max = 1));
    for round in 0..20 {
        assert_eq!(get(gateway.addresses[round % 2], "/").await.unwrap().status, 200);
    }
    assert_eq!(echo.connections_total(), 20);
}

#[tokio::test]
async fn two_busy_workers_share_and_then_close_nothing_more() {
    let echo = Echo::start("a").unwrap();
    let gateway = Gateway::start(2, bounded(echo.address(), |bounds| bounds.max = 4));
    let ask = |worker: usize, count: usize| (0..count).map(move |_| worker).collect::<Vec<_>>();
    let mut asked: Vec<_> = ask(0, 50).iter().map(|worker| get(gateway.addresses[*worker], "/?delay=5ms")).collect();
    echo.wait_until(|counts| counts.connections_open == 4).await;
    asked.extend(ask(1, 50).iter().map(|worker| get(gateway.addresses[*worker], "/?delay=5ms")));
    for answer in asked {
        assert_eq!(answer.await.unwrap().status, 200);
    }
    // Two move over while both are busy; those that one has left at the end may follow.
    assert!(echo.connections_total() <= 8, "{}", echo.connections_total());
}
