use super::*;

fn connection(peer: &str, trusted: &[IpNet]) -> Connection {
    Connection::new(peer.parse().unwrap(), "192.0.2.9:80".parse().unwrap(), Scheme::Http, None, trusted)
}

fn headers(said: &[(&'static str, &'static str)]) -> HeaderMap {
    said.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
}

fn trusted() -> Vec<IpNet> {
    vec!["10.0.0.0/8".parse().unwrap(), "2001:db8:1::/48".parse().unwrap()]
}

#[test]
fn the_client_is_the_rightmost_that_is_no_trusted_proxy() {
    for (peer, said, source) in [
        ("198.51.100.1:5", vec![("x-forwarded-for", "203.0.113.1")], "198.51.100.1:5"),
        ("10.0.0.1:5", vec![], "10.0.0.1:5"),
        ("10.0.0.1:5", vec![("x-forwarded-for", "1.1.1.1, 203.0.113.7")], "203.0.113.7:0"),
        ("[::ffff:10.0.0.1]:5", vec![("x-forwarded-for", "203.0.113.7:99, 10.2.2.2")], "203.0.113.7:99"),
        (
            "10.0.0.1:5",
            vec![("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "203.0.113.7,10.1.1.1")],
            "203.0.113.7:0",
        ),
        ("10.0.0.1:5", vec![("x-forwarded-for", "10.9.9.9, 10.8.8.8")], "10.9.9.9:0"),
        ("10.0.0.1:5", vec![("x-forwarded-for", "203.0.113.7, unknown, 10.8.8.8")], "0.0.0.0:0"),
        ("10.0.0.1:5", vec![("x-forwarded-for", "203.0.113.7, , 10.8.8.8,")], "203.0.113.7:0"),
        ("10.0.0.1:5", vec![("x-forwarded-for", "")], "10.0.0.1:5"),
        (
            "10.0.0.1:5",
            vec![("forwarded", "for=1.1.1.1, for=\"[2001:db8:2::1]:80\";proto=https, for=10.1.1.1")],
            "[2001:db8:2::1]:80",
        ),
        ("10.0.0.1:5", vec![("forwarded", "for=1.1.1.1, by=10.0.0.1;host=\"a,for=2.2.2.2\"")], "0.0.0.0:0"),
        ("10.0.0.1:5", vec![("forwarded", "for=1.1.1.1;x=\"a,;\\\"\";by=b,, for=2.2.2.2 ;proto=http")], "2.2.2.2:0"),
        // What a client left open, and a proxy's word behind it.
        ("10.0.0.1:5", vec![("forwarded", "for=1.1.1.1;x=\"a, for=2.2.2.2")], "0.0.0.0:0"),
        ("10.0.0.1:5", vec![("forwarded", "for=1.1.1.1;x=\"a, for=\"[2001:db8:2::1]\"")], "0.0.0.0:0"),
        ("10.0.0.1:5", vec![("forwarded", "a\"b, for=2.2.2.2")], "0.0.0.0:0"),
        ("10.0.0.1:5", vec![("forwarded", "for=1.1.1.1;for=2.2.2.2")], "0.0.0.0:0"),
        ("10.0.0.1:5", vec![("forwarded", "for = 1.1.1.1")], "0.0.0.0:0"),
        ("10.0.0.1:5", vec![("forwarded", "for=1.1.1.1;x=\"a"), ("forwarded", "for=2.2.2.2")], "2.2.2.2:0"),
        ("10.0.0.1:5", vec![("forwarded", "for=1.1.1.1"), ("x-forwarded-for", "2.2.2.2")], "2.2.2.2:0"),
    ] {
        let client = Client::of(&connection(peer, &trusted()), &headers(&said), &trusted());
        assert_eq!(client.source, source.parse().unwrap(), "{peer} {said:?}");
    }
}

#[test]
fn what_is_no_text_hides_nobody() {
    for (said, source) in
        [(&b"\xff, 203.0.113.7"[..], "203.0.113.7:0"), (b"203.0.113.7, \xff", "0.0.0.0:0"), (b"\xff", "0.0.0.0:0")]
    {
        let mut headers = HeaderMap::new();
        headers.insert(X_FORWARDED_FOR, HeaderValue::from_bytes(said).unwrap());
        let client = Client::of(&connection("10.0.0.1:5", &trusted()), &headers, &trusted());
        assert_eq!(client.source, source.parse().unwrap(), "{said:?}");
    }
}

/// What the backend is told of a request that came from `peer`.
fn told(peer: &str, said: &[(&'static str, &'static str)]) -> HeaderMap {
    let (connection, mut headers) = (connection(peer, &trusted()), headers(said));
    let client = Client::of(&connection, &headers, &trusted());
    connection.tell(&mut headers, &HeaderValue::from_static("shop.example:8080"), &client);
    headers
}

#[test]
fn a_strangers_word_is_dropped_and_a_trusted_proxys_is_carried_on() {
    let said = [
        ("x-forwarded-for", "1.1.1.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil.example"),
        ("forwarded", "for=1.1.1.1"),
    ];
    let seen = told("198.51.100.1:5", &said);
    assert_eq!(seen["x-forwarded-for"], "198.51.100.1");
    assert_eq!(seen["x-forwarded-proto"], "http");
    assert_eq!(seen["x-forwarded-host"], "shop.example:8080");
    assert_eq!(seen["forwarded"], "for=198.51.100.1;host=\"shop.example:8080\";proto=http");
    let seen = told("[2001:db8:1::2]:5", &said);
    assert_eq!(seen["x-forwarded-for"], "1.1.1.1, 2001:db8:1::2");
    assert_eq!(seen["x-forwarded-proto"], "https");
    assert_eq!(seen["x-forwarded-host"], "evil.example");
    assert_eq!(seen["forwarded"], "for=1.1.1.1, for=\"[2001:db8:1::2]\";host=\"shop.example:8080\";proto=http");
    assert_eq!(seen.len(), 4);
}

#[test]
fn what_forwarded_says_is_believed_as_a_whole() {
    let proto = |said: &[(&'static str, &'static str)]| {
        Client::of(&connection("10.0.0.1:5", &trusted()), &headers(said), &trusted()).scheme
    };
    for (said, scheme) in [
        ("for=203.0.113.7;proto=https;host=a.example", Scheme::Https),
        // The element of the client counts, not that of a proxy between; what is left of it anybody could have written.
        ("for=203.0.113.7;proto=https, for=10.1.1.1;proto=http", Scheme::Https),
        ("for=9.9.9.9;proto=https, for=203.0.113.7;proto=http", Scheme::Http),
        ("for=203.0.113.7;proto=javascript", Scheme::Http),
        ("for=203.0.113.7;proto=WSS", Scheme::Https),
        ("for=203.0.113.7;proto=https;proto=http", Scheme::Http),
    ] {
        assert_eq!(proto(&[("forwarded", said)]), scheme, "{said}");
    }
    // Who writes the one does not vouch for the other.
    assert_eq!(proto(&[("forwarded", "for=203.0.113.7;proto=http"), ("x-forwarded-proto", "https")]), Scheme::Http);
    assert_eq!(proto(&[("forwarded", "for=2.2.2.2;proto=https"), ("x-forwarded-for", "203.0.113.7")]), Scheme::Http);

    let said = "for=\"[2001:db8:2::1]:80\";proto=https;host=\"a.example:1\", for=10.1.1.1;host=b.example";
    let seen =
        told("10.0.0.1:5", &[("forwarded", said), ("x-forwarded-proto", "http"), ("x-forwarded-host", "c.example")]);
    assert_eq!(seen["x-forwarded-for"], "2001:db8:2::1, 10.1.1.1, 10.0.0.1");
    assert_eq!(seen["x-forwarded-proto"], "https");
    assert_eq!(seen["x-forwarded-host"], "a.example:1");
    assert_eq!(seen["forwarded"], format!("{said}, for=10.0.0.1;host=\"shop.example:8080\";proto=http"));
}

#[test]
fn what_means_nothing_does_not_go_on() {
    for (name, said, kept) in [
        ("x-forwarded-proto", "javascript", None),
        ("x-forwarded-proto", "https, javascript", None),
        ("x-forwarded-proto", "javascript, https", Some("https")),
        ("x-forwarded-proto", "", None),
        ("x-forwarded-proto", "https, http", Some("https, http")),
        ("x-forwarded-proto", "wss", Some("wss")),
        ("x-forwarded-host", "a.example\"><script>", None),
        ("x-forwarded-host", "a.example:99999", None),
        ("x-forwarded-host", "a.example, b.example:80", Some("a.example, b.example:80")),
        ("x-forwarded-host", "[2001:db8::1]:80", Some("[2001:db8::1]:80")),
    ] {
        let seen = told("10.0.0.1:5", &[("x-forwarded-for", "203.0.113.7"), (name, said)]);
        let absent = if name == "x-forwarded-proto" { "http" } else { "shop.example:8080" };
        assert_eq!(seen[name], kept.unwrap_or(absent), "{said}");
    }
    let own = "for=10.0.0.1;host=\"shop.example:8080\";proto=http";
    for (said, named) in [
        ("for=203.0.113.7;proto=javascript", "203.0.113.7"),
        ("for=203.0.113.7;host=\"a\\\"b\"", "203.0.113.7"),
        ("for=203.0.113.7;x=\"a", "unknown"),
    ] {
        assert_eq!(told("10.0.0.1:5", &[("forwarded", said)])["forwarded"], format!("for={named}, {own}"), "{said}");
    }
}

#[test]
fn what_is_told_as_text_is_what_a_map_would_hold_and_follows_the_host() {
    for peer in ["198.51.100.1:5", "[2001:db8:2::1]:5"] {
        let connection = connection(peer, &trusted());
        for host in ["shop.example", "shop.example:8080", "shop.example:8080", "[2001:db8::1]:80"] {
            let host = HeaderValue::from_static(host);
            let (mut text, mut map) = (Vec::new(), HeaderMap::new());
            connection.told(&host, &mut text);
            connection.tell_of_peer(&mut map, &host);
            let mut lines: Vec<_> =
                map.iter().map(|(name, value)| format!("{name}: {}\r\n", value.to_str().unwrap())).collect();
            let text = String::from_utf8(text).unwrap();
            let mut told: Vec<_> = text.split_inclusive("\r\n").map(str::to_owned).collect();
            lines.sort();
            told.sort();
            assert_eq!(told, lines, "{peer} {host:?}");
            assert_eq!(told.len(), 4);
        }
    }
}
