//! Both halves of an expression: what the compiler accepts, the data plane runs, and to the value that was meant.

use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, HeaderValue, Method};
use ravelin_controller::expression::{MAX_SOURCE, Type, compile};
use ravelin_dataplane::expression::{EvalError, Program, Scope};
use ravelin_dataplane::request::{Caller, RequestView, RuleName, Scheme};
use ravelin_snapshot::ObjectKey;

fn evaluate<T>(source: &str, expected: Type, run: impl FnOnce(&Program, &Scope<'_>) -> T) -> T {
    let expression = compile(source, expected).unwrap_or_else(|error| panic!("{source}: {error}; {}", error.remedy));
    let program = Program::compile(&expression).unwrap_or_else(|error| panic!("{source}: {error}"));
    let mut headers = HeaderMap::new();
    headers.insert("x-tier", HeaderValue::from_static("gold"));
    let caller = Caller {
        id: "ada".into(),
        method: "apiKey",
        scopes: vec!["orders:read".into()],
        claims: serde_json::json!({"team": "blue", "level": 3, "roles": ["admin"]}),
        plan: "gold".into(),
        ..Caller::default()
    };
    let request = RequestView {
        method: &Method::GET,
        path: "/orders/17",
        raw: "/orders/17",
        query: "v=2&name=a+b",
        headers: &headers,
        host: "api.shop.example",
        authority: "api.shop.example",
        scheme: Scheme::Http,
        id: "r-1",
        source: "192.0.2.7:4711".parse().expect("is an address"),
        chain: None,
    };
    let route = RuleName { route: ObjectKey::new("shop", "orders"), rule: "list".into() };
    // 2024-07-01 04:30 UTC, 06:30 in Paris
    let now = UNIX_EPOCH + Duration::from_secs(1_719_808_200);
    run(&program, &Scope { request: &request, caller: &caller, route: &route, now })
}

fn bool(source: &str) -> Result<bool, EvalError> {
    evaluate(source, Type::Bool, Program::eval_bool)
}

#[test]
fn conditions_hold() {
    let conditions = [
        "request.headers['x-tier'] == 'gold' && request.query.v == '2' && request.query.name == 'a b'",
        "'orders:read' in caller.scopes && !('orders:write' in caller.scopes)",
        "now.getHours('Europe/Paris') < 7 && now.getMonth() == 6",
        "request.method == 'GET' && request.path.matches('^/orders/[0-9]+$')",
        "caller.claims.level >= 3 && caller.claims.roles.exists(role, role == 'admin')",
        "has(caller.claims.team) && !has(caller.claims.other) && !('x-other' in request.headers)",
        "cidr('192.0.2.0/24').containsIP(source.address) && source.port > 1024",
        "now > timestamp('2024-01-01T00:00:00Z') && now - timestamp('2024-01-01T00:00:00Z') > duration('24h')",
        "request.host.split('.').map(part, part.upperAscii()).join('-') == 'API-SHOP-EXAMPLE'",
        "[1, 2, 3].filter(x, x > 1).map(x, x % 2 == 1, x * 2) == [6] && {'a': [1]}['a'][0] == 1",
        "request.path.substring(1, 7) == 'orders' && request.path.indexOf('17') == 8 && size(request.headers) == 1",
        "string(1.5) + string(source.port) == '1.54711' && int('7') + int(caller.claims.level) == 10",
        "request.query.none == 'x' || caller.method == 'apiKey'",
        "caller.scopes.all(a, caller.scopes.all(b, caller.scopes.exists_one(c, a == b && b == c)))",
    ];
    for source in conditions {
        assert_eq!(bool(source), Ok(true), "{source}");
    }
}

#[test]
fn keys_and_costs_have_their_values() {
    let key =
        |source: &str| evaluate(source, Type::String, |program, scope| program.eval_string(scope).map(String::from));
    assert_eq!(key("caller.id").as_deref(), Ok("ada"));
    assert_eq!(key("source.address").as_deref(), Ok("192.0.2.7"));
    assert_eq!(key("caller.claims.team").as_deref(), Ok("blue"));
    assert_eq!(key("caller.claims.level"), Err(EvalError::Type));
    assert_eq!(key("request.headers.other"), Err(EvalError::NoSuchKey));
    let cost = |source: &str| evaluate(source, Type::Int, Program::eval_int);
    assert_eq!(cost("caller.plan == 'gold' ? 10 : 1"), Ok(10));
    assert_eq!(cost("caller.claims.level"), Ok(3));
    assert_eq!(cost("int(request.query.v) * 2"), Ok(4));
}

#[test]
fn the_deepest_and_the_longest_expressions_run_on_a_small_stack() {
    let nested = |open: &str, inner: &str, close: &str, levels| {
        format!("{}{inner}{}", open.repeat(levels), close.repeat(levels))
    };
    let mut sources = vec![
        vec!["true"; MAX_SOURCE / 8].join(" && "),
        format!("{} == 90", vec!["1"; 90].join(" + ")),
        format!("'x' in [{}, 'x']", vec!["'a'"; 1000].join(",")),
        format!("{}true", "false ? false : ".repeat(90)),
    ];
    for levels in 1..32 {
        sources.push(nested("!(", "true", " && true)", levels));
        sources.push(nested("(1 + ", "1", ")", levels) + " > 0");
        sources.push(nested("[", "1", "]", levels) + " != []");
        sources.push(nested("(false || (true && ", "true", "))", levels / 2));
    }
    let run = move || {
        for source in &sources {
            bool(source).unwrap_or_else(|error| panic!("{source}: {error}"));
        }
    };
    let thread = std::thread::Builder::new().stack_size(1 << 20).spawn(run);
    thread.expect("a thread starts").join().expect("nothing overflows");
}
