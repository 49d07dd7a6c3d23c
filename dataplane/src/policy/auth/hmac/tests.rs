use http::{HeaderValue, Method};
use ravelin_snapshot::Secret;

use super::*;
use crate::request::Scheme;

/// Of RFC 9421, B.1.5.
const KEY: &str = "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==";
const NOW: u64 = 1_618_884_473;

fn hmac(change: impl FnOnce(&mut HmacMethod)) -> Arc<Hmac> {
    let key = |key_id: &str, expires| HmacKey {
        key_id: key_id.into(),
        key: Secret::new(KEY),
        id: "acme".into(),
        scopes: vec!["read".into()],
        groups: vec![],
        plan: "gold".into(),
        expires,
    };
    let mut said = HmacMethod {
        keys: vec![key("ended", Some(1_618_884_473)), key("test-shared-secret", None)],
        components: vec![],
        require_digest: false,
        require_nonce: false,
        clock_skew_ms: 300_000,
    };
    change(&mut said);
    Hmac::compile(&said, None).unwrap()
}

struct Sent {
    method: Method,
    scheme: Scheme,
    authority: &'static str,
    raw: &'static str,
    headers: Vec<(&'static str, String)>,
}

impl Sent {
    fn get(raw: &'static str) -> Self {
        Self { method: Method::GET, scheme: Scheme::Https, authority: "WWW.example.com:443", raw, headers: vec![] }
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Signs what the test says is the base, but for its last line.
    fn signed(self, lines: &str, parameters: &str) -> Self {
        let base = format!("{lines}\"@signature-params\": {parameters}");
        let key = hmac::Key::new(hmac::HMAC_SHA256, &BASE64_STANDARD.decode(KEY).unwrap());
        let tag = BASE64_STANDARD.encode(hmac::sign(&key, base.as_bytes()));
        self.with("signature-input", format!("sig={parameters}")).with("signature", format!("sig=:{tag}:"))
    }

    fn view<R>(&self, run: impl FnOnce(&RequestView<'_>) -> R) -> R {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        run(&RequestView {
            method: &self.method,
            path: "/in/normal/form",
            raw: self.raw,
            query: "",
            headers: &headers,
            host: "www.example.com",
            authority: self.authority,
            scheme: self.scheme,
            id: "",
            source: "192.0.2.1:1".parse().unwrap(),
            chain: None,
        })
    }

    fn judge(&self, hmac: &Arc<Hmac>, now: u64) -> Result<Arc<Caller>, Refused> {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(now);
        self.view(|view| hmac.judge(view, now, None).expect("it is signed"))
    }

    /// Whose it is, if nothing has to be waited for.
    fn known(&self, hmac: &Arc<Hmac>, now: u64) -> Result<String, Bad> {
        match self.judge(hmac, now) {
            Ok(caller) => Ok(caller.id.clone()),
            Err(Refused::Is(Outcome::Bad(bad))) => Err(bad),
            Err(_) => panic!("it has to be waited for"),
        }
    }

    /// What comes of waiting.
    async fn waited(&self, hmac: &Arc<Hmac>, body: &'static [u8]) -> Outcome {
        match self.judge(hmac, NOW) {
            Err(Refused::Asks(question)) => question.answer(&Upload::from(bytes::Bytes::from_static(body))).await,
            Err(Refused::Is(outcome)) => outcome,
            Ok(_) => panic!("nothing is waited for"),
        }
    }
}

#[test]
fn the_vector_of_rfc_9421_for_hmac_is_good_and_nothing_else_is() {
    let hmac = hmac(|said| said.components = vec![SignatureComponent::Authority]);
    let input = r#"("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret""#;
    let sent = |tag: &str, date: &str| Sent {
        method: Method::POST,
        scheme: Scheme::Http,
        authority: "example.com",
        raw: "/foo?param=Value&Pet=dog",
        headers: vec![
            ("date", date.to_owned()),
            ("content-type", "application/json".to_owned()),
            ("signature-input", format!("sig-b25={input}")),
            ("signature", format!("sig-b25=:{tag}:")),
        ],
    };
    const TAG: &str = "pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=";
    const DATE: &str = "Tue, 20 Apr 2021 02:07:55 GMT";
    let caller = sent(TAG, DATE).judge(&hmac, NOW).unwrap_or_else(|_| panic!("it is good"));
    assert_eq!((caller.id.as_str(), caller.method, caller.plan.as_str()), ("acme", "hmac", "gold"));
    assert_eq!(caller.scopes, ["read"]);
    for tag in ["pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE9=", "pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtA==", ""] {
        assert!(sent(tag, DATE).known(&hmac, NOW).is_err(), "{tag}");
    }
    assert_eq!(sent(TAG, "Tue, 20 Apr 2021 02:07:56 GMT").known(&hmac, NOW), Err(Bad::Wrong));
}

/// By `http-message-signatures` 3.0.0 of PyPI.
#[tokio::test]
async fn what_an_independent_client_has_signed_is_good() {
    let plain = hmac(|said| said.components = vec![SignatureComponent::Method, SignatureComponent::TargetUri]);
    let get = Sent::get("/path?param=value&a=b%20c")
        .with(
            "signature-input",
            r#"pyhms=("@method" "@target-uri");created=1618884473;keyid="test-shared-secret";alg="hmac-sha256";nonce="b3k2pp5k7z-50gnwp.yemd""#,
        )
        .with("signature", "pyhms=:sa1MM1aumsvz/lgaF94re1pUwmzJ6+P1eirnmhfdrY8=:");
    assert_eq!(get.known(&plain, NOW), Ok("acme".to_owned()));
    assert_eq!(Sent { raw: "/path?param=value&a=b c", ..get }.known(&plain, NOW), Err(Bad::Wrong));

    let strict = hmac(|said| {
        said.require_digest = true;
        said.components = vec![SignatureComponent::QueryParam("Pet".into()), SignatureComponent::Scheme];
    });
    let post = Sent {
        method: Method::POST,
        scheme: Scheme::Http,
        authority: "example.com:8080",
        raw: "/foo?q=1&Pet=dog",
        headers: vec![],
    }
    .with("content-type", "application/json")
    .with("content-digest", "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:")
    .with(
        "signature-input",
        r#"pyhms=("@method" "@authority" "@path" "@query" "@scheme" "@request-target" "content-digest" "@query-param";name="Pet" "content-type");created=1618884473;keyid="test-shared-secret";expires=1618884573"#,
    )
    .with("signature", "pyhms=:RbyOzFRPqgmbhMYgsy+FeXDTj26aIj3KzInIs1smQI0=:");
    assert_eq!(post.waited(&strict, br#"{"hello": "world"}"#).await, Outcome::Good);
    assert_eq!(post.waited(&strict, br#"{"hello": "World"}"#).await, Outcome::Bad(Bad::Digest));
    assert_eq!(post.waited(&strict, b"").await, Outcome::Bad(Bad::Digest));
}

#[test]
fn every_component_is_what_the_client_sent() {
    let hmac = hmac(|_| {});
    let head = |component: &str| format!("({component});created={NOW};keyid=\"test-shared-secret\"");
    let sent = || {
        Sent::get("/a%7E//b/?x=1&y=a+b%2f&z").with("x-list", " one ").with("x-list", "two, three").with("x-empty", "")
    };
    for (component, value) in [
        ("\"@method\"", "GET"),
        ("\"@target-uri\"", "https://www.example.com/a%7E//b/?x=1&y=a+b%2f&z"),
        ("\"@authority\"", "www.example.com"),
        ("\"@scheme\"", "https"),
        ("\"@request-target\"", "/a%7E//b/?x=1&y=a+b%2f&z"),
        ("\"@path\"", "/a%7E//b/"),
        ("\"@query\"", "?x=1&y=a+b%2f&z"),
        ("\"@query-param\";name=\"y\"", "a%20b%2F"),
        ("\"@query-param\";name=\"z\"", ""),
        ("\"x-list\"", "one, two, three"),
        ("\"x-empty\"", ""),
    ] {
        let signed = sent().signed(&format!("{component}: {value}\n"), &head(component));
        assert_eq!(signed.known(&hmac, NOW), Ok("acme".to_owned()), "{component}");
        let signed = sent().signed(&format!("{component}: {value}x\n"), &head(component));
        assert_eq!(signed.known(&hmac, NOW), Err(Bad::Wrong), "{component}");
    }
    let nothing = Sent::get("/").signed("\"@query\": ?\n", &head("\"@query\""));
    assert_eq!(nothing.known(&hmac, NOW), Ok("acme".to_owned()));
    let port = Sent { authority: "www.example.com:80", ..Sent::get("/") };
    let port = port.signed("\"@authority\": www.example.com:80\n", &head("\"@authority\""));
    assert_eq!(port.known(&hmac, NOW), Ok("acme".to_owned()), "another scheme's port is no default");
}

#[test]
fn what_is_missing_there_twice_marked_or_confused_is_refused_however_well_it_is_signed() {
    let hmac = hmac(|said| said.components = vec![SignatureComponent::Method]);
    const GOOD: &str = ";created=1618884473;keyid=\"test-shared-secret\"";
    const METHOD: &str = "\"@method\": GET\n";
    let twice = format!("{METHOD}{METHOD}");
    for (lines, parameters, expected) in [
        (METHOD, format!("(\"@method\"){GOOD}"), Ok(())),
        (METHOD, format!("(\"@method\"){GOOD};alg=\"hmac-sha256\""), Ok(())),
        ("", format!("(){GOOD}"), Err(Bad::Uncovered)),
        ("\"@path\": /\n", format!("(\"@path\"){GOOD}"), Err(Bad::Uncovered)),
        (twice.as_str(), format!("(\"@method\" \"@method\"){GOOD}"), Err(Bad::Component)),
        (METHOD, format!("(\"@method\";req){GOOD}"), Err(Bad::Component)),
        (METHOD, format!("(\"@method\" \"date\";sf){GOOD}"), Err(Bad::Component)),
        (METHOD, format!("(\"@method\" \"@status\"){GOOD}"), Err(Bad::Component)),
        (METHOD, format!("(\"@method\" \"@query-param\"){GOOD}"), Err(Bad::Component)),
        (METHOD, format!("(\"@method\" \"Date\"){GOOD}"), Err(Bad::Component)),
        (METHOD, format!("(\"@method\" date){GOOD}"), Err(Bad::Component)),
        ("\"@method\": GET\n\"date\": \n", format!("(\"@method\" \"date\"){GOOD}"), Err(Bad::Wrong)),
        (METHOD, format!("(\"@method\"){GOOD};created=1618884473"), Err(Bad::Malformed)),
        (METHOD, format!("(\"@method\"){GOOD};tag=\"app\""), Err(Bad::Tag)),
        (METHOD, format!("(\"@method\"){GOOD};alg=\"ed25519\""), Err(Bad::Algorithm)),
        (METHOD, format!("(\"@method\"){GOOD};alg=hmac-sha256"), Err(Bad::Algorithm)),
        (METHOD, format!("(\"@method\"){GOOD};x"), Err(Bad::Parameters)),
        (METHOD, format!("(\"@method\"){GOOD};nonce=\"\""), Err(Bad::Parameters)),
        (METHOD, "(\"@method\");keyid=\"test-shared-secret\"".to_owned(), Err(Bad::Parameters)),
        (METHOD, "(\"@method\");created=1618884473".to_owned(), Err(Bad::Parameters)),
        (METHOD, "(\"@method\");created=\"1618884473\";keyid=\"test-shared-secret\"".to_owned(), Err(Bad::Parameters)),
        (METHOD, "(\"@method\");created=-1;keyid=\"test-shared-secret\"".to_owned(), Err(Bad::Parameters)),
        (METHOD, "(\"@method\");created=1618884473;keyid=\"nobody\"".to_owned(), Err(Bad::Wrong)),
        (METHOD, "(\"@method\");created=1618884473;keyid=\"ended\"".to_owned(), Err(Bad::Wrong)),
    ] {
        let known = Sent::get("/").signed(lines, &parameters).known(&hmac, NOW);
        assert_eq!(known.map(drop), expected, "{parameters}");
    }
    let of_two = Sent::get("/?a=1&a=2").signed(
        "\"@method\": GET\n\"@query-param\";name=\"a\": 1\n",
        &format!("(\"@method\" \"@query-param\";name=\"a\"){GOOD}"),
    );
    assert_eq!(of_two.known(&hmac, NOW), Err(Bad::Wrong));
}

#[test]
fn two_signatures_half_a_signature_and_what_does_not_fit_together_are_refused() {
    let hmac = hmac(|_| {});
    let input = "(\"@method\");created=1618884473;keyid=\"test-shared-secret\"";
    let good = || Sent::get("/").signed("\"@method\": GET\n", input);
    assert_eq!(good().known(&hmac, NOW), Ok("acme".to_owned()));
    assert_eq!(good().with("signature", "other=:aGk=:").known(&hmac, NOW), Err(Bad::Several));
    assert_eq!(good().with("signature-input", format!("other={input}")).known(&hmac, NOW), Err(Bad::Several));
    assert_eq!(good().with("signature-input", format!("sig={input}")).known(&hmac, NOW), Err(Bad::Malformed));
    let mut half = good();
    half.headers.pop();
    assert_eq!(half.known(&hmac, NOW), Err(Bad::Malformed));
    assert_eq!(half.with("signature", "other=:aGk=:").known(&hmac, NOW), Err(Bad::Malformed));
    for signature in ["sig=aGk", "sig=(:aGk=:)", "sig=:aGk=:;x", "sig"] {
        let sent = Sent::get("/").with("signature-input", format!("sig={input}")).with("signature", signature);
        assert_eq!(sent.known(&hmac, NOW), Err(Bad::Malformed), "{signature}");
    }
    let long = Sent::get("/").signed("\"@method\": GET\n", &format!("{input};x=\"{}\"", "a".repeat(9000)));
    assert_eq!(long.known(&hmac, NOW), Err(Bad::Malformed));
}

#[test]
fn a_signature_is_good_for_as_long_as_the_clocks_may_differ_and_no_longer_than_it_says() {
    let hmac = hmac(|_| {});
    let sent = |expires: &str| {
        let input = format!("(\"@method\");created={NOW};keyid=\"test-shared-secret\"{expires}");
        Sent::get("/").signed("\"@method\": GET\n", &input)
    };
    for (expires, now, expected) in [
        ("", NOW - 300, Ok(())),
        ("", NOW - 301, Err(Bad::Early)),
        ("", NOW + 300, Ok(())),
        ("", NOW + 301, Err(Bad::Expired)),
        (";expires=1618884483", NOW + 9, Ok(())),
        (";expires=1618884483", NOW + 10, Err(Bad::Expired)),
        (";expires=1618884473", NOW, Err(Bad::Expired)),
        (";expires=999999999999999", NOW + 301, Err(Bad::Expired)),
    ] {
        assert_eq!(sent(expires).known(&hmac, now).map(drop), expected, "{expires} at {now}");
    }
}

#[tokio::test]
async fn a_nonce_passes_once_even_after_the_policy_was_changed_and_a_bad_body_does_not_use_it_up() {
    let method = hmac(|said| (said.require_nonce, said.require_digest) = (true, true));
    let sent = |nonce: &str| {
        let input = format!("(\"@method\");created={NOW};keyid=\"test-shared-secret\"{nonce}");
        Sent::get("/").signed("\"@method\": GET\n", &input)
    };
    assert_eq!(sent("").waited(&method, b"").await, Outcome::Bad(Bad::NoNonce));
    let once = sent(";nonce=\"a\"");
    assert_eq!(once.waited(&method, b"a body without a digest").await, Outcome::Bad(Bad::Uncovered));
    assert_eq!(once.waited(&method, b"").await, Outcome::Good);
    assert_eq!(once.waited(&method, b"").await, Outcome::Bad(Bad::Used));
    assert_eq!(sent(";nonce=\"b\"").waited(&method, b"").await, Outcome::Good);
    let mut said = method.said.clone();
    said.clock_skew_ms = 60_000;
    let changed = Hmac::compile(&said, Some(&method)).unwrap();
    assert_eq!(once.waited(&changed, b"").await, Outcome::Bad(Bad::Used));
}

#[tokio::test]
async fn a_digest_is_of_the_whole_body_by_all_that_counts_and_a_body_beyond_what_is_kept_is_too_long() {
    let method = hmac(|said| said.require_digest = true);
    let sha = |algorithm, body: &[u8]| BASE64_STANDARD.encode(aws_lc_rs::digest::digest(algorithm, body));
    let short = sha(&aws_lc_rs::digest::SHA256, b"body");
    let long = sha(&aws_lc_rs::digest::SHA512, b"body");
    let sent = |digest: &str| {
        let input = format!("(\"content-digest\");created={NOW};keyid=\"test-shared-secret\"");
        Sent::get("/").with("content-digest", digest).signed(&format!("\"content-digest\": {digest}\n"), &input)
    };
    for (digest, expected) in [
        (format!("sha-256=:{short}:"), Outcome::Good),
        (format!("sha-512=:{long}:"), Outcome::Good),
        (format!("md5=:aGk=:, sha-256=:{short}:, sha-512=:{long}:"), Outcome::Good),
        (format!("sha-256=:{short}:, sha-512=:{short}:"), Outcome::Bad(Bad::Digest)),
        ("md5=:hBotaJrYa9FhFEdFPCLG/A==:".to_owned(), Outcome::Bad(Bad::Digest)),
        (format!("sha-256={short}"), Outcome::Bad(Bad::Digest)),
        (format!("sha-256=:{short}:, sha-256=:{short}:"), Outcome::Bad(Bad::Digest)),
        (String::new(), Outcome::Bad(Bad::Digest)),
    ] {
        assert_eq!(sent(&digest).waited(&method, b"body").await, expected, "{digest}");
    }
    let large = vec![0; MAX_KEPT + 1].leak();
    let good = format!("sha-256=:{}:", sha(&aws_lc_rs::digest::SHA256, large));
    assert_eq!(sent(&good).waited(&method, large).await, Outcome::Unread(Unread::TooLong));
}

#[test]
fn a_challenge_says_what_has_to_be_signed() {
    let hmac = hmac(|said| {
        said.components = vec![SignatureComponent::Method, SignatureComponent::QueryParam("a".into())];
        (said.require_digest, said.require_nonce) = (true, true);
    });
    let wanted = r#"sig=("@method" "@query-param";name="a" "content-digest");created;keyid;nonce;alg="hmac-sha256""#;
    assert_eq!(hmac.wanted(), wanted);
}
