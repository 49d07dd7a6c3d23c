//! Keys from a URL, with a server that behaves or does not.

use std::{future::Future, time::Duration};

use ravelin_snapshot::jwt::JwksUri;
use tokio::time::timeout;

use super::{
    server::{Answer, Server},
    *,
};

const DEADLINE: Duration = Duration::from_secs(30);
const SOON: Duration = Duration::from_millis(1);
const LATE: Duration = Duration::from_secs(3600);

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.expect("it does not come")
}

/// Asks again at once, and gives up after a second.
fn eager() -> Issuers {
    Issuers::at_pace(SOON, SOON, Duration::from_secs(1))
}

fn set(keys: Vec<Value>) -> Answer {
    Answer::Body(json!({ "keys": keys }).to_string())
}

fn all() -> Answer {
    set(ISSUER.keys())
}

fn all_but(kid: &str) -> Answer {
    set(ISSUER.keys().into_iter().filter(|key| key["kid"] != kid).collect())
}

fn said(uri: String) -> JwksUri {
    JwksUri { uri, refresh_ms: 3_600_000, keep_for_ms: 3_600_000, authorities: None }
}

fn fetched(said: JwksUri, issuers: &Issuers) -> Arc<Jwt> {
    let providers = vec![JwtProvider { keys: KeySource::Uri(said), ..provider() }];
    Jwt::compile(&JwtMethod { providers }, None, issuers).unwrap()
}

impl Jwt {
    fn remote(&self) -> &Remote {
        match &self.providers[0].keys {
            Source::Remote(remote) => remote,
            Source::Fixed(_) | Source::Unasked => panic!("its keys are not fetched"),
        }
    }

    /// Returns when so many fetches have ended.
    async fn ended(&self, count: u64) {
        within(self.remote().ended.subscribe().wait_for(|ended| *ended >= count)).await.unwrap();
    }

    /// Returns when a fetch has ended that began after this call.
    async fn next(&self) {
        let ended = *self.remote().ended.borrow();
        self.remote().ask();
        // One may be under way already.
        self.ended(ended + 1).await;
        self.remote().ask();
        self.ended(ended + 2).await;
    }
}

#[tokio::test]
async fn a_key_that_is_new_counts_once_a_token_has_asked_for_it_and_one_that_is_gone_no_longer() {
    let server = Server::start(all_but("p256")).await;
    let jwt = fetched(said(server.uri()), &eager());
    let token = token(&claims());
    jwt.ended(1).await;
    server.set(all());
    assert_eq!(judge(&jwt, &token), Err(Refused::Key), "which asks for it");
    jwt.ended(2).await;
    let first = judge(&jwt, &token).unwrap();
    // An answer that says nothing new loses nothing that is remembered.
    jwt.next().await;
    assert!(Arc::ptr_eq(&first, &judge(&jwt, &token).unwrap()));
    server.set(all_but("p256"));
    jwt.next().await;
    assert_eq!(judge(&jwt, &token), Err(Refused::Key), "remembered or not");
}

#[tokio::test]
async fn whoever_needs_a_newer_set_waits_for_the_one_that_is_on_its_way_and_for_no_other() {
    let server = Server::start(Answer::Silence).await;
    let issuers = Issuers::at_pace(Duration::ZERO, SOON, Duration::from_millis(300));
    let jwt = fetched(said(server.uri()), &issuers);
    let token = token(&claims());
    let coming = |jwt: &Jwt| jwt.judge(token.as_bytes(), u16::MAX, at(NOW)).err().and_then(|failed| failed.coming);
    let first = coming(&jwt).expect("the first fetch is under way");
    server.set(all_but("p256"));
    within(first.arrived()).await;
    jwt.next().await;
    server.set(all());
    // The key is new: the token asks for it, and is good as soon as it is there.
    within(coming(&jwt).expect("a fetch is due").arrived()).await;
    within(async {
        while judge(&jwt, &token).is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let patient = fetched(said(server.uri()), &Issuers::at_pace(LATE, LATE, DEADLINE));
    patient.ended(1).await;
    let header = header(JwtAlgorithm::ES256).to_string();
    let forged = issuer::Issuer::new().sign(JwtAlgorithm::ES256, &header, &claims().to_string());
    let failed = patient.judge(forged.as_bytes(), u16::MAX, at(NOW)).err().unwrap();
    assert!(failed.why == Refused::Signature && failed.coming.is_none(), "nothing is on its way");
}

#[tokio::test]
async fn keys_are_refreshed_without_being_asked_for() {
    let server = Server::start(all_but("p256")).await;
    let slow = Issuers::at_pace(LATE, LATE, DEADLINE);
    let jwt = fetched(JwksUri { refresh_ms: 10, ..said(server.uri()) }, &slow);
    jwt.ended(1).await;
    server.set(all());
    let before = *jwt.remote().ended.borrow();
    jwt.ended(before + 2).await;
    assert!(judge(&jwt, &token(&claims())).is_ok());
}

#[tokio::test]
async fn tokens_with_unknown_keys_ask_the_issuer_once_in_a_while() {
    let server = Server::start(all()).await;
    let issuers = Issuers::at_pace(LATE, SOON, DEADLINE);
    let jwt = fetched(said(server.uri()), &issuers);
    jwt.ended(1).await;
    for number in 0..200 {
        let header = with(header(JwtAlgorithm::ES256), "kid", json!(number.to_string()));
        assert_eq!(judge(&jwt, &sign(JwtAlgorithm::ES256, &header, &claims())), Err(Refused::Key));
        tokio::task::yield_now().await;
    }
    assert_eq!((server.asked(), *jwt.remote().ended.borrow()), (1, 1));
    assert!(judge(&jwt, &token(&claims())).is_ok());
}

#[tokio::test]
async fn the_last_good_keys_count_while_the_issuer_answers_badly_or_not_at_all() {
    let server = Server::start(all()).await;
    let issuers = Issuers::at_pace(SOON, SOON, Duration::from_millis(300));
    let jwt = fetched(said(server.uri()), &issuers);
    jwt.ended(1).await;
    let many = vec![json!({"kty": "RSA"}); 10_000];
    let answers = [
        Answer::Status(500),
        Answer::Status(404),
        Answer::Status(204),
        Answer::Status(304),
        Answer::Body(String::new()),
        Answer::Body("<html>".into()),
        Answer::Body("{}".into()),
        Answer::Body(r#"{"keys":[],"keys":[]}"#.into()),
        set(many),
        Answer::Long(10 << 20),
        Answer::Endless,
        Answer::Stall,
        Answer::Silence,
        Answer::Garbage,
        Answer::Short,
        Answer::Redirect("/again".into(), String::new()),
    ];
    for (number, bad) in answers.into_iter().enumerate() {
        server.set(bad);
        jwt.next().await;
        // Not one that is remembered.
        let fresh = token(&with(claims(), "jti", json!(number)));
        assert!(judge(&jwt, &fresh).is_ok(), "answer {number}");
    }
    server.set(all_but("p256"));
    jwt.next().await;
    assert_eq!(judge(&jwt, &token(&claims())), Err(Refused::Key), "it is followed again");
}

#[tokio::test]
async fn keys_that_are_kept_too_long_count_no_more_not_even_for_what_is_remembered() {
    let server = Server::start(all()).await;
    let jwt = fetched(JwksUri { keep_for_ms: 0, ..said(server.uri()) }, &eager());
    jwt.ended(1).await;
    let token = token(&claims());
    assert!(judge(&jwt, &token).is_ok());
    server.set(Answer::Status(503));
    jwt.next().await;
    assert_eq!(judge(&jwt, &token), Err(Refused::NoKeys));
    server.set(all());
    jwt.next().await;
    assert!(judge(&jwt, &token).is_ok());
}

#[tokio::test]
async fn an_issuer_that_was_never_reached_concerns_its_own_tokens_alone() {
    let server = Server::start(Answer::Silence).await;
    let away =
        JwtProvider { issuer: "https://away.example".into(), keys: KeySource::Uri(said(server.uri())), ..provider() };
    let same = JwtProvider { keys: KeySource::Uri(said(server.uri())), ..provider() };
    let providers = vec![away, provider(), same];
    let jwt = Jwt::compile(&JwtMethod { providers }, None, &eager()).unwrap();
    let from_away = with(claims(), "iss", json!("https://away.example"));
    assert_eq!(judge(&jwt, &token(&from_away)), Err(Refused::NoKeys));
    assert!(judge(&jwt, &token(&claims())).is_ok());
    // Of two providers of one issuer, the one that cannot tell might have taken what the other refuses.
    assert_eq!(judge(&jwt, &token(&with(claims(), "aud", json!("bank")))), Err(Refused::NoKeys));
    assert_eq!(judge(&jwt, &token(&with(claims(), "iss", json!("https://evil.example")))), Err(Refused::Issuer));
}

#[tokio::test]
async fn policies_that_name_the_same_keys_share_one_fetch_and_it_ends_with_the_last_of_them() {
    let server = Server::start(all()).await;
    let issuers = eager();
    let first = fetched(said(server.uri()), &issuers);
    first.ended(1).await;
    let second = fetched(said(server.uri()), &issuers);
    assert!(judge(&second, &token(&claims())).is_ok(), "without waiting");
    assert_eq!(server.asked(), 1);
    let other = fetched(JwksUri { refresh_ms: 5_000_000, ..said(server.uri()) }, &issuers);
    other.ended(1).await;
    assert_eq!(server.asked(), 2);
    let remote = match &first.providers[0].keys {
        Source::Remote(remote) => Arc::downgrade(remote),
        Source::Fixed(_) | Source::Unasked => panic!(),
    };
    let ended = first.remote().ended.subscribe();
    drop(first);
    assert!(remote.upgrade().is_some());
    drop(second);
    within(async {
        let mut ended = ended;
        while ended.changed().await.is_ok() {}
    })
    .await;
    assert!(remote.upgrade().is_none());
}

#[tokio::test]
async fn one_fetch_is_under_way_at_a_time() {
    let server = Server::start(Answer::Silence).await;
    let issuers = Issuers::at_pace(SOON, SOON, DEADLINE);
    let jwt = fetched(said(server.uri()), &issuers);
    within(async {
        while server.asked() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    for _ in 0..100 {
        jwt.remote().ask();
        tokio::task::yield_now().await;
    }
    assert_eq!(server.asked(), 1);
}

#[tokio::test]
async fn a_redirect_is_followed_at_its_origin_and_nowhere_else() {
    let good = json!({ "keys": ISSUER.keys() }).to_string();
    let evil = Server::start(all()).await;
    let here = Server::start(Answer::Redirect("/keys".into(), good)).await;
    let moved = |server: &Server| said(server.uri().replace("/keys", "/moved"));
    let jwt = fetched(moved(&here), &eager());
    jwt.ended(1).await;
    assert!(judge(&jwt, &token(&claims())).is_ok());
    let there = Server::start(Answer::Redirect(evil.uri(), String::new())).await;
    let jwt = fetched(moved(&there), &eager());
    jwt.ended(2).await;
    assert_eq!(judge(&jwt, &token(&claims())), Err(Refused::NoKeys));
    assert_eq!(evil.asked(), 0);
}

#[tokio::test]
async fn over_tls_only_the_authorities_that_are_named_are_believed() {
    let (server, pem) = Server::secure(all()).await;
    let uri = server.uri().replace("http://", "https://");
    let jwt = fetched(JwksUri { authorities: Some(pem), ..said(uri.clone()) }, &eager());
    jwt.ended(1).await;
    assert!(judge(&jwt, &token(&claims())).is_ok());
    assert_eq!(server.asked(), 1);
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert.pem();
    for authorities in [None, Some(other)] {
        let jwt = fetched(JwksUri { authorities, ..said(uri.clone()) }, &eager());
        jwt.ended(1).await;
        assert_eq!(judge(&jwt, &token(&claims())), Err(Refused::NoKeys));
    }
    assert_eq!(server.asked(), 1, "nobody else was even asked");
}

#[tokio::test]
async fn what_an_issuer_shows_to_the_world_is_no_shared_secret() {
    let shared = json!({"kty": "oct", "kid": "rsa", "k": encode(ISSUER.shared)});
    let server = Server::start(set([ISSUER.keys(), vec![shared]].concat())).await;
    let providers = vec![JwtProvider {
        keys: KeySource::Uri(said(server.uri())),
        algorithms: JwtAlgorithm::ALL.to_vec(),
        ..provider()
    }];
    let jwt = Jwt::compile(&JwtMethod { providers }, None, &eager()).unwrap();
    jwt.ended(1).await;
    let by_secret = sign(JwtAlgorithm::HS256, &header(JwtAlgorithm::HS256), &claims());
    assert_eq!(judge(&jwt, &by_secret), Err(Refused::Key));
    assert!(judge(&jwt, &token(&claims())).is_ok());
}
