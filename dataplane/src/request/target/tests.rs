use super::*;

fn read(version: Version, method: Method, uri: &str, hosts: &[&str]) -> Result<Target, Reason> {
    let mut request = Request::builder().version(version).method(method).uri(uri);
    for host in hosts {
        request = request.header("host", *host);
    }
    let connection =
        Connection::new("198.51.100.1:5".parse().unwrap(), "192.0.2.9:8080".parse().unwrap(), Scheme::Http, None, &[]);
    let id = HeaderValue::from_static("id");
    let target = Target::read(&request.body(()).unwrap(), &connection, id, &[], &Bounds::default());
    target.map_err(|reject| reject.reason)
}

#[test]
fn a_host_has_one_form() {
    for (said, host, port) in [
        ("shop.example", "shop.example", None),
        ("SHOP.Example:8080", "shop.example", Some(8080)),
        ("shop.example.", "shop.example", None),
        ("shop.example.:80", "shop.example", Some(80)),
        ("shop.example:", "shop.example", None),
        ("192.0.2.1:1", "192.0.2.1", Some(1)),
        ("[2001:DB8::1]:443", "[2001:db8::1]", Some(443)),
        ("under_score", "under_score", None),
    ] {
        let target = read(Version::HTTP_11, Method::GET, "/", &[said]).unwrap();
        assert_eq!((target.host(), target.port()), (host, port), "{said}");
    }
}

#[test]
fn what_is_no_host_or_two_is_refused() {
    for said in [
        "",
        ".",
        "a..",
        ".a",
        "a b",
        "a/b",
        "a@b",
        "user@shop.example",
        "a:b",
        "a:99999",
        "a:+1",
        "a,b",
        "[::1",
        "[x]",
        "[::1]x",
        "::1",
        "a%2e",
        "a\\b",
        "a?b",
    ] {
        assert_eq!(read(Version::HTTP_11, Method::GET, "/", &[said]).err(), Some(Reason::BadRequest), "{said:?}");
    }
    assert!(read(Version::HTTP_11, Method::GET, "/", &["a", "a"]).is_err(), "two");
    assert!(read(Version::HTTP_11, Method::GET, "/", &[]).is_err(), "none");
}

#[test]
fn the_first_http_needs_no_host() {
    let target = read(Version::HTTP_10, Method::GET, "/", &[]).unwrap();
    assert_eq!((target.host(), target.port()), ("192.0.2.9", Some(8080)));
}

#[test]
fn in_absolute_form_the_target_counts_and_in_http2_both_must_agree() {
    let target = read(Version::HTTP_11, Method::GET, "http://A.example:81/x?y", &["b.example"]).unwrap();
    assert_eq!((target.host(), target.path(), target.query()), ("a.example", "/x", "y"));
    assert_eq!(target.authority(), "A.example:81");
    assert!(read(Version::HTTP_11, Method::GET, "http://a.example/", &[]).is_err());
    assert!(read(Version::HTTP_11, Method::GET, "http://a.example/", &["a b"]).is_err());
    assert!(read(Version::HTTP_11, Method::GET, "http://a.example/", &[""]).is_ok());
    assert!(read(Version::HTTP_11, Method::GET, "ftp://a.example/", &["a.example"]).is_err());
    assert!(read(Version::HTTP_11, Method::GET, "http://u@a.example/", &["a.example"]).is_err());
    assert!(read(Version::HTTP_2, Method::GET, "http://a.example/", &[]).is_ok());
    assert!(read(Version::HTTP_2, Method::GET, "http://a.example?x", &[]).is_err());
    assert!(read(Version::HTTP_2, Method::GET, "http://a.example/", &["A.example:80"]).is_ok());
    assert!(read(Version::HTTP_2, Method::GET, "http://a.example/", &["b.example"]).is_err());
    assert!(read(Version::HTTP_2, Method::GET, "/", &["a.example"]).is_ok());
}

#[test]
fn only_options_asks_the_server_itself_and_nobody_tunnels_through() {
    assert_eq!(read(Version::HTTP_11, Method::OPTIONS, "*", &["a"]).unwrap().path(), "*");
    assert!(read(Version::HTTP_11, Method::GET, "*", &["a"]).is_err());
    assert!(read(Version::HTTP_11, Method::CONNECT, "a:443", &["a:443"]).is_err());
    assert!(read(Version::HTTP_11, Method::GET, "a:443", &["a:443"]).is_err());
}

#[test]
fn the_backend_gets_the_normal_path_and_the_query_as_it_came() {
    for (uri, path, query, origin) in [
        ("/a?b=%20c&&d", None, None, "/a?b=%20c&&d"),
        ("http://h/a?b", None, None, "/a?b"),
        ("http://h?b", None, None, "/?b"),
        ("http://h?", None, None, "/?"),
        ("http://h", None, None, "/"),
        ("/a/../b/%61?q=%61", None, None, "/b/a?q=%61"),
        ("/a?q", Some("/v1/a"), None, "/v1/a?q"),
        ("/a?", Some("/v1/a"), None, "/v1/a?"),
        ("/a?key=1&x", None, Some("x"), "/a?x"),
        ("/a?key=1", None, Some(""), "/a"),
        ("/a", Some("/"), None, "/"),
    ] {
        let target = read(Version::HTTP_11, Method::GET, uri, &["h"]).unwrap();
        assert_eq!(target.origin(path, query).unwrap().to_string(), origin, "{uri}");
    }
}
