use std::time::Duration;

use bytes::Bytes;
use http::Method;
use tokio::time::timeout;

use super::{Load, Running};
use crate::{
    Echo, Options, Port,
    client::{DEADLINE, Protocol, Report, request},
    raw::{Gate, Raw, Script},
};

const BOTH: [Protocol; 2] = [Protocol::Http1, Protocol::Http2];

async fn more(load: &Running, count: u64) {
    timeout(DEADLINE, load.more(count)).await.expect("the load does not go on");
}

async fn stopped(load: Running) -> Report {
    timeout(DEADLINE, load.stop()).await.expect("the load does not end")
}

#[tokio::test]
async fn every_request_is_sent_once_and_counted() {
    for protocol in BOTH {
        let echo = Echo::start(Options { remember: 10_000, ..Options::from("orders") }).unwrap();
        let load = Load::to(echo.address(), protocol)
            .host("shop.example")
            .rate(2000)
            .connections(3)
            .requests(|number| request(Method::PUT, &format!("/{number}"), &[], Bytes::from(number.to_string())))
            .judging(|number, answer| match answer.json()["path"] == format!("/{number}") {
                true => Ok(()),
                false => Err("somebody else's answer".to_owned()),
            })
            .start();
        more(&load, 100).await;
        let report = stopped(load).await;
        report.assert_no_request_lost();
        report.assert_no_connection_lost();
        assert_eq!(report.statuses, [(200, report.sent)].into());
        assert!(report.opened <= 3 && report.opened == echo.connections_total(), "{report}");
        let mut seen: Vec<u64> = echo.seen().iter().map(|seen| seen.path[1..].parse().unwrap()).collect();
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..report.sent), "{report}");
        assert!(echo.seen().iter().all(|seen| seen.host == "shop.example" && seen.path.as_bytes()[1..] == seen.body));
    }
}

#[tokio::test]
async fn a_wrong_answer_is_counted_and_no_request_of_it_is_called_lost_silently() {
    for protocol in BOTH {
        let echo = Echo::start("orders").unwrap();
        let load = Load::to(echo.address(), protocol)
            .rate(1000)
            .requests(|n| request(Method::GET, if n % 2 == 0 { "/" } else { "/?status=503" }, &[], Bytes::new()))
            .start();
        more(&load, 10).await;
        let report = stopped(load).await;
        assert_eq!(report.statuses[&200] + report.statuses[&503], report.sent);
        assert_eq!(report.wrong, [("status 503".to_owned(), report.statuses[&503])].into());
        assert!(std::panic::catch_unwind(|| report.assert_no_request_lost()).is_err());
    }
}

#[tokio::test]
async fn a_peer_that_is_not_there_is_an_error_a_request() {
    let nobody = Port::reserve().unwrap();
    for protocol in BOTH {
        let load = Load::to(nobody.address(), protocol).rate(1000).start();
        more(&load, 5).await;
        let report = stopped(load).await;
        assert_eq!((report.errors.values().sum::<u64>(), report.answered()), (report.sent, 0));
        assert!(report.errors.keys().all(|error| error.contains("cannot connect")), "{report}");
    }
}

#[tokio::test]
async fn a_peer_that_stops_and_comes_back_loses_connections_and_the_report_says_so() {
    for protocol in BOTH {
        let mut echo = Echo::start("orders").unwrap();
        let load = Load::to(echo.address(), protocol).rate(500).connections(2).start();
        more(&load, 20).await;
        timeout(DEADLINE, echo.stop()).await.unwrap();
        echo.restart().unwrap();
        more(&load, 20).await;
        let report = stopped(load).await;
        assert!(report.ended_by_peer > 0 && report.opened > report.ended_by_peer, "{report}");
        assert!(std::panic::catch_unwind(|| report.assert_no_connection_lost()).is_err());
        assert_eq!(report.answered() + report.errors.values().sum::<u64>(), report.sent, "{report}");
    }
}

#[tokio::test]
async fn a_request_over_a_reused_connection_is_sent_again_only_when_allowed() {
    let scripts = [Script::closes_when_reused(), Script::answers("ok")];
    let one = |load: Load| load.rate(500).connections(1);

    let raw = Raw::start_each(scripts.clone()).unwrap();
    let load = one(Load::to(raw.address(), Protocol::Http1)).start();
    more(&load, 5).await;
    let report = stopped(load).await;
    assert_eq!((report.errors.values().sum::<u64>(), report.resent), (1, 0), "{report}");

    let raw = Raw::start_each(scripts.clone()).unwrap();
    let load = one(Load::to(raw.address(), Protocol::Http1).resending()).start();
    more(&load, 5).await;
    let report = stopped(load).await;
    report.assert_no_request_lost();
    assert_eq!((report.resent, report.ended_by_peer, raw.requests()), (1, 1, report.sent + 1), "{report}");

    let raw = Raw::start_each(scripts).unwrap();
    let load = one(Load::to(raw.address(), Protocol::Http1).resending())
        .requests(|_| request(Method::POST, "/", &[], Bytes::new()))
        .start();
    more(&load, 5).await;
    let report = stopped(load).await;
    assert_eq!((report.errors.values().sum::<u64>(), report.resent), (1, 0), "{report}");
}

#[tokio::test]
async fn a_slow_answer_delays_no_request_that_has_a_connection() {
    let gate = Gate::new();
    let slow = Script::new().read().wait(&gate).send_answer("late").for_ever();
    let raw = Raw::start_each([slow, Script::answers("ok")]).unwrap();
    let load = Load::to(raw.address(), Protocol::Http1).rate(1000).connections(2).start();
    timeout(DEADLINE, raw.wait_until(|counts| counts.requests >= 20)).await.unwrap();
    gate.open();
    let report = stopped(load).await;
    report.assert_no_request_lost();
    assert_eq!(report.opened, 2);
}

#[test]
fn latencies_are_taken_at_the_nearest_rank() {
    let report = Report { latencies: (1..=100).rev().map(Duration::from_millis).collect(), ..Report::default() };
    let millis = |of| report.latency(of).as_millis();
    assert_eq!((millis(0.0), millis(0.5), millis(0.99), millis(1.0)), (1, 50, 99, 100));
    assert_eq!(Report::default().latency(0.5), Duration::ZERO);
}
