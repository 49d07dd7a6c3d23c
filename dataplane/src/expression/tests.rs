use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, HeaderValue, Method};
use ravelin_snapshot::ObjectKey;
use serde_json::json;

use super::*;
use crate::request::Scheme;

mod differential;
mod reader;

/// What a scope borrows from.
#[derive(Debug)]
struct Fixture {
    method: Method,
    path: String,
    query: String,
    headers: HeaderMap,
    caller: Caller,
    route: RuleName,
    now: SystemTime,
}

impl Fixture {
    /// 2024-03-31 00:59:59.5 UTC: half a second before summer time begins in Paris.
    fn new() -> Self {
        let mut headers = HeaderMap::new();
        headers.insert("x-tier", HeaderValue::from_static("gold"));
        headers.append("accept", HeaderValue::from_static("text/html"));
        headers.append("accept", HeaderValue::from_static("*/*"));
        headers.append("cookie", HeaderValue::from_static("a=1"));
        headers.append("cookie", HeaderValue::from_static("b=2"));
        headers.insert("x-raw", HeaderValue::from_bytes(b"\xff").expect("is a header value"));
        Self {
            method: Method::GET,
            path: "/orders/17".into(),
            query: "v=2&v=3&name=J%C3%BCrgen+K&empty=&flag&bad=%ff".into(),
            headers,
            caller: Caller {
                id: "ada".into(),
                method: "jwt",
                issuer: "https://id.example".into(),
                scopes: vec!["orders:read".into(), "orders:write".into()],
                groups: vec!["staff".into(), "admin".into()],
                claims: json!({
                    "team": "blue", "level": 3, "big": u64::MAX, "ratio": 0.5, "on": true, "none": null,
                    "roles": ["a", 1], "org": {"name": "acme"}, "cost": -2,
                }),
                plan: "gold".into(),
            },
            route: RuleName { route: ObjectKey::new("shop", "orders"), rule: "list".into() },
            now: UNIX_EPOCH + Duration::from_millis(1_711_846_799_500),
        }
    }

    fn with<T>(&self, run: impl FnOnce(&Scope<'_>) -> T) -> T {
        let request = RequestView {
            method: &self.method,
            path: &self.path,
            raw: &self.path,
            query: &self.query,
            headers: &self.headers,
            host: "api.shop.example",
            authority: "api.shop.example",
            scheme: Scheme::Https,
            id: "r-1",
            source: "[::ffff:10.1.2.3]:4711".parse().expect("is an address"),
            chain: None,
        };
        run(&Scope { request: &request, caller: &self.caller, route: &self.route, now: self.now })
    }

    fn bool(&self, source: &str) -> Result<bool, EvalError> {
        self.with(|scope| program(source).eval_bool(scope))
    }

    fn string(&self, source: &str) -> Result<String, EvalError> {
        self.with(|scope| program(source).eval_string(scope).map(Cow::into_owned))
    }

    fn int(&self, source: &str) -> Result<i64, EvalError> {
        self.with(|scope| program(source).eval_int(scope))
    }
}

fn program(source: &str) -> Program {
    Program::compile(&reader::read(source)).unwrap_or_else(|error| panic!("{source}: {error}"))
}

fn holds(sources: &[&str]) {
    let fixture = Fixture::new();
    for source in sources {
        assert_eq!(fixture.bool(source), Ok(true), "{source}");
    }
}

fn fails(cases: &[(&str, EvalError)]) {
    let fixture = Fixture::new();
    for (source, error) in cases {
        assert_eq!(fixture.bool(source), Err(*error), "{source}");
    }
}

#[test]
fn a_program_is_shared_by_threads() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<Program>();
}

#[test]
fn every_name_has_its_value() {
    holds(&[
        "request.method == 'GET' && request.path == '/orders/17' && request.host == 'api.shop.example'",
        "request.scheme == 'https' && request.id == 'r-1'",
        "source.address == '10.1.2.3' && source.port == 4711",
        "caller.id == 'ada' && caller.method == 'jwt' && caller.issuer == 'https://id.example' && caller.plan == 'gold'",
        "caller.scopes == ['orders:read', 'orders:write'] && caller.groups[1] == 'admin'",
        "route.namespace == 'shop' && route.name == 'orders' && route.rule == 'list'",
        "now == timestamp('2024-03-31T00:59:59.5Z')",
        "request.headers.accept == 'text/html,*/*' && request.headers['x-tier'] == 'gold'",
        "request.headers.cookie == 'a=1; b=2'",
        "request.headers[request.headers['x-tier'] == 'gold' ? 'accept' : 'b'] == 'text/html,*/*'",
        "request.query.v == '2' && request.query['name'] == 'Jürgen K' && request.query.empty == '' && request.query.flag == ''",
        "caller.claims.team == 'blue' && caller.claims.org.name == 'acme' && caller.claims['roles'][1] == 1",
        "caller.claims.big == 18446744073709551615u && caller.claims.ratio < 1 && caller.claims.none == null",
        "size(request.headers) == 4 && size(request.query) == 5 && size(caller.claims) == 9",
    ]);
}

#[test]
fn the_anonymous_caller_is_a_value() {
    let mut fixture = Fixture::new();
    fixture.caller = Caller::default();
    for source in ["caller.id == ''", "caller.scopes == []", "!('a' in caller.claims)", "size(caller.claims) == 0"] {
        assert_eq!(fixture.bool(source), Ok(true), "{source}");
    }
    assert_eq!(fixture.string("caller.claims.team"), Err(EvalError::NoSuchKey));
}

#[test]
fn what_is_missing_is_an_error_unless_it_is_asked_for() {
    holds(&[
        "'x-tier' in request.headers && !('x-other' in request.headers) && !('X-Tier' in request.headers)",
        "has(request.headers.accept) && !has(request.headers.other) && has(request.query.flag) && !has(request.query.w)",
        "has(caller.claims.org.name) && !has(caller.claims.org.other) && !has(caller.claims.other)",
        "request.headers[string('x-tier')] == 'gold' && !(string('X-Tier') in request.headers)",
        "!(1 in caller.claims) && !(true in request.headers)",
    ]);
    fails(&[
        ("request.headers['x-other'] == ''", EvalError::NoSuchKey),
        ("request.headers[string('X-Tier')] == ''", EvalError::NoSuchKey),
        ("request.query.w == ''", EvalError::NoSuchKey),
        ("caller.claims.other == 1", EvalError::NoSuchKey),
        ("caller.claims.org.other.deep == 1", EvalError::NoSuchKey),
        ("caller.claims.team.deep == 1", EvalError::Type),
        ("has(caller.claims.team.deep)", EvalError::Type),
        ("caller.scopes[2] == ''", EvalError::Index),
        ("caller.scopes[-1] == ''", EvalError::Index),
        ("{'a': 1}['b'] == 1", EvalError::NoSuchKey),
        ("request.headers['x-raw'] == ''", EvalError::Conversion),
        ("request.query.bad == ''", EvalError::Conversion),
    ]);
}

#[test]
fn one_side_decides_whatever_the_other_is() {
    holds(&[
        "request.query.w == '' || true",
        "true || request.query.w == ''",
        "!(request.query.w == '' && false)",
        "!(false && 1 / 0 == 1)",
        "caller.claims.team || true",
        "caller.scopes.exists(s, request.query[s] == '' || s == 'orders:write')",
        "!caller.scopes.all(s, s == 'orders:read' ? request.query.w == '' : false)",
    ]);
    fails(&[
        ("request.query.w == '' || false", EvalError::NoSuchKey),
        ("false || request.query.w == ''", EvalError::NoSuchKey),
        ("request.query.w == '' && true", EvalError::NoSuchKey),
        ("caller.claims.team && true", EvalError::Type),
        ("caller.scopes.exists(s, request.query[s] == '')", EvalError::NoSuchKey),
        ("caller.scopes.all(s, request.query[s] == '')", EvalError::NoSuchKey),
        ("caller.scopes.exists_one(s, s == 'orders:write' ? request.query[s] == '' : true)", EvalError::NoSuchKey),
    ]);
}

#[test]
fn numbers_neither_wrap_nor_mix() {
    holds(&[
        "1 + 2 * 3 - 4 / 2 % 3 == 5 && -7 / 2 == -3 && -7 % 2 == -1",
        "9223372036854775807 - 1 < 9223372036854775807",
        "1 == 1.0 && 1u == 1 && 2.5 > 2 && 1u < 1.5 && !(-1 == 18446744073709551615u)",
        "1.5 + 1.5 == 3.0 && 1.0 / 0.0 > 1.0 && !(0.0 / 0.0 == 0.0 / 0.0) && !(0.0 / 0.0 < 1.0)",
        "int(2.9) == 2 && int('-5') == -5 && int(now) == 1711846799 && uint(3) == 3u && double('0.25') == 0.25",
        "string(1.5) == '1.5' && string(-3) == '-3' && string(true) == 'true' && string(b'a') == 'a'",
        "string(duration('1h0.5s')) == '3600.5s' && string(now) == '2024-03-31T00:59:59.5Z' && string(duration('-1.5s')) == '-1.5s'",
        "bytes('é').size() == 2 && 'é'.size() == 1 && bool('true') && timestamp(0) == timestamp('1970-01-01T00:00:00Z')",
    ]);
    fails(&[
        ("9223372036854775807 + 1 == 0", EvalError::Overflow),
        ("-9223372036854775808 - 1 == 0", EvalError::Overflow),
        ("-9223372036854775808 / -1 == 0", EvalError::Overflow),
        ("-(-9223372036854775808) == 0", EvalError::Overflow),
        ("0u - 1u == 0u", EvalError::Overflow),
        ("1 / 0 == 0", EvalError::DivisionByZero),
        ("1 % 0 == 0", EvalError::DivisionByZero),
        ("caller.claims.level + 1.0 == 4.0", EvalError::Type),
        ("int('a') == 0", EvalError::Conversion),
        ("int(1e19) == 0", EvalError::Overflow),
        ("uint(-1) == 0u", EvalError::Overflow),
        ("caller.claims.team < 1", EvalError::Type),
        ("string(b'\\xff') == ''", EvalError::Conversion),
        ("timestamp('9999-12-31T23:59:59Z') + duration('1s') == now", EvalError::Overflow),
        ("timestamp('9999-12-31T23:59:59Z') - timestamp('0001-01-01T00:00:00Z') > duration('0')", EvalError::Overflow),
        ("timestamp(caller.claims.team) == now", EvalError::Conversion),
    ]);
}

#[test]
fn texts_are_letters() {
    holds(&[
        "request.path.startsWith('/orders/') && request.path.endsWith('17') && request.path.contains('ers')",
        "'ÄbC'.lowerAscii() == 'Äbc' && 'äbC'.upperAscii() == 'äBC' && ' a b\\n'.trim() == 'a b' && ''.trim() == ''",
        "request.path.split('/') == ['', 'orders', '17'] && 'é1'.split('') == ['é', '1'] && ''.split(',') == ['']",
        "'a-b-c'.replace('-', '') == 'abc' && 'é'.replace('', '.') == '.é.' && caller.scopes.join(' ') == 'orders:read orders:write'",
        "[].join('x') == '' && ['a', 'b'].join() == 'ab'",
        "'héllo'.substring(1) == 'éllo' && 'héllo'.substring(1, 2) == 'é' && 'a'.substring(1) == ''",
        "'héllo'.indexOf('l') == 2 && 'a'.indexOf('b') == -1 && 'a'.indexOf('') == 0",
        "'abc'.matches('b') && !'abc'.matches('^b') && 'a' + 'b' == 'ab' && 'a' < 'b' && b'a' + b'b' == b'ab'",
    ]);
    fails(&[
        ("'a'.substring(2) == ''", EvalError::Index),
        ("'abc'.substring(2, 1) == ''", EvalError::Index),
        ("'abc'.substring(-1) == ''", EvalError::Index),
        ("caller.claims.level.startsWith('a')", EvalError::Type),
        ("caller.claims.roles.join() == ''", EvalError::Type),
    ]);
}

#[test]
fn comprehensions_run_over_lists_and_keys() {
    holds(&[
        "caller.scopes.exists(s, s.endsWith(':write')) && !caller.scopes.all(s, s.endsWith(':write'))",
        "caller.scopes.exists_one(s, s.endsWith(':write')) && !caller.scopes.exists_one(s, s.startsWith('orders'))",
        "caller.groups.filter(g, g != 'staff') == ['admin'] && caller.groups.map(g, g + '!') == ['staff!', 'admin!']",
        "caller.groups.map(g, g != 'staff', size(g)) == [5] && [].all(x, false) && ![].exists(x, true)",
        "request.query.exists(name, name == 'flag') && caller.claims.all(name, name.size() < 6)",
        "request.headers.exists(name, name.startsWith('x-')) && {'a': 1}.all(k, k == 'a')",
        "[1, 2].all(x, [3, 4].all(y, [5].all(z, x < y && y < z)))",
        "[1, 2].map(x, [x, x * 10].filter(y, y > x)) == [[10], [20]]",
        "caller.claims.roles.exists(r, r == 1)",
    ]);
    fails(&[
        ("caller.claims.team.exists(x, true)", EvalError::Type),
        ("caller.groups.filter(g, caller.claims.team) == []", EvalError::Type),
    ]);
}

#[test]
fn clocks_follow_their_zone_and_its_summer_time() {
    holds(&[
        "now.getHours() == 0 && now.getMinutes() == 59 && now.getSeconds() == 59 && now.getMilliseconds() == 500",
        "now.getHours('Europe/Paris') == 1 && (now + duration('1s')).getHours('Europe/Paris') == 3",
        "now.getHours('-01:30') == 23 && now.getDate('-01:30') == 30 && now.getHours('+05:45') == 6",
        "now.getFullYear() == 2024 && now.getMonth() == 2 && now.getDate() == 31 && now.getDayOfMonth() == 30",
        "now.getDayOfWeek() == 0 && now.getDayOfWeek('America/New_York') == 6 && now.getDayOfYear() == 90",
        "now - duration('24h') == timestamp('2024-03-30T00:59:59.5Z') && (now - timestamp(0)).getHours() == 475512",
        "now.getHours(caller.claims.on ? 'Asia/Tokyo' : '') == 9",
        "duration('90m').getMinutes() == 90 && duration('-90m').getHours() == -1 && duration('1.5s').getMilliseconds() == 1500",
    ]);
    fails(&[
        ("now.getHours(caller.claims.team) == 0", EvalError::TimeZone),
        ("duration('1h').getDate() == 0", EvalError::Type),
    ]);
}

#[test]
fn addresses_are_in_their_ranges() {
    holds(&[
        "cidr('10.0.0.0/8').containsIP(source.address) && !cidr('192.168.0.0/16').containsIP(source.address)",
        "cidr('2001:db8::/32').containsIP('2001:db8::1') && cidr('10.0.0.0/8').containsIP('::ffff:10.0.0.1')",
    ]);
    fails(&[("cidr('10.0.0.0/8').containsIP(caller.id)", EvalError::Conversion)]);
}

#[test]
fn collections_compare_by_what_is_in_them() {
    holds(&[
        "[1, 'a', [true]] == [1.0, 'a', [true]] && [1] != [1, 2] && [] == []",
        "{'a': 1, 'b': 2} == {'b': 2, 'a': 1} && {'a': 1} != {'a': 2} && {1: 'x'} == {1u: 'x'} && {1: 'x'}[1u] == 'x'",
        "caller.claims.org == {'name': 'acme'} && caller.claims.roles == ['a', 1] && 2 in [1, 2.0] && 'a' in {'a': 1}",
        "[1, 2] + [3] == [1, 2, 3] && size([1, 2]) == 2 && [1, 2][1u] == 2 && [1, 2][1.0] == 2",
        "!(caller.claims.team == 1) && caller.claims.team != null",
    ]);
    fails(&[
        ("{caller.id: 1, 'ada': 2} == {}", EvalError::DuplicateKey),
        ("{caller.claims.ratio: 1} == {}", EvalError::Type),
        ("caller.id in caller.claims.team", EvalError::Type),
        ("caller.scopes[caller.claims.ratio] == ''", EvalError::Type),
    ]);
}

#[test]
fn a_value_of_another_type_than_the_place_asks_for_is_an_error() {
    let fixture = Fixture::new();
    assert_eq!(fixture.int("caller.claims.cost"), Ok(-2));
    assert_eq!(fixture.int("caller.plan == 'gold' ? 10 : 1"), Ok(10));
    assert_eq!(fixture.int("caller.claims.team"), Err(EvalError::Type));
    assert_eq!(fixture.int("caller.claims.big"), Err(EvalError::Type));
    assert_eq!(fixture.string("caller.claims.team").as_deref(), Ok("blue"));
    assert_eq!(fixture.string("caller.claims.level"), Err(EvalError::Type));
    assert_eq!(fixture.bool("caller.claims.on"), Ok(true));
    assert_eq!(fixture.bool("caller.claims.none"), Err(EvalError::Type));
}

#[test]
fn texts_of_the_request_are_borrowed() {
    let sources = [
        "caller.id",
        "request.headers['x-tier']",
        "request.query.v",
        "caller.claims.team",
        "request.path.split('/')[1]",
        "caller.id != '' ? caller.id : source.address",
        "caller.scopes.filter(s, s.endsWith(':write'))[0]",
        "'constant'",
    ];
    let fixture = Fixture::new();
    for source in sources {
        let program = program(source);
        fixture.with(|scope| assert!(matches!(program.eval_string(scope), Ok(Cow::Borrowed(_))), "{source}"));
    }
    assert_eq!(fixture.string("source.address + ':' + string(source.port)").as_deref(), Ok("10.1.2.3:4711"));
}

#[test]
fn an_evaluation_that_takes_too_long_ends() {
    let mut fixture = Fixture::new();
    fixture.headers.insert("x-long", HeaderValue::from_str(&"a,".repeat(10_000)).expect("is a header value"));
    let endless = [
        "request.headers['x-long'].split(',').all(x, request.headers['x-long'].split(',').all(y, x != 'b' && y != 'b'))",
        "request.headers['x-long'].split(',').map(x, request.headers['x-long']).join() == ''",
        "request.headers['x-long'].replace('', request.headers['x-long']) == ''",
        "['a'].map(x, request.headers['x-long'].replace('a', request.headers['x-long'])).all(x, true)",
        "request.headers['x-long'].split(',').all(x, x == 'b' || [1, 2, 3].all(y, y > 0 && x != 'c' && x != 'd'))",
    ];
    for source in endless {
        assert_eq!(fixture.bool(source), Err(EvalError::Budget), "{source}");
        assert_eq!(fixture.bool(&format!("({source}) || true")), Err(EvalError::Budget), "{source}");
        assert_eq!(fixture.bool(&format!("!(({source}) && false)")), Err(EvalError::Budget), "{source}");
    }
    let usual = "request.headers['x-long'].split(',').all(x, x in ['a', ''])";
    assert_eq!(fixture.bool(usual), Ok(true));
}

#[test]
fn a_thousand_terms_are_one_evaluation() {
    let source = (0..1000).map(|i| format!("request.path == '/{i}'")).chain(["true".into()]).collect::<Vec<_>>();
    assert_eq!(Fixture::new().bool(&source.join(" || ")), Ok(true));
}

#[test]
fn a_tree_that_no_compiler_made_is_refused() {
    use ravelin_snapshot::expression::{Comprehension, Function, Node};
    let mut deep = Node::Bool(true);
    for _ in 0..1000 {
        deep = Node::Call { function: Function::Not, arguments: vec![deep] };
    }
    let loops = |body| Node::Comprehension {
        kind: Comprehension::All,
        over: Box::new(Node::List(vec![])),
        body: Box::new(body),
    };
    let text = |text: &str| Node::String(text.into());
    let trees = [
        deep,
        Node::Variable(0),
        loops(Node::Variable(1)),
        loops(loops(loops(loops(Node::Bool(true))))),
        Node::Matches { text: Box::new(text("a")), pattern: "(".into() },
        Node::Call { function: Function::Equal, arguments: vec![Node::Null] },
        Node::Call { function: Function::CidrContainsIp, arguments: vec![text("10.0.0.0/88"), text("10.0.0.1")] },
        Node::Call { function: Function::GetHours, arguments: vec![Node::Timestamp(0, 0), text("Nowhere")] },
        Node::Timestamp(i64::MAX, 0),
    ];
    for node in trees {
        assert!(Program::compile(&Expression { source: String::new(), node }).is_err());
    }
}
