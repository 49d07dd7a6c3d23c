//! An issuer, played by a few lines: it does what the specifications say, unless the test wants otherwise.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::{SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::{Ed25519KeyPair, KeyPair},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};

pub(crate) const CLIENT: &str = "web:1";
pub(crate) const SECRET: &str = "hunter 2";
pub(crate) const LOGOUT_EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

type Change = Box<dyn Fn(&mut Value) + Send>;

pub(crate) struct Provider {
    pub(crate) issuer: String,
    script: Arc<Mutex<Script>>,
    task: AbortHandle,
}

pub(crate) struct Script {
    pub(crate) issuer: String,
    pair: Ed25519KeyPair,
    /// Of the discovery document.
    pub(crate) metadata: Value,
    codes: HashMap<String, Asked>,
    /// The last refresh token that it handed out.
    pub(crate) refresh: Option<String>,
    /// Of every token that it signs.
    pub(crate) header: Change,
    pub(crate) claims: Change,
    /// Of the token endpoint's answers.
    pub(crate) tokens: Change,
    /// In place of the token endpoint's answers.
    pub(crate) instead: Option<&'static str>,
    /// What the token endpoint was told, and how.
    pub(crate) heard: Vec<(HashMap<String, String>, String)>,
    /// Questions for the discovery document.
    pub(crate) discovered: usize,
    made: usize,
}

struct Asked {
    nonce: String,
    challenge: String,
    redirect: String,
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Provider {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let script = Script {
            metadata: json!({
                "issuer": issuer,
                "authorization_endpoint": format!("{issuer}/authorize?tenant=1"),
                "token_endpoint": format!("{issuer}/token"),
                "jwks_uri": format!("{issuer}/keys"),
                "end_session_endpoint": format!("{issuer}/end"),
                "code_challenge_methods_supported": ["plain", "S256"],
                "authorization_response_iss_parameter_supported": true,
            }),
            issuer: issuer.clone(),
            pair: Ed25519KeyPair::generate().unwrap(),
            codes: HashMap::new(),
            refresh: None,
            header: Box::new(|_| {}),
            claims: Box::new(|_| {}),
            tokens: Box::new(|_| {}),
            instead: None,
            heard: Vec::new(),
            discovered: 0,
            made: 0,
        };
        let script = Arc::new(Mutex::new(script));
        let serves = Arc::clone(&script);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(answer(stream, Arc::clone(&serves)));
            }
        });
        Self { issuer, script, task: task.abort_handle() }
    }

    pub(crate) fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    /// What the user does there: logs in. Returns the path and query that the browser comes back with.
    pub(crate) fn log_in(&self, location: &str) -> String {
        let asked = parameters(location.split_once('?').unwrap().1);
        let mut script = self.script();
        assert!(location.starts_with(&format!("{}/authorize?tenant=1&", self.issuer)), "{location}");
        for (name, value) in [("response_type", "code"), ("client_id", CLIENT), ("code_challenge_method", "S256")] {
            assert_eq!(asked[name], value, "{location}");
        }
        assert!(asked["scope"].split(' ').any(|scope| scope == "openid"));
        script.made += 1;
        let code = format!("code {}", script.made);
        let redirect = asked["redirect_uri"].clone();
        let path = redirect[redirect.match_indices('/').nth(2).unwrap().0..].to_owned();
        let (nonce, challenge) = (asked["nonce"].clone(), asked["code_challenge"].clone());
        script.codes.insert(code.clone(), Asked { nonce, challenge, redirect });
        let issuer = script.issuer.replace(':', "%3A").replace('/', "%2F");
        format!("{path}?code={}&state={}&iss={issuer}", code.replace(' ', "%20"), asked["state"])
    }

    /// A token about a log-out.
    pub(crate) fn logout_token(&self, change: impl FnOnce(&mut Value, &mut Value)) -> String {
        let script = self.script();
        let mut header = json!({"alg": "EdDSA", "kid": "1", "typ": "logout+jwt"});
        let mut claims = json!({
            "iss": script.issuer, "aud": CLIENT, "iat": now(), "exp": now() + 120, "jti": "1", "sub": "ada",
            "events": {LOGOUT_EVENT: {}},
        });
        change(&mut header, &mut claims);
        script.sign(&header, &claims)
    }
}

impl Script {
    fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()));
        let signature = BASE64.encode(self.pair.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }

    fn id_token(&self, nonce: Option<&str>) -> String {
        let mut header = json!({"alg": "EdDSA", "kid": "1"});
        let mut claims = json!({
            "iss": self.issuer, "aud": CLIENT, "sub": "ada", "sid": "s1", "iat": now(), "exp": now() + 300,
            "groups": ["staff"],
        });
        if let Some(nonce) = nonce {
            claims["nonce"] = nonce.into();
        }
        (self.header)(&mut header);
        (self.claims)(&mut claims);
        self.sign(&header, &claims)
    }

    fn tokens(&mut self, form: &HashMap<String, String>) -> (&'static str, String) {
        let refused = ("400 Bad Request", json!({"error": "invalid_grant"}).to_string());
        let nonce = match form.get("grant_type").map(String::as_str) {
            Some("authorization_code") => {
                let asked = form.get("code").and_then(|code| self.codes.remove(code));
                let Some(asked) = asked else { return refused };
                let verifier = form.get("code_verifier").map(String::as_str).unwrap_or_default();
                let challenge = BASE64.encode(digest(&SHA256, verifier.as_bytes()));
                if challenge != asked.challenge || form.get("redirect_uri") != Some(&asked.redirect) {
                    return refused;
                }
                Some(asked.nonce)
            }
            Some("refresh_token") if form.get("refresh_token") == self.refresh.as_ref() => None,
            _ => return refused,
        };
        let mut answer = json!({
            "access_token": "a", "token_type": "Bearer", "expires_in": 3600, "id_token": self.id_token(nonce.as_deref()),
        });
        (self.tokens)(&mut answer);
        self.refresh = answer.get("refresh_token").and_then(Value::as_str).map(str::to_owned).or(self.refresh.take());
        ("200 OK", answer.to_string())
    }
}

async fn answer(mut stream: TcpStream, script: Arc<Mutex<Script>>) {
    let mut request = String::new();
    let (head, body) = loop {
        let mut room = [0; 16 << 10];
        match stream.read(&mut room).await {
            Ok(0) | Err(_) => return,
            Ok(count) => request.push_str(std::str::from_utf8(&room[..count]).unwrap()),
        }
        let Some((head, body)) = request.split_once("\r\n\r\n") else { continue };
        let length =
            head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            break (head.to_owned(), body.to_owned());
        }
    };
    let (status, body) = {
        let mut script = script.lock().unwrap();
        let path = head.split(' ').nth(1).unwrap_or_default();
        match path {
            "/.well-known/openid-configuration" => {
                script.discovered += 1;
                ("200 OK", script.metadata.to_string())
            }
            "/keys" => {
                let x = BASE64.encode(script.pair.public_key());
                ("200 OK", json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "1", "x": x}]}).to_string())
            }
            "/token" => {
                let form = parameters(&body);
                script.heard.push((form.clone(), head.clone()));
                match script.instead {
                    Some(instead) => (instead, String::new()),
                    None => script.tokens(&form),
                }
            }
            _ => ("404 Not Found", String::new()),
        }
    };
    let text = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    // Who has heard enough is gone.
    drop(stream.write_all(text.as_bytes()).await);
}

/// Of a query or a form.
pub(crate) fn parameters(query: &str) -> HashMap<String, String> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), decoded(value)))
        .collect()
}

fn decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).unwrap()
}

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}
