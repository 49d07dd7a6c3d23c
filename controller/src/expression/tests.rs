use ravelin_snapshot::expression::{Attribute, Comprehension, Function, Node};

use super::*;

fn node(source: &str, expected: Type) -> Node {
    match compile(source, expected) {
        Ok(expression) => expression.node,
        Err(error) => panic!("{source}: {error}; {}", error.remedy),
    }
}

fn attribute(attribute: Attribute) -> Box<Node> {
    Box::new(Node::Attribute(attribute))
}

fn text(text: &str) -> Node {
    Node::String(text.to_owned())
}

fn calls<const N: usize>(function: Function, arguments: [Node; N]) -> Node {
    Node::Call { function, arguments: arguments.into() }
}

#[test]
fn every_expression_of_the_documentation_compiles() {
    let examples = [
        ("request.headers['x-tier'] == 'gold'", Type::Bool),
        ("request.path", Type::String),
        ("request.host + request.path + caller.id", Type::String),
        ("'orders:read' in caller.scopes", Type::Bool),
        ("now.getHours('Europe/Paris') < 7", Type::Bool),
        ("caller.id", Type::String),
        ("request.method == 'POST'", Type::Bool),
        ("1", Type::Int),
        ("source.address", Type::String),
        ("caller.claims.team", Type::String),
        ("caller.plan == 'gold' ? 10 : 1", Type::Int),
        ("caller.plan", Type::String),
        ("caller.id == ''", Type::Bool),
    ];
    for (source, expected) in examples {
        assert_eq!(compile(source, expected).map(|expression| expression.source), Ok(source.to_owned()));
    }
}

#[test]
fn every_name_of_the_environment_has_its_type() {
    let texts = [
        "request.method",
        "request.path",
        "request.host",
        "request.scheme",
        "request.id",
        "source.address",
        "caller.id",
        "caller.method",
        "caller.issuer",
        "caller.plan",
        "route.namespace",
        "route.name",
        "route.rule",
        "request.query.v",
        "request.query['v']",
        "request.headers.host",
        "caller.scopes[0]",
        "caller.groups[0]",
    ];
    for source in texts {
        assert!(compile(source, Type::String).is_ok(), "{source}");
        assert!(compile(source, Type::Int).is_err(), "{source}");
    }
    for source in ["source.port", "now.getFullYear()", "size(caller.scopes)", "request.headers.size()", "int(now)"] {
        assert!(compile(source, Type::Int).is_ok(), "{source}");
        assert!(compile(source, Type::Bool).is_err(), "{source}");
    }
    for expected in [Type::Bool, Type::String, Type::Int] {
        assert!(compile("caller.claims.team.lead[0]", expected).is_ok(), "{expected:?}");
    }
}

#[test]
fn operators_and_functions_compile() {
    let conditions = [
        "request.path.startsWith('/a') && !request.path.endsWith('.json') || request.path.contains('b')",
        "request.path.matches('^/v[0-9]+/') || matches(request.path, 'x')",
        "request.headers['a'].lowerAscii() == 'x' && request.headers.b.trim().upperAscii() == 'Y'",
        "'a' in request.headers && has(request.query.b) && has(caller.claims.c.d)",
        "caller.claims.level >= 3 && caller.claims.level > 2.5 && caller.claims['x-y'] != null",
        "request.host.split('.').exists(part, part == 'internal')",
        "caller.groups.all(g, g.startsWith('a')) && caller.groups.exists_one(g, g == 'b')",
        "caller.groups.filter(g, g != 'a').map(g, g + '!').size() > 0",
        "caller.groups.map(g, g != 'a', size(g)) == [1, 2]",
        "request.query.all(name, request.query[name] != '')",
        "caller.claims.roles.exists(r, r == 'admin')",
        "now > timestamp('2024-01-01T00:00:00Z') && now - duration('1h') < now",
        "(now - timestamp('2024-01-01T00:00:00Z')).getHours() > 5",
        "now.getDayOfWeek('+02:00') in [0, 6] && now.getMinutes(caller.claims.zone) == 0",
        "int(request.query.n) * 2 + 1 - 3 / 1 % 2 == -1 && uint(1) == 1u && double('1.5') < 2",
        "{'a': 1}['a'] == 1 && [1, 2][0] == 1 && [] == [] && {} == {} && [1, 'a', true].size() == 3",
        "bytes('a') == b'a' && string(1.5) == '1.5' && bool('true') && dyn(1) == 1",
        "cidr('10.0.0.0/8').containsIP(source.address) && cidr('2001:db8::/32').containsIP(request.headers.x)",
        "request.path.replace('/', '.').substring(1, 3).indexOf('b') == 1 && ['a'].join() + ['b'].join(',') == 'ab'",
        "caller.scopes.exists(request, request == 'shadowed')",
        "caller.scopes.size() == 0 ? true : caller.claims.flag",
        r#""double" == 'single' && r'\d' == "\\d" && '''a'b''' == "a'b" && '\u00e9\n' != ''"#,
        "true // a comment",
        "\n  request.method == 'GET'\n  && true\n",
        "duration('1h') < now - now",
        "1 < 2.5 && 2u >= 1 && 1 == 1.0",
        "request.headers == {'a': 'b'} || caller.scopes == []",
        "!!true && --1 == 1",
    ];
    for source in conditions {
        node(source, Type::Bool);
    }
}

#[test]
fn the_tree_says_what_was_written() {
    let cases = [
        ("request.path == '/a'", calls(Function::Equal, [Node::Attribute(Attribute::RequestPath), text("/a")])),
        (
            "!('a' in caller.scopes)",
            calls(Function::Not, [calls(Function::In, [text("a"), Node::Attribute(Attribute::CallerScopes)])]),
        ),
        ("caller.claims.a", Node::Select { of: attribute(Attribute::CallerClaims), member: "a".into() }),
        ("has(request.headers.a)", Node::Has { of: attribute(Attribute::RequestHeaders), member: "a".into() }),
        ("request.path.matches('a+')", Node::Matches { text: attribute(Attribute::RequestPath), pattern: "a+".into() }),
        (
            "duration('1h') == duration('60m')",
            calls(Function::Equal, [Node::Duration(3_600_000_000_000), Node::Duration(3_600_000_000_000)]),
        ),
        (
            "now < timestamp('1970-01-01T00:00:01.5Z')",
            calls(Function::Less, [Node::Attribute(Attribute::Now), Node::Timestamp(1, 500_000_000)]),
        ),
        (
            "[1].all(x, [2].exists(y, x == y))",
            Node::Comprehension {
                kind: Comprehension::All,
                over: Box::new(Node::List(vec![Node::Int(1)])),
                body: Box::new(Node::Comprehension {
                    kind: Comprehension::Exists,
                    over: Box::new(Node::List(vec![Node::Int(2)])),
                    body: Box::new(calls(Function::Equal, [Node::Variable(0), Node::Variable(1)])),
                }),
            },
        ),
        (
            "cidr('10.0.0.0/8').containsIP(source.address)",
            calls(Function::CidrContainsIp, [text("10.0.0.0/8"), Node::Attribute(Attribute::SourceAddress)]),
        ),
    ];
    for (source, expected) in cases {
        assert_eq!(node(source, Type::Bool), expected, "{source}");
    }
}

#[test]
fn a_thousand_terms_become_a_shallow_tree() {
    let or = vec!["true"; 680].join("||");
    assert!(node(&or, Type::Bool).depth() <= 12);
    let and = vec!["1<2"; 680].join("&&");
    assert!(node(&and, Type::Bool).depth() <= 13);
    let list = format!("request.id in [{}]", vec!["'a'"; 1000].join(","));
    assert_eq!(node(&list, Type::Bool).depth(), 3);
    // The longest chain that fits: 1,000 terms of the shortest name that there is.
    let terms = format!("[true].all(a,{})", vec!["a"; 1000].join("&&"));
    assert!(node(&terms, Type::Bool).depth() <= 14);
}

#[test]
fn the_largest_expressions_are_refused_or_compiled_but_never_fatal() {
    let chains = [
        "(", "[", "{", "!", "-", "a.", "1+", "a?", "a?b:", "'", "a[", "f(", "{1:", "&&", "a.b(", "//", "\\", "é", "🦀",
    ];
    for chain in chains {
        let source = chain.repeat(MAX_SOURCE / chain.len());
        compile(&source, Type::Bool).unwrap_err();
    }
    for (open, close) in [("(", ")"), ("[", "]"), ("size([", "])"), ("{1:", "}"), ("!(", ")"), ("-(", ")")] {
        for levels in [16, 30, 31, 32, 33, 400] {
            let source = format!("{}true{}", open.repeat(levels), close.repeat(levels));
            let _ = compile(&source, Type::Bool);
        }
    }
    let sum = vec!["1"; 90].join("+");
    assert!(compile(&sum, Type::Int).is_ok());
    let nested = format!("{}1{}", "(1+".repeat(30), ")".repeat(30));
    assert!(compile(&nested, Type::Int).is_ok());
    assert!(compile(&"a".repeat(MAX_SOURCE + 1), Type::Bool).unwrap_err().message.contains("4097 bytes"));
}

proptest::proptest! {
    #[test]
    fn no_text_is_fatal(source in "[a-z.()\\[\\]{}'\"&|!=<>+*/%?:, 0-9\\\\\\n-]{0,60}") {
        let _ = compile(&source, Type::Bool);
    }

    #[test]
    fn no_text_of_any_letters_is_fatal(source in "\\PC{0,40}") {
        if let Err(error) = compile(&source, Type::Bool) {
            proptest::prop_assert!(source.is_char_boundary(error.offset) && error.line >= 1 && error.column >= 1);
        }
    }
}

mod refusals;
