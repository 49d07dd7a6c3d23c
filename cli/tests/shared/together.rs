//! Requests at once, waiting and bans of several replicas.

use std::time::{Duration, Instant};

use ravelin_echo::client::DEADLINE;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::timeout,
};

use super::*;

/// Answers each request when it is told to.
struct Backend {
    site: TempDir,
    came: mpsc::UnboundedReceiver<oneshot::Sender<()>>,
    _task: JoinSet<()>,
}

impl Backend {
    /// Behind these limits.
    async fn behind(policy: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let site = site(policy);
        let path = site.path().join("site.yaml");
        let text = fs::read_to_string(&path).unwrap();
        let text =
            text.replace("filters: [{directResponse: {status: 200}}]", "backendRefs: [{kind: Backend, name: b}]");
        let port = listener.local_addr().unwrap().port();
        let endpoints = format!("endpoints: [{{address: 127.0.0.1, port: {port}}}]");
        let backend = format!(
            "{{apiVersion: ravelin.dev/v1alpha1, kind: Backend, metadata: {{name: b}}, spec: {{{endpoints}}}}}"
        );
        fs::write(&path, format!("{text}\n---\n{backend}\n")).unwrap();
        let (comes, came) = mpsc::unbounded_channel();
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let comes = comes.clone();
                connections.spawn(async move {
                    let (mut head, mut bytes) = (Vec::new(), [0; 4096]);
                    while let Ok(count @ 1..) = stream.read(&mut bytes).await {
                        head.extend_from_slice(&bytes[..count]);
                        if !head.ends_with(b"\r\n\r\n") {
                            continue;
                        }
                        head.clear();
                        let (answer, answers) = oneshot::channel();
                        if comes.send(answer).is_err() || answers.await.is_err() {
                            return;
                        }
                        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                        if stream.write_all(answer).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { site, came, _task: task }
    }

    /// A request that has come to the backend, and waits there for its answer.
    async fn next(&mut self) -> oneshot::Sender<()> {
        timeout(DEADLINE, self.came.recv()).await.expect("no request comes").unwrap()
    }
}

/// A request, and its status when it is answered.
async fn begin(gateway: &Gateway, clients: &mut JoinSet<u16>) {
    let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
    clients.spawn(async move { ask(&mut client, "a").await.status.as_u16() });
}

async fn refused(gateway: &Gateway) {
    let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
    let answer = ask(&mut client, "a").await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (429, None), "{}", answer.text());
    assert_eq!(answer.header("ratelimit-policy"), Some("\"seats\";q=3;qu=\"concurrent-requests\""));
}

/// Asks until one request has come to the backend.
async fn admitted(gateway: &Gateway, backend: &mut Backend, clients: &mut JoinSet<u16>) -> oneshot::Sender<()> {
    let asking = async {
        loop {
            begin(gateway, clients).await;
            tokio::select! {
                Some(came) = backend.came.recv() => return came,
                Some(status) = clients.join_next() => assert_eq!(status.unwrap(), 429),
            }
        }
    };
    timeout(DEADLINE, asking).await.expect("nobody is admitted")
}

const SEATS: &str = "  onStoreFailure: Deny\n  limits:\n  - {name: seats, concurrency: 3}\n";

#[tokio::test]
async fn replicas_together_have_as_many_requests_at_once_as_the_limit_says_and_no_more() {
    let store = Store::start(&[]).await;
    let mut backend = Backend::behind(SEATS).await;
    let path = backend.site.path().to_owned();
    let (one, two) = (replica(&path, &store.url(), &[]).await, replica(&path, &store.url(), &[]).await);
    let (mut clients, mut ended) = (JoinSet::new(), JoinSet::new());
    let mut under_way = Vec::new();
    for gateway in [&one, &two, &one] {
        begin(gateway, &mut clients).await;
        under_way.push(backend.next().await);
    }
    refused(&one).await;
    refused(&two).await;
    // Of one replica an answer ends, and the other has the seat.
    under_way.remove(0).send(()).unwrap();
    assert_eq!(timeout(DEADLINE, clients.join_next()).await.unwrap().unwrap().unwrap(), 200);
    under_way.push(admitted(&two, &mut backend, &mut ended).await);
    refused(&one).await;
    // A client that goes away gives its seat back.
    drop(ended);
    under_way.push(admitted(&one, &mut backend, &mut clients).await);
    refused(&two).await;
}

#[tokio::test]
async fn the_seats_of_a_replica_that_has_crashed_are_free_again_and_those_of_one_that_is_there_are_not() {
    let store = Store::start(&[]).await;
    let mut backend = Backend::behind(SEATS).await;
    let path = backend.site.path().to_owned();
    let (one, two) = (replica(&path, &store.url(), &[]).await, replica(&path, &store.url(), &[]).await);
    let (mut lost, mut clients) = (JoinSet::new(), JoinSet::new());
    let mut under_way = Vec::new();
    for _ in 0..2 {
        begin(&one, &mut lost).await;
        under_way.push(backend.next().await);
    }
    begin(&two, &mut clients).await;
    under_way.push(backend.next().await);
    refused(&two).await;
    one.signal("KILL").await;
    drop(lost);
    let mut others = JoinSet::new();
    for _ in 0..2 {
        under_way.push(admitted(&two, &mut backend, &mut others).await);
    }
    refused(&two).await;
}

#[tokio::test]
async fn who_waits_for_a_shared_seat_has_it_when_another_replica_gives_one_back() {
    let store = Store::start(&[]).await;
    let mut backend = Backend::behind("  limits:\n  - {name: seats, concurrency: 1, maxDelay: 1m}\n").await;
    let path = backend.site.path().to_owned();
    let (one, two) = (replica(&path, &store.url(), &[]).await, replica(&path, &store.url(), &[]).await);
    let mut clients = JoinSet::new();
    begin(&one, &mut clients).await;
    let mut first = backend.next().await;
    for _ in 0..3 {
        begin(&two, &mut clients).await;
        begin(&one, &mut clients).await;
    }
    for n in 0..7 {
        assert!(backend.came.try_recv().is_err(), "one at a time: {n}");
        first.send(()).unwrap();
        assert_eq!(timeout(DEADLINE, clients.join_next()).await.unwrap().unwrap().unwrap(), 200);
        if n == 6 {
            break;
        }
        first = backend.next().await;
    }
}

#[tokio::test]
async fn who_waits_for_a_shared_rate_has_his_turn_wherever_he_came() {
    let store = Store::start(&[]).await;
    let site = site("  limits:\n  - {name: slow, rate: {requests: 5, per: 1s, burst: 1}, maxDelay: 2s}\n");
    let (one, two) = (replica(site.path(), &store.url(), &[]).await, replica(site.path(), &store.url(), &[]).await);
    let (mut clients, begun) = (JoinSet::new(), Instant::now());
    for n in 0..10 {
        begin([&one, &two][n % 2], &mut clients).await;
    }
    let statuses = timeout(DEADLINE, clients.join_all()).await.unwrap();
    assert_eq!(statuses, [200; 10]);
    assert!(begun.elapsed() >= Duration::from_millis(1_800), "nine after the first, 200 ms each");
}

#[tokio::test]
async fn a_ban_for_what_replicas_have_refused_together_holds_on_all_of_them() {
    let store = Store::start(&[]).await;
    let site = site(
        "  limits:
  - name: posts
    key: \"request.headers['x-who']\"
    when: \"request.method == 'POST'\"
    rate: {requests: 1, per: 1h}
    ban: {after: 4, within: 1m, for: 10m}
",
    );
    let (one, two) = (replica(site.path(), &store.url(), &[]).await, replica(site.path(), &store.url(), &[]).await);
    let third = replica(site.path(), &store.url(), &[]).await;
    let post = async |gateway: &Gateway| {
        let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
        client.post("/", &[("x-who", "a")], "").await.unwrap().status.as_u16()
    };
    assert_eq!(post(&one).await, 200);
    for gateway in [&one, &two, &one, &two] {
        assert_eq!(post(gateway).await, 429);
    }
    for gateway in [&one, &two, &third] {
        let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
        let banned = async {
            loop {
                let answer = ask(&mut client, "a").await;
                if answer.status == 429 {
                    return answer;
                }
            }
        };
        let answer = timeout(DEADLINE, banned).await.expect("it is not banned");
        let left: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((500..=600).contains(&left), "{left}");
        assert_eq!(ask(&mut client, "b").await.status, 200, "another key");
    }
}
