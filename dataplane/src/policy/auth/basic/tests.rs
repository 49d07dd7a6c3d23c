use std::future::Future;

use ravelin_snapshot::{ObjectKey, Secret};
use tokio::time::timeout;

use super::{verifier::Passwords, *};

// Made by the `crypt` of libxcrypt and by the reference implementation of Argon2.
const ADA: &str = "$2y$04$WvvTPHKwdBJ3uk0Z37EMR.1JAqDrIkTwmEP9eT1zusSukCck2G.9u";
const LONG: &str = "$2b$04$WvvTPHKwdBJ3uk0Z37EMR.XB3e1tQe5y7UE3Xy1tTAkuJoFLQNTjG";
const ID: &str = "$argon2id$v=19$m=64,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$5sHZ8kzpN+Y+tTsbxxBO/khZeYve0V1/mKeqU8ZGB7A";
const I: &str = "$argon2i$v=19$m=64,t=3,p=2$c29tZXNhbHRzb21lc2FsdA$t7ZUqIwCbN/DHzQDyo+RMhECJ7kAsRjnukNtCrJBLuk";
const D: &str = "$argon2d$v=16$m=32,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$sp7fQk6TXSo/zuD/mKdPOCyXuy2negTNvz0WHCLci1k";
const PASSWORD: &str = "pässword";

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

fn said(users: &[(&str, &str)]) -> BasicMethod {
    let user = |(name, hash): &(&str, &str)| BasicUser { name: (*name).into(), hash: Secret::new(*hash) };
    BasicMethod {
        realm: "the \"shop\"".into(),
        secret: ObjectKey::new("shop", "users"),
        users: users.iter().map(user).collect(),
    }
}

fn basic(users: &[(&str, &str)]) -> Arc<Basic> {
    Basic::compile(&said(users), None, None).unwrap()
}

fn credential(user: &str, password: &str) -> Vec<u8> {
    BASE64.encode(format!("{user}:{password}")).into_bytes()
}

/// As one that waits is answered: known, or not; and whether anything was verified.
fn outcome(basic: &Basic, credential: &[u8]) -> (Option<String>, bool) {
    let known = |judged: Result<Arc<Caller>, Refused>| judged.ok().map(|caller| caller.id.clone());
    match basic.judge(credential, CLIENT, None) {
        Err(Refused::Asks(question)) => (known(basic.judge(credential, CLIENT, Some(question.verify()))), true),
        judged => (known(judged), false),
    }
}

fn question(basic: &Basic, user: &str, password: &str) -> Question {
    match basic.judge(&credential(user, password), CLIENT, None) {
        Err(Refused::Asks(question)) => *question,
        _ => panic!("it is known already"),
    }
}

#[test]
fn what_others_hashed_is_verified_and_no_other_password() {
    let basic = basic(&[("ada", ADA), ("i", I), ("id", ID), ("d", D)]);
    for user in ["ada", "i", "id", "d"] {
        for wrong in ["", "p", "password", "pässwor", "pässword ", "Pässword"] {
            assert_eq!(outcome(&basic, &credential(user, wrong)), (None, true), "{user} {wrong}");
        }
        let good = credential(user, PASSWORD);
        assert_eq!(outcome(&basic, &good), (Some(user.to_owned()), true), "{user}");
        assert_eq!(outcome(&basic, &good), (Some(user.to_owned()), false), "{user}: remembered");
        assert_eq!(outcome(&basic, &credential(user, "wrong")), (None, true), "{user}: and nothing else is");
    }
}

#[test]
fn a_password_with_nul_or_longer_than_bcrypt_reads_is_nobodys() {
    let basic = basic(&[("ada", ADA), ("long", LONG)]);
    for password in ["pässword\0", "pässword\0pässword", "\0", "pässword\r\n", "\u{7f}", "\u{85}"] {
        assert_eq!(outcome(&basic, &credential("ada", password)), (None, false), "{password:?}");
    }
    assert_eq!(outcome(&basic, &credential("ada\0", PASSWORD)), (None, false));
    assert_eq!(outcome(&basic, &credential("long", &"x".repeat(72))), (Some("long".to_owned()), true));
    assert_eq!(outcome(&basic, &credential("long", &"x".repeat(73))), (None, true));
    assert_eq!(outcome(&basic, &credential("long", &"x".repeat(71))), (None, true));
}

#[test]
fn what_is_no_user_and_password_is_refused_unverified() {
    let basic = basic(&[("ada", ADA)]);
    let long = credential("ada", &"x".repeat(MAX_CREDENTIAL));
    let not_text = BASE64.encode(b"ada:\xff").into_bytes();
    let cases: [&[u8]; 9] =
        [b"", b"ada", b"ada:b", b"YWRh", b"Og==", b"OmE=", b"YWRhOmE= ", b"YWRhOmE=, Basic YWRhOmE=", b"YWRhOm*="];
    for bad in cases.into_iter().chain([&*long, &*not_text]) {
        assert_eq!(outcome(&basic, bad), (None, false), "{:?}", String::from_utf8_lossy(bad));
    }
    assert_eq!(outcome(&basic, b"YWRhOmE="), (None, true));
    assert_eq!(outcome(&basic, b"YWRhOmE"), (None, true), "padding or none");
}

#[test]
fn an_unknown_user_costs_what_a_known_one_costs_and_never_gets_in() {
    let known = basic(&[("ada", ADA)]);
    let nobody = question(&known, "nobody", PASSWORD);
    assert_eq!(nobody.hash, question(&known, "ada", "x").hash, "the same work");
    assert_eq!(nobody.verify(), Verdict::Bad, "with a user's own password too");
    let mixed = basic(&[("ada", ADA), ("id", ID), ("i", I), ("d", D)]);
    let of = |name: &str| question(&mixed, name, "x").hash;
    assert!(
        (0..50).all(|turn| {
            let name = format!("u{turn}");
            of(&name) == of(&name)
        }),
        "it stays what it is"
    );
    assert!((0..50).any(|turn| of(&format!("u{turn}")) != of("u0")), "and is as mixed as the users are");
}

#[test]
fn what_is_remembered_is_lost_with_a_change_of_the_users_and_kept_without() {
    let users = said(&[("ada", ADA)]);
    let first = Basic::compile(&users, None, None).unwrap();
    let good = credential("ada", PASSWORD);
    assert_eq!(outcome(&first, &good), (Some("ada".to_owned()), true));
    let same = Basic::compile(&users, Some(&first), None).unwrap();
    assert_eq!(outcome(&same, &good), (Some("ada".to_owned()), false));
    let other = Basic::compile(&said(&[("ada", ADA), ("bob", ADA)]), Some(&same), None).unwrap();
    assert_eq!(outcome(&other, &good), (Some("ada".to_owned()), true), "verified again");
    let gone = Basic::compile(&said(&[("bob", ADA)]), Some(&other), None).unwrap();
    assert_eq!(outcome(&gone, &good), (None, true));
    assert_eq!(outcome(&basic(&[]), &good), (None, false), "without a user nothing is verified");
}

#[test]
fn a_challenge_quotes_its_realm() {
    assert_eq!(basic(&[]).challenge(), r#"Basic realm="the \"shop\"", charset="UTF-8""#);
}

/// A place that verifies nothing until it is given a thread.
fn stopped(bounds: (usize, usize)) -> Arc<Passwords> {
    Arc::new(Passwords::bounded(Handle::current(), 0, bounds, Duration::from_secs(60)))
}

use std::time::Duration;
use tokio::runtime::Handle;

fn asked(passwords: &Arc<Passwords>, number: usize, from: &str) -> impl Future<Output = Verdict> + use<> {
    let question = Question {
        passwords: Some(Arc::clone(passwords)),
        key: Scratch::default().hash(0, &number.to_ne_bytes()),
        hash: Arc::new(PasswordHash::parse(ADA).unwrap()),
        password: PASSWORD.into(),
        nobody: false,
        from: from.parse().unwrap(),
    };
    question.answer()
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(30), future).await.unwrap()
}

#[tokio::test]
async fn so_many_passwords_wait_of_one_client_fewer_and_the_rest_is_told_to_come_again() {
    let passwords = stopped((4, 2));
    let mut waiting = Vec::new();
    for (number, from) in [(0, "192.0.2.1"), (1, "192.0.2.1"), (2, "2001:db8::1"), (3, "2001:db8::ffff:1")] {
        let mut one = Box::pin(asked(&passwords, number, from));
        assert!(futures_util::poll!(&mut one).is_pending());
        waiting.push(one);
        if number == 1 {
            assert_eq!(in_time(asked(&passwords, 9, "192.0.2.1")).await, Verdict::Busy, "it has its part");
        }
    }
    assert_eq!(in_time(asked(&passwords, 9, "198.51.100.1")).await, Verdict::Busy, "all places are taken");
    let mut twin = Box::pin(asked(&passwords, 0, "198.51.100.1"));
    assert!(futures_util::poll!(&mut twin).is_pending(), "who asks the same waits with the other");
    passwords.give_threads(1);
    for one in waiting.into_iter().chain([]) {
        assert_eq!(in_time(one).await, Verdict::Good);
    }
    assert_eq!(in_time(twin).await, Verdict::Good);
    assert_eq!(in_time(asked(&passwords, 9, "192.0.2.1")).await, Verdict::Good, "places are free again");
    in_time(passwords.emptied()).await;
}

#[tokio::test]
async fn for_a_client_that_is_gone_nothing_is_verified() {
    let passwords = stopped((1, 1));
    let mut gone = Box::pin(asked(&passwords, 0, "192.0.2.1"));
    assert!(futures_util::poll!(&mut gone).is_pending());
    drop(gone);
    passwords.give_threads(1);
    in_time(passwords.emptied()).await;
    assert_eq!(passwords.verified(), 0);
    assert_eq!(in_time(asked(&passwords, 1, "192.0.2.1")).await, Verdict::Good);
    assert_eq!(passwords.verified(), 1);
}
