//! Stores that are away, hang, or are none.

use super::{proxy::Proxy, *};

#[tokio::test]
async fn while_the_store_is_away_each_replica_has_its_share_or_all_pass_or_none_and_then_it_counts_again() {
    let mut store = Store::start(&[]).await;
    let sites = ["Local", "Allow", "Deny"].map(on_failure);
    let mut gateways = Vec::new();
    for site in &sites {
        // Of an installation of its own each, of two replicas where they are counted.
        let prefix = format!("p{}", gateways.len());
        gateways.push(replica(site.path(), &store.url(), &["--redis-prefix", &prefix]).await);
    }
    let twin = replica(sites[0].path(), &store.url(), &["--redis-prefix", "p0"]).await;
    let [local, allow, deny] = &gateways[..] else { unreachable!() };
    // A beat later each knows of the other.
    assert_eq!(passing(local, "a", 5).await, 5);
    local.page_until("/metrics", |page| page.text().contains("ravelin_limit_store_replicas 2\n")).await;
    store.kill().await;
    for gateway in gateways.iter().chain([&twin]) {
        connected(gateway, false).await;
    }
    assert_eq!((passing(local, "b", 100).await, passing(&twin, "b", 100).await), (5, 5), "half of it each");
    assert_eq!(passing(allow, "b", 100).await, 100);
    let mut client = Client::connect(deny.http(), Protocol::Http1).await.unwrap();
    let denied = ask(&mut client, "b").await;
    assert_eq!((denied.status.as_u16(), &denied.json()["reason"]), (503, &"limit_unavailable".into()));
    assert_eq!((&denied.json()["limit"], denied.header("retry-after")), (&"bucket".into(), Some("1")));
    store.restart().await; // and has lost everything, scripts too
    for gateway in gateways.iter().chain([&twin]) {
        connected(gateway, true).await;
        let passed = passing(gateway, "c", 100).await;
        assert_eq!(passed, if std::ptr::eq(gateway, &twin) { 0 } else { 10 });
    }
}

#[tokio::test]
async fn a_store_that_hangs_keeps_nobody_waiting_for_long() {
    let store = Store::start(&[]).await;
    let site = on_failure("Deny");
    let gateway = replica(site.path(), &store.url(), &["--redis-timeout", "100ms"]).await;
    assert_eq!(passing(&gateway, "a", 3).await, 3);
    store.signal("STOP").await;
    let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
    assert_eq!(ask(&mut client, "a").await.status, 503, "it is answered");
    connected(&gateway, false).await;
    for _ in 0..100 {
        assert_eq!(ask(&mut client, "a").await.status, 503);
    }
    let metrics = gateway.page("/metrics").await.text();
    let late = metrics.lines().find(|line| line.contains("store_calls_total{result=\"timeout\"}")).unwrap();
    assert_eq!(late.rsplit(' ').next(), Some("1"), "one has waited, the others have not");
    store.signal("CONT").await;
    connected(&gateway, true).await;
    let passed = passing(&gateway, "a", 100).await;
    assert!((6..=7).contains(&passed), "what was counted is there, and perhaps what was asked while it hung: {passed}");
}

#[tokio::test]
async fn a_key_that_is_not_ours_is_refused_as_the_policy_says_and_others_are_not_touched() {
    let store = Store::start(&[]).await;
    let site = on_failure("Deny");
    let gateway = replica(site.path(), &store.url(), &[]).await;
    assert_eq!(passing(&gateway, "a", 1).await, 1);
    let keys = store.tell(&["KEYS", "*:few:*"]).await;
    let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
    for broken in
        [&["LPUSH", &keys, "1"][..], &["SET", &keys, "nonsense"], &["SET", &keys, ""], &["SET", &keys, "\u{1}"]]
    {
        store.tell(&["DEL", &keys]).await;
        store.tell(broken).await;
        assert_eq!(ask(&mut client, "a").await.status, 503, "{broken:?}");
        assert_eq!(ask(&mut client, "b").await.status, 200);
        connected(&gateway, true).await;
    }
    store.tell(&["DEL", &keys]).await;
    assert_eq!(ask(&mut client, "a").await.status, 200);
}

#[tokio::test]
async fn a_store_that_only_reads_is_none() {
    let store = Store::start(&[]).await;
    let site = on_failure("Deny");
    let gateway = replica(site.path(), &store.url(), &[]).await;
    assert_eq!(passing(&gateway, "a", 1).await, 1);
    store.tell(&["REPLICAOF", "127.0.0.1", "1"]).await;
    let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
    assert_eq!(ask(&mut client, "a").await.status, 503);
    connected(&gateway, false).await;
    store.tell(&["REPLICAOF", "NO", "ONE"]).await;
    connected(&gateway, true).await;
    assert_eq!(ask(&mut client, "a").await.status, 200);
}

#[tokio::test]
async fn no_answer_of_a_store_is_taken_for_an_admission() {
    for answer in [
        "-LOADING Redis is loading\r\n",
        "-MOVED 1 127.0.0.1:1\r\n",
        "$100\r\nhalf",
        "*1\r\n:1\r\n",
        "+OK\r\n",
        "HTTP/1.1 200 OK\r\n\r\n",
        "",
    ] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let fake = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                connections.spawn(async move {
                    use tokio::io::{AsyncReadExt, AsyncWriteExt};
                    let mut bytes = [0; 4096];
                    while let Ok(1..) = stream.read(&mut bytes).await {
                        if stream.write_all(answer.as_bytes()).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        let site = on_failure("Deny");
        let gateway = replica(site.path(), &url, &["--redis-timeout", "100ms"]).await;
        let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
        assert_eq!(ask(&mut client, "a").await.status, 503, "{answer:?}");
        fake.abort();
    }
}

#[tokio::test]
async fn a_store_beyond_a_cut_way_keeps_nobody_waiting_and_counts_again_afterwards() {
    let store = Store::start(&[]).await;
    let way = Proxy::to(store.port).await;
    let site = on_failure("Deny");
    let gateway = replica(site.path(), &format!("redis://127.0.0.1:{}", way.port), &["--redis-timeout", "1s"]).await;
    assert_eq!(passing(&gateway, "a", 3).await, 3);
    way.cut(true);
    let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
    assert_eq!(ask(&mut client, "a").await.status, 503, "it is answered");
    connected(&gateway, false).await;
    for _ in 0..100 {
        assert_eq!(ask(&mut client, "a").await.status, 503);
    }
    way.cut(false);
    connected(&gateway, true).await;
    assert_eq!(passing(&gateway, "a", 100).await, 7, "what was asked while it was cut has not come");
}

/// A node that has all slots by what it says, and for each limit names itself as the one that has it.
async fn storm(listener: tokio::net::TcpListener) {
    let port = listener.local_addr().unwrap().port();
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(async move {
            use tokio::io::{AsyncBufReadExt, AsyncWriteExt};
            let mut lines = tokio::io::BufReader::new(stream);
            let mut line = String::new();
            let mut next = async |lines: &mut tokio::io::BufReader<_>| {
                line.clear();
                lines.read_line(&mut line).await.is_ok_and(|count| count > 0).then(|| line.trim_end().to_owned())
            };
            while let Some(count) = next(&mut lines).await {
                let mut words = Vec::new();
                for _ in 0..count.trim_start_matches('*').parse().unwrap_or(0) {
                    next(&mut lines).await;
                    words.extend(next(&mut lines).await);
                }
                let said = words.join(" ");
                let answer = if said.starts_with("CLUSTER") {
                    format!("*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:{port}\r\n")
                } else if said.starts_with("EVALSHA") && said.contains(":replicas") {
                    "*2\r\n:1\r\n:1\r\n".to_owned()
                } else if said.starts_with("EVALSHA") {
                    format!("-MOVED 1 127.0.0.1:{port}\r\n")
                } else if said == "PING" {
                    "+PONG\r\n".to_owned()
                } else {
                    "+OK\r\n".to_owned()
                };
                if lines.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
        });
    }
}

#[tokio::test]
async fn a_cluster_that_sends_everybody_round_in_circles_lets_nobody_in_and_keeps_nobody() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis-cluster://{}", listener.local_addr().unwrap());
    let fake = tokio::spawn(storm(listener));
    let site = on_failure("Deny");
    let gateway = replica(site.path(), &url, &["--redis-timeout", "200ms"]).await;
    gateway.logged("connected to the store").await;
    let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
    for _ in 0..20 {
        assert_eq!(ask(&mut client, "a").await.status, 503);
    }
    fake.abort();
}
