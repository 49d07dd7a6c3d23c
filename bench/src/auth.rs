//! What an AuthPolicy's judgement takes, in this process and without sockets: so the figures are of our code alone.

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use anyhow::Context;
use aws_lc_rs::{
    digest::{SHA256, digest},
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{
        self, ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, ParsedPublicKey,
    },
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use ravelin_controller::expression::{self, Type};
use ravelin_dataplane::{
    policy::auth::{AuthPolicy, Outside, Welcome},
    request::{RequestView, RuleName, Scheme},
};
use ravelin_snapshot::{
    ObjectKey, Secret,
    auth::{self, ApiKey, ApiKeyMethod, Authentication, AuthorizationRule, CredentialSource, Effect, Mode, Network},
    jwk::{Jwk, Material},
    jwt::{ClaimNames, JwtAlgorithm, JwtMethod, JwtProvider, KeySource},
};

use crate::{config, process, report::Report};

/// Judgements of one measurement; each is of one request, and of the uncached token of another one each time.
const ROUNDS: usize = 20_000;
const TOKENS: usize = 2_000;

pub(crate) fn measure(report: &mut Report) -> anyhow::Result<()> {
    let open = Judged::new(&policy(None, &[])?, &[])?.median();
    rules(report)?;
    let tokens =
        [rule("readers", Effect::Allow, "'read' in caller.scopes")?, rule("late", Effect::Deny, "source.port == 0")?];
    let issuer = Issuer::new()?;
    let rs256 = authentication(|said| said.jwt = Some(issuer.method(JwtAlgorithm::RS256)));
    let cached = Judged::new(&policy(Some(rs256), &tokens)?, &[issuer.rs256()?])?.median();
    report.add(
        "an RS256 token that is remembered and two rules, more than no policy's",
        micros(cached.saturating_sub(open)),
        String::new(),
        "<= 1.0 us",
    );
    let es256 = authentication(|said| said.jwt = Some(issuer.method(JwtAlgorithm::ES256)));
    let fresh: Vec<_> = (0..TOKENS).map(|n| issuer.es256(n)).collect::<Result<_, _>>()?;
    let ours = Judged::new(&policy(Some(es256), &[])?, &fresh)?.once();
    let bare = issuer.bare(&fresh)?;
    report.add(
        "an ES256 token that is new",
        micros(ours),
        format!("aws-lc-rs {}", micros(bare)),
        &format!("<= {}", micros(bare.mul_f64(1.15))),
    );
    let key = Judged::new(&policy(Some(keys(1)), &[])?, &["key-0".to_owned()])?.median();
    report.add("an API key, more than no policy's", micros(key.saturating_sub(open)), String::new(), "<= 0.5 us");
    memory(report)
}

/// The slowest of a hundred judgements among 1,000 rules, none of which holds.
fn rules(report: &mut Report) -> anyhow::Result<()> {
    let rules: Vec<_> = (0..1000)
        .map(|n| {
            rule(
                &format!("r{n}"),
                Effect::Deny,
                &format!("request.headers['x-tier'] == 'gold{n}' && request.method == 'POST'"),
            )
        })
        .collect::<Result<_, _>>()?;
    let mut took = Judged::new(&policy(None, &rules)?, &[])?.each();
    took.sort();
    let p99 = took[took.len() * 99 / 100];
    report.add("1,000 authorization rules, p99", micros(p99), String::new(), "<= 100 us");
    Ok(())
}

/// Resident memory of the data plane's half: the snapshot's and its own.
fn memory(report: &mut Report) -> anyhow::Result<()> {
    let before = process::own_resident()?;
    let said = Arc::new(policy(Some(keys(100_000)), &[])?);
    let compiled = compile(&said)?;
    let grown = process::own_resident()?.saturating_sub(before);
    black_box((&said, &compiled));
    report.add("memory of 100,000 API keys", format!("{} MiB", grown >> 20), String::new(), "<= 40 MiB");
    Ok(())
}

fn micros(took: Duration) -> String {
    format!("{:.2} us", took.as_secs_f64() * 1e6)
}

/// Requests, and who judges them.
struct Judged {
    policy: AuthPolicy,
    headers: Vec<HeaderMap>,
}

impl Judged {
    /// A credential each; without any, one request without.
    fn new(said: &auth::AuthPolicy, credentials: &[String]) -> anyhow::Result<Self> {
        let request = |credential: Option<&String>| {
            let mut headers = HeaderMap::new();
            headers.insert("x-tier", HeaderValue::from_static("silver"));
            if let Some(credential) = credential {
                let bearer = HeaderValue::try_from(format!("Bearer {credential}"))?;
                headers.insert(HeaderName::from_static("authorization"), bearer);
                headers.insert("x-api-key", HeaderValue::try_from(credential)?);
            }
            Ok::<_, anyhow::Error>(headers)
        };
        let headers = match credentials {
            [] => vec![request(None)?],
            some => some.iter().map(|one| request(Some(one))).collect::<Result<_, _>>()?,
        };
        let judged = Self { policy: compile(&Arc::new(said.clone()))?, headers };
        anyhow::ensure!(judged.judge(0), "the request that is measured is refused");
        Ok(judged)
    }

    fn judge(&self, at: usize) -> bool {
        let view = RequestView {
            method: &Method::GET,
            path: "/",
            raw: "/",
            query: "",
            headers: &self.headers[at],
            host: config::HOST,
            authority: config::HOST,
            scheme: Scheme::Http,
            id: "",
            source: ([127, 0, 0, 1], 1).into(),
            chain: None,
        };
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
        let (welcome, route) = (Welcome::by_no_policy(), RuleName::default());
        matches!(black_box(self.policy.judge_unless_coming(&welcome, black_box(&view), &route, now)), Ok(Ok(_)))
    }

    fn each(&self) -> Vec<Duration> {
        let one = |_| {
            let start = Instant::now();
            self.judge(0);
            start.elapsed()
        };
        (0..ROUNDS).map(one).collect()
    }

    /// Of batches, so that the clock costs nothing.
    fn median(&self) -> Duration {
        let mut batches: Vec<_> = (0..200)
            .map(|_| {
                let start = Instant::now();
                (0..ROUNDS / 200).for_each(|_| assert!(black_box(self.judge(0))));
                start.elapsed() / (ROUNDS as u32 / 200)
            })
            .collect();
        batches.sort();
        batches[batches.len() / 2]
    }

    /// Each request but the first, which was judged before.
    fn once(&self) -> Duration {
        let mut took: Vec<_> = (1..self.headers.len())
            .map(|at| {
                let start = Instant::now();
                self.judge(at);
                start.elapsed()
            })
            .collect();
        took.sort();
        took[took.len() / 2]
    }
}

const NOW: u64 = 1_800_000_000;

fn compile(said: &Arc<auth::AuthPolicy>) -> anyhow::Result<AuthPolicy> {
    let key = ObjectKey::new("bench", "policy");
    AuthPolicy::compile(&key, said, None, &Outside::default()).map_err(|error| anyhow::anyhow!(error))
}

fn policy(authentication: Option<Authentication>, rules: &[AuthorizationRule]) -> anyhow::Result<auth::AuthPolicy> {
    Ok(auth::AuthPolicy {
        mode: Mode::Enforce,
        exclude: vec![],
        network: Network::default(),
        authentication,
        rules: rules.to_vec(),
        external: None,
        forward: vec![],
    })
}

fn authentication(change: impl FnOnce(&mut Authentication)) -> Authentication {
    let mut said = Authentication::default();
    change(&mut said);
    said
}

fn rule(name: &str, effect: Effect, source: &str) -> anyhow::Result<AuthorizationRule> {
    let when = expression::compile(source, Type::Bool).map_err(|error| anyhow::anyhow!("{source}: {error}"))?;
    Ok(AuthorizationRule { name: name.to_owned(), effect, when })
}

fn keys(count: usize) -> Authentication {
    let key = |n| ApiKey {
        name: format!("key-of-customer-{n}"),
        sha256: Secret::new(hex(digest(&SHA256, format!("key-{n}").as_bytes()).as_ref())),
        id: format!("customer-{n}"),
        scopes: vec!["orders:read".to_owned()],
        groups: vec![],
        plan: "gold".to_owned(),
        expires: None,
    };
    let from = vec![CredentialSource::Header { name: "x-api-key".to_owned(), prefix: String::new() }];
    authentication(|said| said.api_key = Some(ApiKeyMethod { from, keys: (0..count).map(key).collect() }))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Signs tokens.
struct Issuer {
    rsa: RsaKeyPair,
    ecdsa: EcdsaKeyPair,
    random: SystemRandom,
}

impl Issuer {
    fn new() -> anyhow::Result<Self> {
        let rsa = RsaKeyPair::generate(KeySize::Rsa2048).context("an RSA key")?;
        let ecdsa = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).context("an ECDSA key")?;
        Ok(Self { rsa, ecdsa, random: SystemRandom::new() })
    }

    fn method(&self, algorithm: JwtAlgorithm) -> JwtMethod {
        let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let material = match algorithm {
            JwtAlgorithm::ES256 => {
                let point = self.ecdsa.public_key().as_ref();
                Material::P256 { x: encode(&point[1..33]), y: encode(&point[33..]) }
            }
            _ => {
                let public = self.rsa.public_key();
                let exponent = public.exponent().big_endian_without_leading_zero().to_vec();
                Material::Rsa { n: encode(public.modulus().big_endian_without_leading_zero()), e: encode(&exponent) }
            }
        };
        let provider = JwtProvider {
            name: "idp".to_owned(),
            issuer: "https://id.example".to_owned(),
            audiences: vec![],
            algorithms: vec![algorithm],
            keys: KeySource::Fixed { secret: None, keys: vec![Jwk { kid: None, algorithm: None, material }] },
            from: vec![CredentialSource::Header { name: "authorization".to_owned(), prefix: "Bearer ".to_owned() }],
            clock_skew_ms: 0,
            claims: ClaimNames { id: "sub".to_owned(), scopes: "scope".to_owned(), groups: "groups".to_owned() },
        };
        JwtMethod { providers: vec![provider] }
    }

    fn signed(alg: &str, n: usize, sign: impl FnOnce(&[u8]) -> anyhow::Result<Vec<u8>>) -> anyhow::Result<String> {
        let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let head = serde_json::json!({"alg": alg, "typ": "JWT"}).to_string();
        let claims = serde_json::json!({"iss": "https://id.example", "sub": format!("caller-{n}"), "scope": "read write",
            "exp": NOW + 3600, "iat": NOW, "name": "Ada Lovelace", "groups": ["staff"]});
        let text = format!("{}.{}", encode(head.as_bytes()), encode(claims.to_string().as_bytes()));
        let signature = sign(text.as_bytes())?;
        Ok(format!("{text}.{}", encode(&signature)))
    }

    fn rs256(&self) -> anyhow::Result<String> {
        Self::signed("RS256", 0, |text| {
            let mut signature = vec![0; self.rsa.public_modulus_len()];
            let padding = &signature::RSA_PKCS1_SHA256;
            self.rsa.sign(padding, &self.random, text, &mut signature).context("RS256")?;
            Ok(signature)
        })
    }

    fn es256(&self, n: usize) -> anyhow::Result<String> {
        let sign = |text: &[u8]| Ok(self.ecdsa.sign(&self.random, text).context("ES256")?.as_ref().to_vec());
        Self::signed("ES256", n, sign)
    }

    /// The same signatures, verified by the library alone.
    fn bare(&self, tokens: &[String]) -> anyhow::Result<Duration> {
        let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.ecdsa.public_key()).context("a key of ours")?;
        let mut took = Vec::new();
        for token in tokens {
            let (text, signature) = token.rsplit_once('.').context("a token has three parts")?;
            let signature = BASE64_URL_SAFE_NO_PAD.decode(signature)?;
            let start = Instant::now();
            black_box(key.verify_sig(text.as_bytes(), &signature)).context("a signature of ours")?;
            took.push(start.elapsed());
        }
        took.sort();
        Ok(took[took.len() / 2])
    }
}
