//! SIGTERM.

use bytes::Bytes;
use http::Method;
use ravelin_echo::{
    Echo,
    client::{Client, Protocol, body, request},
};
use tokio::net::TcpStream;

use crate::{Gateway, folder, site};

/// Opens a request that the backend does not answer before it is told to.
async fn slow(gateway: &Gateway, protocol: Protocol, echo: &Echo, delay: &str) -> tokio::task::JoinHandle<Outcome> {
    let already = echo.requests();
    let mut client = Client::connect(gateway.http(), protocol).await.unwrap().with_host("any.example");
    let path = format!("/?delay={delay}");
    let open = tokio::spawn(async move { client.send(request(Method::GET, &path, &[], body(Bytes::new()))).await });
    echo.wait_until(|counts| counts.requests > already).await;
    open
}

type Outcome = Result<ravelin_echo::client::Answer, ravelin_echo::client::ClientError>;

#[tokio::test]
async fn after_sigterm_readiness_falls_open_requests_finish_and_the_exit_is_0() {
    let echo = Echo::on_thread("echo").unwrap();
    let folder = folder(&[("all.yaml", &site(echo.address()))]);
    let gateway = Gateway::standalone(folder.path(), &[]).await;
    let first = slow(&gateway, Protocol::Http1, &echo, "2s").await;
    let second = slow(&gateway, Protocol::Http2, &echo, "2s").await;
    assert_eq!(gateway.page("/readyz").await.status, 200);
    gateway.terminate().await;
    gateway.logged("draining").await;
    let unready = gateway.page_until("/readyz", |answer| answer.status != 200).await;
    assert_eq!((unready.status.as_u16(), unready.text().trim()), (503, "draining"));
    let http = gateway.http();
    let ended = gateway.ended().await;
    for open in [first, second] {
        let answer = open.await.unwrap().expect("an open request is answered");
        assert_eq!((answer.status.as_u16(), &answer.json()["server"]), (200, &"echo".into()));
    }
    assert_eq!(ended.status.code(), Some(0), "{:#?}", ended.log);
    assert!(!ended.log.iter().any(|line| line.contains("--drain is over")), "{:#?}", ended.log);
    assert!(TcpStream::connect(http).await.is_err(), "somebody still listens");
}

#[tokio::test]
async fn a_request_that_takes_longer_than_the_drain_is_cut_and_the_exit_is_in_time() {
    let echo = Echo::on_thread("echo").unwrap();
    let folder = folder(&[("all.yaml", &site(echo.address()))]);
    let gateway = Gateway::standalone(folder.path(), &["--drain", "300ms"]).await;
    let first = slow(&gateway, Protocol::Http1, &echo, "10m").await;
    let second = slow(&gateway, Protocol::Http2, &echo, "10m").await;
    let ended = gateway.stop().await;
    assert_eq!(ended.status.code(), Some(0), "{:#?}", ended.log);
    assert!(ended.log.iter().any(|line| line.contains("--drain is over")), "{:#?}", ended.log);
    assert!(first.await.unwrap().is_err());
    assert!(second.await.unwrap().is_err());
}

#[tokio::test]
async fn a_second_sigterm_within_the_drain_cuts_no_request_off() {
    let echo = Echo::on_thread("echo").unwrap();
    let folder = folder(&[("all.yaml", &site(echo.address()))]);
    let gateway = Gateway::standalone(folder.path(), &[]).await;
    let open = slow(&gateway, Protocol::Http1, &echo, "2s").await;
    gateway.terminate().await;
    gateway.logged("draining").await;
    gateway.terminate().await;
    gateway.logged("draining already").await;
    let ended = gateway.ended().await;
    assert_eq!(open.await.unwrap().expect("an open request is answered").status.as_u16(), 200);
    assert_eq!(ended.status.code(), Some(0), "{:#?}", ended.log);
}

#[tokio::test]
async fn sigint_within_the_drain_ends_it_says_so_and_the_exit_is_130() {
    let echo = Echo::on_thread("echo").unwrap();
    let folder = folder(&[("all.yaml", &site(echo.address()))]);
    let gateway = Gateway::standalone(folder.path(), &["--drain", "10m"]).await;
    let open = slow(&gateway, Protocol::Http1, &echo, "10m").await;
    gateway.signal("INT").await;
    gateway.logged("draining").await;
    gateway.signal("INT").await;
    let ended = gateway.ended().await;
    assert!(open.await.unwrap().is_err());
    assert_eq!(ended.status.code(), Some(130), "{:#?}", ended.log);
    assert!(ended.log.iter().any(|line| line.contains("cut off")), "{:#?}", ended.log);
}
