//! Against the cel crate's interpreter: generated expressions over generated requests have the same value there and
//! here, or are errors in both.
//!
//! Left out are the places where we follow the specification or our own page and the crate does not: order with NaN,
//! durations with letters behind their units, `map` and `filter` over maps (whose order is anybody's), a map
//! added to a list (the crate adds its keys).

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use cel::{Context, Env};
use chrono::DateTime;
use proptest::prelude::*;

use super::*;

/// Chooses by bytes, so that a failing case shrinks; without bytes left it always chooses the first.
struct Chooser<'b> {
    bytes: std::slice::Iter<'b, u8>,
    /// Comprehensions around.
    loops: usize,
}

impl Chooser<'_> {
    fn below(&mut self, end: usize) -> usize {
        self.bytes.next().map_or(0, |byte| usize::from(*byte) % end)
    }

    fn one<'t>(&mut self, of: &[&'t str]) -> &'t str {
        of[self.below(of.len())]
    }

    fn bool(&mut self, depth: usize) -> String {
        let Some(depth) = depth.checked_sub(1) else { return self.one(&["true", "false", "caller.claims.on"]).into() };
        match self.below(20) {
            0 => self.one(&["true", "false"]).into(),
            1..=2 => format!("({} {} {})", self.bool(depth), self.one(&["&&", "||"]), self.bool(depth)),
            3 => format!("!{}", self.bool(depth)),
            4 => format!("({} {} {})", self.text(depth), self.one(&["==", "!=", "<", ">="]), self.text(depth)),
            5 => format!("({} {} {})", self.number(depth), self.one(&["==", "<", "<=", ">", "!="]), self.number(depth)),
            6 => format!(
                "{}.{}({})",
                self.text(depth),
                self.one(&["startsWith", "endsWith", "contains"]),
                self.text(depth)
            ),
            7 => format!("({} in {})", self.text(depth), self.list(depth)),
            8 => format!("({} in {})", self.text(depth), self.one(MAPS)),
            9 => format!("has({}.{})", self.one(MAPS), self.one(&["a", "team", "org", "b"])),
            10 => format!(
                "{}.{}(x, {})",
                self.list(depth),
                self.one(&["all", "exists", "exists_one"]),
                self.bool_of_x(depth)
            ),
            11 => format!(
                "{}.{}(x, {})",
                self.one(MAPS),
                self.one(&["all", "exists", "exists_one"]),
                self.bool_of_x(depth)
            ),
            12 => format!("({} ? {} : {})", self.bool(depth), self.bool(depth), self.bool(depth)),
            13 => format!("{}.matches('{}')", self.text(depth), self.one(&["a", "^/[a-z]+", "\\\\d$", "(x|y)*", "é."])),
            14 => format!("({} {} {})", self.list(depth), self.one(&["==", "!="]), self.list(depth)),
            15 => format!("({} {} {})", self.any(depth), self.one(&["==", "!=", "<"]), self.any(depth)),
            16 => format!("({} {} {})", self.time(depth), self.one(&["<", "==", ">="]), self.time(depth)),
            17 => self.any(depth),
            18 => format!("({} in {})", self.any(depth), self.any(depth)),
            _ => format!("bool({})", self.text(depth)),
        }
    }

    /// Of a comprehension's variable; within others, one without a comprehension.
    fn bool_of_x(&mut self, depth: usize) -> String {
        self.loops += 1;
        let depth = if self.loops < 3 { depth } else { 0 };
        let body = match self.below(if self.loops < 3 { 6 } else { 5 }) {
            0 => "x == 'a'".into(),
            1 => format!("x.startsWith({})", self.text(0)),
            2 => format!("(x < {} || {})", self.any(depth), self.bool(depth)),
            3 => "caller.claims[x] == 1".into(),
            4 => format!("size(x) > {}", self.number(depth)),
            _ => {
                self.loops += 1;
                let inner = format!(
                    "{}.exists(y, y == x && {})",
                    self.list(0),
                    self.bool(if self.loops < 3 { depth } else { 0 })
                );
                self.loops -= 1;
                inner
            }
        };
        self.loops -= 1;
        body
    }

    fn text(&mut self, depth: usize) -> String {
        let Some(depth) = depth.checked_sub(1) else { return self.one(TEXTS).into() };
        match self.below(12) {
            0..=2 => self.one(TEXTS).into(),
            3 => format!("({} + {})", self.text(depth), self.text(depth)),
            4 => format!("{}[{}]", self.one(MAPS), self.text(depth)),
            5 => format!("{}[{}]", self.list(depth), self.number(depth)),
            6 => format!("({} ? {} : {})", self.bool(depth), self.text(depth), self.text(depth)),
            7 => format!("string({})", self.any(depth)),
            8 => format!("{}.{}()", self.text(depth), self.one(&["lowerAscii", "upperAscii", "trim"])),
            9 => format!("{}.replace({}, {})", self.text(depth), self.text(depth), self.text(depth)),
            10 => format!("{}.substring({})", self.text(depth), self.number(depth)),
            _ => format!("{}.join({})", self.list(depth), self.text(depth)),
        }
    }

    fn number(&mut self, depth: usize) -> String {
        let Some(depth) = depth.checked_sub(1) else { return self.one(NUMBERS).into() };
        match self.below(10) {
            0..=2 => self.one(NUMBERS).into(),
            3 => match self.below(2) {
                0 => format!("({} {} {})", self.number(depth), self.one(&["+", "-"]), self.number(depth)),
                // Of ints: nothing infinite, hence no NaN.
                _ => format!("({} {} {})", self.one(INTS), self.one(&["*", "/", "%"]), self.one(INTS)),
            },
            4 => format!("size({})", self.text(depth)),
            5 => format!("size({})", self.list(depth)),
            6 => format!("{}({})", self.one(&["int", "uint"]), self.any(depth)),
            7 => format!("{}.indexOf({})", self.text(depth), self.text(depth)),
            8 => {
                let zone = self.one(&["", "'Europe/Paris'", "'+05:45'", "'America/New_York'", "caller.claims.team"]);
                format!("{}.{}({zone})", self.time(depth), self.one(PARTS))
            }
            _ => format!("({} ? {} : {})", self.bool(depth), self.number(depth), self.number(depth)),
        }
    }

    fn list(&mut self, depth: usize) -> String {
        let Some(depth) = depth.checked_sub(1) else { return self.one(LISTS).into() };
        match self.below(8) {
            0..=2 => self.one(LISTS).into(),
            3 => format!("[{}, {}]", self.text(depth), self.any(depth)),
            4 => format!("{}.filter(x, {})", self.list(depth), self.bool_of_x(depth)),
            5 => format!("{}.map(x, {})", self.list(depth), self.bool_of_x(depth)),
            6 => format!("{}.split({})", self.text(depth), self.text(depth)),
            _ => format!("({} + {})", self.list(depth), self.list(depth)),
        }
    }

    fn time(&mut self, depth: usize) -> String {
        match (depth, self.below(4)) {
            (1.., 1) => {
                format!("({} {} duration('{}'))", self.time(depth - 1), self.one(&["+", "-"]), self.one(DURATIONS))
            }
            (1.., 2) => format!("timestamp({})", self.number(depth - 1)),
            (_, 3) => "timestamp('2024-10-27T00:59:59Z')".into(),
            _ => "now".into(),
        }
    }

    fn any(&mut self, depth: usize) -> String {
        match (depth, self.below(8)) {
            (1.., 4) => self.bool(depth - 1),
            (1.., 5) => self.number(depth - 1),
            (1.., 6) => self.list(depth - 1),
            (1.., 7) => self.text(depth - 1),
            (_, choice) if choice < 3 => {
                format!("caller.claims.{}", self.one(&["a", "team", "level", "org", "roles", "on"]))
            }
            _ => self.one(&["null", "{'a': 1}", "caller.claims.org.a", "b'ab'", "1.5", "{1: 'x'}"]).into(),
        }
    }
}

const TEXTS: &[&str] = &[
    "'a'",
    "request.path",
    "''",
    "'é/x'",
    "caller.id",
    "request.headers['a']",
    "request.query.a",
    "caller.claims.team",
    "'1'",
    "' A '",
    "request.method",
];
const NUMBERS: &[&str] =
    &["1", "0", "-1", "source.port", "9223372036854775807", "caller.claims.level", "2u", "2.5", "caller.claims.ratio"];
const INTS: &[&str] = &["2", "0", "-1", "source.port", "-9223372036854775808", "size(request.path)"];
const MAPS: &[&str] = &["request.headers", "request.query", "caller.claims", "caller.claims.org", "{'a': 1, 'b': 'x'}"];
const LISTS: &[&str] = &["caller.scopes", "['a', 'b']", "[]", "[1, 2u, 2.5]", "caller.claims.roles", "caller.groups"];
const DURATIONS: &[&str] = &["1h", "-0.5s", "1h30m", "2000h", "1ns"];
const PARTS: &[&str] = &[
    "getHours",
    "getMinutes",
    "getSeconds",
    "getMilliseconds",
    "getFullYear",
    "getMonth",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
];

static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut environment = Env::stdlib();
    cel::extensions::strings(&mut environment).expect("has no other functions of these names");
    Arc::new(environment)
});

/// The same values for the crate.
fn context(fixture: &Fixture) -> Context<'static, 'static> {
    let text = |text: &str| cel::Value::from(text);
    let map = |entries: Vec<(&str, cel::Value)>| {
        cel::Value::from(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<HashMap<_, _>>())
    };
    let texts = |texts: &[String]| cel::Value::from(texts.iter().map(|item| text(item)).collect::<Vec<_>>());
    let headers = fixture.headers.iter().map(|(name, value)| (name.as_str(), text(value.to_str().unwrap()))).collect();
    let query =
        fixture.query.split('&').filter_map(|pair| pair.split_once('=')).map(|(name, value)| (name, text(value)));
    let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
    let caller = &fixture.caller;
    let request = vec![
        ("method", text(fixture.method.as_str())),
        ("path", text(&fixture.path)),
        ("query", map(query.collect())),
        ("headers", map(headers)),
    ];
    context.add_variable_from_value("request", map(request));
    context.add_variable_from_value("source", map(vec![("port", cel::Value::Int(4711))]));
    let caller = vec![
        ("id", text(&caller.id)),
        ("scopes", texts(&caller.scopes)),
        ("groups", texts(&caller.groups)),
        ("claims", json_value(&caller.claims)),
    ];
    context.add_variable_from_value("caller", map(caller));
    let now = DateTime::<chrono::Utc>::from(fixture.now).fixed_offset();
    context.add_variable_from_value("now", cel::Value::Timestamp(now));
    context
}

fn json_value(value: &serde_json::Value) -> cel::Value {
    match value {
        serde_json::Value::Null => cel::Value::Null,
        serde_json::Value::Bool(value) => cel::Value::Bool(*value),
        serde_json::Value::String(text) => cel::Value::from(text.as_str()),
        serde_json::Value::Array(items) => cel::Value::from(items.iter().map(json_value).collect::<Vec<_>>()),
        serde_json::Value::Object(entries) => cel::Value::from(
            entries.iter().map(|(key, value)| (key.clone(), json_value(value))).collect::<HashMap<_, _>>(),
        ),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => cel::Value::Int(number),
            (None, Some(number)) => cel::Value::UInt(number),
            (None, None) => cel::Value::Float(number.as_f64().unwrap()),
        },
    }
}

/// The same value of the same type.
fn same(ours: &Value<'_>, theirs: &cel::Value) -> bool {
    let budget = Budget::new();
    match (ours, theirs) {
        (Value::Null, cel::Value::Null) => true,
        (Value::Bool(ours), cel::Value::Bool(theirs)) => ours == theirs,
        (Value::Int(ours), cel::Value::Int(theirs)) => ours == theirs,
        (Value::Uint(ours), cel::Value::UInt(theirs)) => ours == theirs,
        (Value::Double(ours), cel::Value::Float(theirs)) => ours.to_bits() == theirs.to_bits(),
        (Value::Text(ours), cel::Value::String(theirs)) => ours.as_str() == theirs.as_str(),
        (Value::Bytes(ours), cel::Value::Bytes(theirs)) => ours.as_slice() == theirs.as_slice(),
        (Value::Timestamp(ours), cel::Value::Timestamp(theirs)) => {
            (ours.seconds, ours.nanos) == (theirs.timestamp(), theirs.timestamp_subsec_nanos())
        }
        (Value::Duration(ours), cel::Value::Duration(theirs)) => Some(*ours) == theirs.num_nanoseconds(),
        (Value::List(ours), cel::Value::List(theirs)) => {
            ours.len() == theirs.len() && ours.items().zip(theirs.iter()).all(|(ours, theirs)| same(&ours, theirs))
        }
        (Value::Map(ours), cel::Value::Map(theirs)) => {
            let keys = ours.keys(&budget).unwrap();
            keys.len() == theirs.map.len()
                && keys.iter().all(|key| {
                    let found = theirs.map.iter().find(|(other, _)| same(key, &cel::Value::from(*other)));
                    found.is_some_and(|(_, theirs)| same(&ours.get(key, &budget).unwrap().unwrap(), theirs))
                })
        }
        _ => false,
    }
}

fn fixtures() -> impl Strategy<Value = Fixture> {
    let text = prop::sample::select(vec!["a", "b", "", "é/x", "1", "/a/1", "true", "x y"]);
    let claim = prop::sample::select(vec![
        json!("a"),
        json!(1),
        json!(-3),
        json!(u64::MAX),
        json!(2.5),
        json!(true),
        json!(null),
        json!(["a", 1, null]),
        json!({"a": "b"}),
        json!([]),
        json!({}),
        json!([["a"], {"a": 1}]),
    ]);
    let names = prop::sample::subsequence(vec!["a", "team", "level", "org", "roles", "on", "ratio"], 0..=7);
    let claims = (names, prop::collection::vec(claim, 7));
    let texts = prop::collection::vec(text.clone(), 0..4);
    (text.clone(), texts.clone(), texts, claims, prop::option::of(text.clone()), prop::option::of(text)).prop_map(
        |(path, scopes, groups, (names, claims), header, value)| {
            let mut fixture = Fixture::new();
            fixture.path = path.into();
            fixture.headers.clear();
            if let Some(header) = header.filter(|header| header.is_ascii()) {
                fixture.headers.insert("a", HeaderValue::from_static(header));
            }
            fixture.query = value.map_or(String::new(), |value| format!("a={value}"));
            fixture.caller.scopes = scopes.into_iter().map(str::to_owned).collect();
            fixture.caller.groups = groups.into_iter().map(str::to_owned).collect();
            let mut claims: serde_json::Map<_, _> = names.into_iter().map(str::to_owned).zip(claims).collect();
            if let Some(map @ serde_json::Value::Object(_)) = claims.get_mut("roles") {
                *map = json!([]); // the claim that is added to lists
            }
            fixture.caller.claims = serde_json::Value::Object(claims);
            fixture
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn expressions_have_the_value_that_the_cel_crate_gives_them(
        bytes in prop::collection::vec(any::<u8>(), 0..60),
        fixture in fixtures(),
    ) {
        let mut chooser = Chooser { bytes: bytes.iter(), loops: 0 };
        let source = match chooser.below(4) {
            0 => chooser.text(4),
            1 => chooser.number(4),
            2 => chooser.list(4),
            _ => chooser.bool(4),
        };
        let theirs = ENVIRONMENT.compile(&source).expect("parses").execute(&context(&fixture));
        let program = program(&source);
        fixture.with(|scope| {
            let ours = program.eval(scope);
            let agree = match (&ours, &theirs) {
                (Ok(ours), Ok(theirs)) => same(ours, theirs),
                (ours, theirs) => ours.is_err() && theirs.is_err(),
            };
            prop_assert!(agree, "{source}\n ours: {ours:?}\n theirs: {theirs:?}\n claims: {}", fixture.caller.claims);
            Ok(())
        })?;
    }
}
