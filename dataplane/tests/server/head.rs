//! Heads that nobody should send.

use ravelin_echo::client::{Client, Protocol, exchange};

use crate::gateway::{Gateway, all_to, echo};

async fn statuses(gateway: &Gateway, bytes: &str) -> Vec<u16> {
    exchange(gateway.http(), bytes).await.unwrap().statuses()
}

#[tokio::test]
async fn a_head_that_says_two_things_is_refused() {
    let echo = echo();
    let gateway = Gateway::start(all_to(&echo)).await;
    for bytes in [
        "GET / HTTP/1.1\r\nconnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\nconnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\nconnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a/b\r\nconnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: user@a\r\nconnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nhost:\r\nconnection: close\r\n\r\n",
        "GET ftp://a/ HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        "GET * HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        "CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\nconnection: close\r\n\r\n",
        "GET /../etc/passwd HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        "GET /a/..%2f..%2fb HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        "GET /a/..;/b HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        "GET /a%00 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nx y: 1\r\n\r\n",
        "GET / HTTP/1.1\r\nhost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nx: a\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nx: a\rb\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nx: a\0b\r\n\r\n",
        "GET /\rx HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET / HTTP/1.1 \r\nhost: a\r\n\r\n",
        "GET / HTTP/3.0\r\nhost: a\r\n\r\n",
        "GET /\r\nhost: a\r\n\r\n",
        "garbage\r\n\r\n",
        "GET /a#b HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET /a?b#c/../d HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET http://A#b HTTP/1.1\r\nhost: a\r\n\r\n",
        "OPTIONS *#b HTTP/1.1\r\nhost: a\r\n\r\n",
    ] {
        let refused = exchange(gateway.http(), bytes).await.unwrap();
        assert_eq!(refused.statuses(), [400], "{bytes:?}");
        let text = refused.text();
        assert!(text.contains("\r\nx-request-id: ") && text.contains("\"reason\":\"bad_request\""), "{text}");
    }
    assert_eq!(echo.requests(), 0, "nothing of it reached the backend");
}

#[tokio::test]
async fn a_fragment_is_seen_behind_a_body_and_in_a_request_that_came_too_early() {
    let echo = echo();
    let gateway = Gateway::start(all_to(&echo)).await;
    let post = "POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 14\r\n\r\n{\"#\": \n\"/#\"}\n\n";
    let bytes =
        format!("{post}{post}GET /c HTTP/1.1\r\nhost: a\r\nx: /#\r\n\r\nGET /b#c HTTP/1.1\r\nhost: a\r\n\r\n{post}");
    assert_eq!(statuses(&gateway, &bytes).await, [200, 200, 200, 400], "and nothing behind it");
    assert_eq!(echo.requests(), 3);
}

#[tokio::test]
async fn a_bare_line_feed_ends_a_line_and_goes_no_further() {
    // A recipient may take it for an end of line (RFC 9112, 2.2); what we send on is our own writing.
    let echo = echo();
    let gateway = Gateway::start(all_to(&echo)).await;
    let answers = statuses(&gateway, "GET /lf HTTP/1.1\nhost: a\nx-mine: 1\nconnection: close\n\n").await;
    assert_eq!(answers, [200]);
    let seen = echo.seen().pop().unwrap();
    assert_eq!((seen.path.as_str(), seen.headers["x-mine"].to_str().unwrap()), ("/lf", "1"));
}

#[tokio::test]
async fn the_server_itself_answers_for_itself() {
    let echo = echo();
    let gateway = Gateway::start(all_to(&echo)).await;
    assert_eq!(statuses(&gateway, "OPTIONS * HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await, [204]);
    assert_eq!(statuses(&gateway, "OPTIONS / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await, [200]);
    assert_eq!(echo.requests(), 1);
}

#[tokio::test]
async fn in_absolute_form_the_target_names_the_host() {
    let echo = echo();
    let gateway = Gateway::start(all_to(&echo)).await;
    let bytes = "GET http://b.example/x?y HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n";
    assert_eq!(statuses(&gateway, bytes).await, [200]);
    let seen = echo.seen().pop().unwrap();
    assert_eq!((seen.host.as_str(), seen.path.as_str(), seen.query.as_deref()), ("b.example", "/x", Some("y")));
}

#[tokio::test]
async fn over_http2_a_host_beside_the_authority_must_be_the_same() {
    let echo = echo();
    let gateway = Gateway::start(all_to(&echo)).await;
    let mut client = Client::connect(gateway.http(), Protocol::Http2).await.unwrap().with_host("a.example");
    assert_eq!(client.get_with("/", &[("host", "b.example")]).await.unwrap().status, 400);
    assert_eq!(client.get_with("/", &[("host", "A.example")]).await.unwrap().status, 200);
}

#[tokio::test]
async fn over_http2_white_space_around_a_value_is_refused_for_backends_would_not_see_it() {
    let echo = echo();
    let gateway = Gateway::start(all_to(&echo)).await;
    let mut client = Client::connect(gateway.http(), Protocol::Http2).await.unwrap().with_host("a.example");
    for (value, status) in [(" admin", 400), ("admin ", 400), ("\tadmin", 400), (" ", 400), ("ad min", 200), ("", 200)]
    {
        assert_eq!(client.get_with("/", &[("x-role", value)]).await.unwrap().status, status, "{value:?}");
    }
}
