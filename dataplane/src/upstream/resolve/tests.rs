use std::net::{IpAddr, Ipv4Addr};

use hickory_resolver::{
    ResolverBuilder,
    config::{ConnectionConfig, NameServerConfig, ResolverConfig},
    net::runtime::TokioRuntimeProvider,
};
use ravelin_echo::Echo;
use ravelin_snapshot::backend::{Address, Endpoint};
use tokio::net::UdpSocket;

use super::*;
use crate::upstream::members::{Membership, Wish};

pub(super) fn builder(address: SocketAddr) -> ResolverBuilder<TokioRuntimeProvider> {
    let mut connection = ConnectionConfig::udp();
    connection.port = address.port();
    let server = NameServerConfig::new(address.ip(), true, vec![connection]);
    let mut builder = Resolver::builder_with_config(
        ResolverConfig::from_parts(None, Vec::new(), vec![server]),
        TokioRuntimeProvider::default(),
    );
    builder.options_mut().timeout = Duration::from_millis(500);
    builder
}

/// Answers every question for A records with what it is told last, which holds for a second; `None` is a failure. Questions
/// for others have no answer.
async fn server() -> (SocketAddr, watch::Sender<Option<Vec<Ipv4Addr>>>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let (tell, told) = watch::channel(None);
    tokio::spawn(async move {
        let mut packet = [0; 512];
        while let Ok((length, peer)) = socket.recv_from(&mut packet).await {
            let question_end = 12 + packet[12..length].iter().position(|byte| *byte == 0).unwrap() + 5;
            let records: Option<Vec<Ipv4Addr>> = told.borrow().clone();
            let is_a = packet[question_end - 4..question_end - 2] == [0, 1];
            let mut answer = packet[..question_end].to_vec();
            let count = if is_a { records.as_ref().map_or(0, Vec::len) as u8 } else { 0 };
            answer[2..12].copy_from_slice(&[
                0x81,
                if records.is_some() { 0x80 } else { 0x82 },
                0,
                1,
                0,
                count,
                0,
                0,
                0,
                0,
            ]);
            for record in records.iter().flatten().take(count.into()) {
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]);
                answer.extend(record.octets());
            }
            socket.send_to(&answer, peer).await.unwrap();
        }
    });
    (address, tell)
}

async fn until(reached: impl Fn() -> bool) {
    let waiting = async {
        while !reached() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap();
}

fn said(name: &str, port: u16) -> Vec<Endpoint> {
    vec![Endpoint { address: Address::Dns { name: name.to_owned(), port }, weight: 1 }]
}

/// Resolved in the test's own runtime, looked after by nobody.
fn watched(said: &[Endpoint], before: Option<&Membership>, source: Source) -> Membership {
    Membership::new(said, &Arc::default(), None, before, source, Some(&Handle::current()))
}

fn addresses(membership: &Membership) -> Vec<IpAddr> {
    membership.present().iter().map(|endpoint| endpoint.address.ip()).collect()
}

#[tokio::test]
async fn all_addresses_are_endpoints_and_follow_the_answers_but_not_into_failure() {
    let (server, tell) = server().await;
    let ip = |last| Ipv4Addr::new(127, 0, 0, last);
    tell.send_replace(Some(vec![ip(1), ip(2)]));
    let membership = watched(&said("api.example.", 80), None, Source::Server(server));
    assert!(membership.resolved(Duration::from_secs(20)).await);
    assert_eq!(addresses(&membership), [ip(1), ip(2)]);
    let first = Arc::clone(membership.present().iter().next().unwrap());

    tell.send_replace(Some(vec![ip(3), ip(1)]));
    until(|| addresses(&membership) == [ip(1), ip(3)]).await;
    assert!(Arc::ptr_eq(&first, membership.present().iter().next().unwrap()));

    tell.send_replace(None);
    let next = watched(&said("api.example.", 80), Some(&membership), Source::Server(server));
    drop(membership);
    tokio::time::sleep(Duration::from_millis(1_500)).await; // beyond what the answer held for
    assert_eq!(addresses(&next), [ip(1), ip(3)]);
    tell.send_replace(Some(vec![ip(4)]));
    until(|| addresses(&next) == [ip(4)]).await;
}

#[tokio::test]
async fn a_name_without_an_answer_is_no_endpoint_and_is_waited_for_no_longer_than_allowed() {
    let (server, _tell) = server().await;
    let failing = watched(&said("api.example.", 80), None, Source::Server(server));
    assert!(failing.resolved(Duration::from_secs(20)).await);
    assert!(addresses(&failing).is_empty());
    let deaf = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let silent = watched(&said("api.example.", 80), None, Source::Server(deaf.local_addr().unwrap()));
    assert!(!silent.resolved(Duration::from_millis(50)).await);
    let (balancing, pools) = Default::default();
    let wish = Wish { balancing: &balancing, pools: &pools, hash: None, wanted: None, tried: &[] };
    assert!(silent.present().choose(&wish).is_none());
}

#[tokio::test]
async fn a_name_of_this_machine_is_known_without_a_server() {
    let echo = Echo::start("a").unwrap();
    let membership = watched(&said("localhost", echo.address().port()), None, Source::System);
    assert!(membership.resolved(Duration::from_secs(20)).await);
    assert!(addresses(&membership).contains(&IpAddr::from(Ipv4Addr::LOCALHOST)));
}
