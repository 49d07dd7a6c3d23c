//! Keeps web pages out: a browser on this machine can be made to send requests to a loopback address.

use std::net::IpAddr;

use http::{Method, Request, header, uri::Authority};

/// A name that a stranger's DNS may point here is refused (DNS rebinding), and so is a change that a web page asks for.
pub(super) fn check<B>(request: &Request<B>) -> Result<(), &'static str> {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
    let named = request.uri().authority().into_iter().chain(host.as_ref());
    let mut any = false;
    for authority in named {
        any = true;
        if !is_local(authority.host()) {
            return Err("ask for localhost or for the address: other names are refused");
        }
    }
    if !any {
        return Err("a request needs a Host");
    }
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if !reads && request.headers().contains_key(header::ORIGIN) {
        return Err("web pages change nothing here");
    }
    Ok(())
}

fn is_local(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_localhost_and_addresses_are_names_of_the_admin_interface() {
        let ask = |method: &str, uri: &str, host: &str, origin: Option<&str>| {
            let mut request = Request::builder().method(method).uri(uri);
            if !host.is_empty() {
                request = request.header("host", host);
            }
            if let Some(origin) = origin {
                request = request.header("origin", origin);
            }
            check(&request.body(()).unwrap()).is_ok()
        };
        for host in ["localhost", "LOCALHOST:9901", "127.0.0.1:9901", "[::1]:9901", "10.0.0.1"] {
            assert!(ask("GET", "/snapshot", host, None), "{host}");
        }
        for host in ["", "evil.example", "localhost.evil.example:9901", "127.0.0.1.evil.example", "[evil]", "a b"] {
            assert!(!ask("GET", "/snapshot", host, None), "{host}");
        }
        assert!(!ask("GET", "http://evil.example/snapshot", "localhost", None));
        assert!(ask("POST", "/x", "localhost", None) && !ask("POST", "/x", "localhost", Some("http://evil.example")));
    }
}
