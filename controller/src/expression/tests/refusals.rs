//! What is refused: where, and with which words.

use super::*;

/// What is written; line and column; message and remedy.
type Row = (&'static str, usize, usize, &'static str, &'static str);

fn refuses(expected: Type, rows: &[Row]) {
    for (source, line, column, message, remedy) in rows {
        let error = compile(source, expected).expect_err(source);
        let said = (error.line, error.column, error.message.as_str(), error.remedy.as_str());
        assert_eq!(said, (*line, *column, *message, *remedy), "{source}");
    }
}

const WRITE: &str = "write a CEL expression, as in request.method == 'GET'";

const NAMES: &[Row] = &[
    ("request.header['a'] == 'b'", 1, 9, "request.header: no such member", "did you mean request.headers?"),
    (
        "request.body == ''",
        1,
        9,
        "request.body: no such member",
        "use one of request.method, request.path, request.query, request.headers, request.host, request.scheme, request.id",
    ),
    (
        "request.headers.x-tier == 'gold'",
        1,
        19,
        "tier: no such name",
        "write names with a hyphen in brackets, as in request.headers['x-tier']",
    ),
    ("request.path == \"é\" && requst.path == 'a'", 1, 24, "requst: no such name", "did you mean request?"),
    ("true &&\n  request.pth == 'a'", 2, 11, "request.pth: no such member", "did you mean request.path?"),
    ("gold == 'a'", 1, 1, "gold: no such name", "use one of request, source, caller, route, now; texts need quotes"),
    ("source", 1, 1, "source is not a value", "name a member of it: source.address, source.port"),
    ("source['port'] == 1", 1, 1, "source is not a map", "name a member: source.address, source.port"),
    (
        "request.path.foo == 1",
        1,
        14,
        "string has no member foo",
        "call a function, as in text.startsWith('a') or list.exists(x, x == 'a')",
    ),
    (
        "request.headers['X-Tier'] == 'gold'",
        1,
        17,
        "X-Tier: header names are in lower case",
        "write request.headers['x-tier']",
    ),
    ("'X-Tier' in request.headers", 1, 1, "X-Tier: header names are in lower case", "write request.headers['x-tier']"),
    ("has(request.headers.Tier)", 1, 21, "Tier: header names are in lower case", "write request.headers['tier']"),
    ("has(request.path)", 1, 5, "request.path is always there", "compare its value, as in caller.id != ''"),
    (
        "caller.scopes.exists(s, true) && s == 'a'",
        1,
        34,
        "s: no such name",
        "use one of request, source, caller, route, now; texts need quotes",
    ),
];

#[test]
fn names() {
    refuses(Type::Bool, NAMES);
}

const FUNCTIONS: &[Row] = &[
    (
        "foo(1) == 2",
        1,
        1,
        "unknown function foo",
        "use a function of CEL's standard library, such as startsWith, matches or size",
    ),
    ("request.path.startWith('/a')", 1, 14, "unknown function startWith", "did you mean startsWith?"),
    ("startsWith(request.path, '/a')", 1, 1, "startsWith is not called in this way", "write string.startsWith(string)"),
    ("request.path.startsWith(1)", 1, 25, "startsWith expects string, found int", "give it a string"),
    (
        "source.port.startsWith('1')",
        1,
        1,
        "startsWith is a function of string, this is int",
        "convert the value to string",
    ),
    ("request.path.substring() == ''", 1, 23, "substring takes 1 or 2 arguments, found 0", "give it 1 or 2"),
    (
        "size(1) == 1",
        1,
        6,
        "size expects a string, bytes, a list or a map, found int",
        "leave size out, or convert the value with string(...)",
    ),
    (
        "int(caller.scopes) == 1",
        1,
        5,
        "int() cannot convert list(string)",
        "it takes int, uint, double, string, timestamp",
    ),
    ("has('a')", 1, 5, "has() expects a member", "write has(caller.claims.team), or 'team' in caller.claims"),
    (
        "caller.scopes.exists(s, s)",
        1,
        25,
        "exists expects bool, found string",
        "write a condition on the variable, as in x == 'a'",
    ),
    (
        "caller.scopes.exists('s', true)",
        1,
        22,
        "exists expects the name of a variable first",
        "write list.exists(x, ...)",
    ),
    ("caller.scopes.exists(s)", 1, 15, "exists is not called in this way", "write list.exists(x, condition)"),
    ("request.path.exists(s, true)", 1, 1, "exists expects a list or a map, found string", "write list.exists(x, ...)"),
    (
        "caller.scopes.all(a, [1].all(b, [1].all(c, [1].all(d, true))))",
        1,
        52,
        "all is within 3 others of its kind; no more are allowed",
        "split the expression",
    ),
    (
        "source.address.containsIP('10.0.0.0/8')",
        1,
        1,
        "containsIP is a function of cidr(...)",
        "write cidr('10.0.0.0/8').containsIP(source.address)",
    ),
];

#[test]
fn functions() {
    refuses(Type::Bool, FUNCTIONS);
}

const TYPES: &[Row] = &[
    ("request.path", 1, 1, "expected bool, found string", "compare it, as in request.method == 'GET'"),
    ("caller.scopes", 1, 1, "expected bool, found list(string)", "ask for a member, as in 'admin' in caller.groups"),
    (
        "request.path == 1",
        1,
        14,
        "== cannot compare string and int",
        "compare values of one type: convert one with string(...), int(...) or timestamp(...)",
    ),
    (
        "request.path == null",
        1,
        14,
        "== cannot compare string and null",
        "compare values of one type: convert one with string(...), int(...) or timestamp(...)",
    ),
    (
        "caller.scopes < caller.groups",
        1,
        15,
        "< cannot compare list(string) and list(string)",
        "compare values of one type: convert one with string(...), int(...) or timestamp(...)",
    ),
    (
        "1 + 'a' == 2",
        1,
        3,
        "+ cannot take int and string",
        "convert one of them, with int(...), double(...) or string(...)",
    ),
    (
        "1 + 1.0 > 1",
        1,
        3,
        "+ cannot take int and double",
        "convert one of them, with int(...), double(...) or string(...)",
    ),
    ("!request.path", 1, 2, "! expects bool, found string", "compare or convert the value first"),
    ("-request.path == 1", 1, 2, "- expects int or double, found string", "compare or convert the value first"),
    ("true && request.path", 1, 9, "&& expects bool, found string", "write a condition, as in request.method == 'GET'"),
    ("1 ? true : false", 1, 1, "? expects bool, found int", "write a condition, as in request.method == 'GET'"),
    ("true ? true : 'a'", 1, 15, "one side of ? is bool, the other string", "give both sides one type"),
    (
        "'a' in request.path",
        1,
        8,
        "in expects a list or a map, found string",
        "for a part of a text write text.contains('part')",
    ),
    ("1 in caller.scopes", 1, 3, "int is never in list(string)", "compare values of one type"),
    ("caller.groups['a'] == 'a'", 1, 15, "list(string) has no member of type string", "use a value of type int"),
    ("caller.groups[0.0] == 'a'", 1, 15, "list(string) has no member of type double", "use a value of type int"),
    ("{1.5: 2}.size() == 1", 1, 2, "double cannot be a map's key", "use a string, an int, a uint or a bool"),
    ("{'a': 2, 'a': 3}.size() == 1", 1, 10, "the map has this key twice", "leave one of them out"),
    ("Foo{a: 1} == 1", 1, 4, "there is no message type Foo", "write a map, as in {'a': 1}"),
];

#[test]
fn types() {
    refuses(Type::Bool, TYPES);
    refuses(Type::Int, &[("caller.id", 1, 1, "expected int, found string", "convert it with int(...)")]);
    refuses(Type::String, &[("source.port", 1, 1, "expected string, found int", "convert it with string(...)")]);
}

const CONSTANTS: &[Row] = &[
    (
        "request.path.matches('a(')",
        1,
        22,
        "invalid regular expression: unclosed group (at byte 1)",
        "correct the pattern; its syntax is RE2's",
    ),
    (
        "request.path.matches('((a{1,1000}){1,1000})')",
        1,
        22,
        "the regular expression is too large once its repetitions are written out (1024 KiB are allowed)",
        "write a smaller pattern",
    ),
    (
        "request.path.matches(request.host)",
        1,
        22,
        "the pattern of matches must be a constant text",
        "write the pattern itself; for a text that varies use startsWith, endsWith, contains or ==",
    ),
    (
        "now.getHours('Europe/Pariss') < 7",
        1,
        14,
        "unknown time zone 'Europe/Pariss'",
        "write an IANA name such as 'Europe/Paris', or an offset such as '+02:00'",
    ),
    (
        "now > timestamp('yesterday')",
        1,
        17,
        "'yesterday' is no timestamp",
        "write RFC 3339, as in timestamp('2030-01-01T00:00:00Z')",
    ),
    (
        "duration('1d') > duration('1h')",
        1,
        10,
        "'1d' is no duration",
        "write numbers with units, as in duration('1h30m')",
    ),
    ("int('x') == 1", 1, 5, "'x' is no int", "write a whole number"),
    (
        "cidr('10.0.0.0/88').containsIP(source.address)",
        1,
        6,
        "'10.0.0.0/88' is not a range of addresses",
        "write a CIDR such as '10.0.0.0/8'",
    ),
];

#[test]
fn constants() {
    refuses(Type::Bool, CONSTANTS);
}

const SYNTAX: &[Row] = &[
    ("", 1, 1, "the expression is empty", "write one, or leave the field out"),
    ("request.path ==", 1, 16, "syntax error: the end is not expected here", WRITE),
    ("request.path = 'a'", 1, 14, "syntax error: = is not expected here", "write == to compare"),
    ("(request.path == 'a'", 1, 21, "syntax error: missing ')' at the end", WRITE),
    ("request.path == 'a')", 1, 20, "syntax error: ')' is not expected here", WRITE),
    ("request.path == 'abc", 1, 17, "the text has no closing quote", "close it with the quote that opens it"),
    ("request.?path == 1", 1, 8, "syntax error: unsupported syntax '.?'", WRITE),
    ("package == 1", 1, 1, "syntax error: reserved identifier: package", WRITE),
    ("99999999999999999999 > 1", 1, 1, "syntax error: invalid int literal", WRITE),
    ("@", 1, 1, "syntax error: @ is not expected here", WRITE),
    ("a b", 1, 3, "syntax error: 'b' is not expected here", WRITE),
];

#[test]
fn syntax() {
    refuses(Type::Bool, SYNTAX);
}
