//! A browser, as far as log-in is concerned: it keeps cookies and shows pages.

use std::collections::BTreeMap;

use ravelin_echo::client::{Answer, Client, Protocol};

use super::provider::Provider;
use crate::gateway::Gateway;

pub(crate) struct Browser {
    client: Client,
    pub(crate) cookies: BTreeMap<String, String>,
}

impl Browser {
    pub(crate) async fn at(gateway: &Gateway) -> Self {
        let client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
        Self { client, cookies: BTreeMap::new() }
    }

    pub(crate) async fn at_host(gateway: &Gateway, host: &str) -> Self {
        let Self { client, cookies } = Self::at(gateway).await;
        Self { client: client.with_host(host), cookies }
    }

    /// A page.
    pub(crate) async fn show(&mut self, path: &str) -> Answer {
        self.get(path, &[("accept", "text/html,application/xhtml+xml,*/*;q=0.8"), ("sec-fetch-mode", "navigate")]).await
    }

    pub(crate) async fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies = cookies.join("; ");
        let mut headers = headers.to_vec();
        if !cookies.is_empty() {
            headers.push(("cookie", &cookies));
        }
        let answer = self.client.get_with(path, &headers).await.unwrap();
        self.keep(&answer);
        answer
    }

    pub(crate) async fn post(&mut self, path: &str, body: &str) -> Answer {
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        self.client.post(path, &headers, body.to_owned()).await.unwrap()
    }

    /// To the issuer and back, up to the page that it wanted first.
    pub(crate) async fn log_in(&mut self, provider: &Provider, path: &str) -> String {
        let sent = self.show(path).await;
        assert_eq!(sent.status, 302, "{sent:?}");
        let back = self.show(&provider.log_in(sent.header("location").unwrap())).await;
        assert_eq!(back.status, 302, "{back:?}");
        back.header("location").unwrap().to_owned()
    }

    fn keep(&mut self, answer: &Answer) {
        for said in answer.headers.get_all("set-cookie") {
            let said = said.to_str().unwrap();
            assert!(said.len() <= 4096, "{}", said.len());
            for attribute in ["; Path=/;", "; HttpOnly", "; SameSite=Lax"] {
                assert!(said.contains(attribute), "{said}");
            }
            let (name, value) = said.split(';').next().unwrap().split_once('=').unwrap();
            if said.contains("; Max-Age=0;") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }
}
