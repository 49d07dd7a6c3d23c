use proptest::prelude::*;

use super::*;
use crate::files::schema::schema_of;

const ROUTE: &str = "apiVersion: ravelin.dev/v1alpha1\nkind: ApiRoute\nmetadata: {name: r}\n";
const AUTH: &str = "apiVersion: ravelin.dev/v1alpha1\nkind: AuthPolicy\nmetadata: {name: p, namespace: shop}\n";
const LIMIT: &str = "apiVersion: ravelin.dev/v1alpha1\nkind: RateLimitPolicy\nmetadata: {name: p}\n";

fn read(name: &str, text: &str) -> Reading {
    super::read(name, text, &|_| false)
}

/// `line:column field: message`, one a finding.
fn told(text: &str) -> Vec<String> {
    let findings = read("f.yaml", text).findings;
    findings
        .iter()
        .map(|f| format!("{}:{} {}: {}", f.place.line, f.place.column, f.finding.field, f.finding.message))
        .collect()
}

type Case = (&'static str, String, &'static [&'static str]);

#[allow(clippy::too_many_lines, reason = "a table")]
fn bad_input() -> Vec<Case> {
    vec![
        (
            "unknown field at depth",
            format!("{ROUTE}spec:\n  rules:\n  - backendRef:\n    - {{name: a, port: 80}}\n"),
            &["6:5 spec.rules[0].backendRef: unknown field `backendRef`"],
        ),
        (
            "unknown field at the top",
            format!("{ROUTE}specs: {{}}\n"),
            &["4:1 specs: unknown field `specs`", "1:1 spec: it is required and not there"],
        ),
        (
            "number for a string",
            format!("{ROUTE}spec:\n  rules:\n  - matches:\n    - headers: [{{name: x, value: 1}}]\n"),
            &["7:34 spec.rules[0].matches[0].headers[0].value: expected a string, found the number 1"],
        ),
        (
            "boolean for a string",
            format!("{ROUTE}spec: {{rules: [{{name: on}}]}}\n"),
            &["4:23 spec.rules[0].name: expected a string, found `on`, which is the boolean true"],
        ),
        (
            "string for a number",
            format!("{ROUTE}spec: {{rules: [{{backendRefs: [{{name: a, port: \"80\"}}]}}]}}\n"),
            &["4:47 spec.rules[0].backendRefs[0].port: expected a whole number, found a string"],
        ),
        (
            "out of range",
            format!("{ROUTE}spec: {{rules: [{{backendRefs: [{{name: a, port: 70000}}]}}]}}\n"),
            &["4:47 spec.rules[0].backendRefs[0].port: 70000 is out of range"],
        ),
        (
            "a word that is none",
            format!("{ROUTE}spec:\n  rules:\n  - matches:\n    - path: {{type: Prefix, value: /}}\n"),
            &["7:20 spec.rules[0].matches[0].path.type: `Prefix` is not a value of this field"],
        ),
        (
            "missing field",
            format!("{AUTH}spec:\n  mode: Enforce\n"),
            &["4:1 spec.targetRefs: it is required and not there"],
        ),
        (
            "a pattern",
            format!("{ROUTE}spec:\n  hostnames:\n  - Shop.example\n  rules: [{{}}]\n"),
            &["6:5 spec.hostnames[0]: `Shop.example` is not of the form of this field"],
        ),
        (
            "a list for an object",
            format!("{ROUTE}spec:\n- rules: []\n"),
            &["5:3 spec: expected an object, found a list"],
        ),
        (
            "an object for a list",
            format!("{ROUTE}spec:\n  rules: {{name: a}}\n"),
            &["5:10 spec.rules: expected a list, found an object"],
        ),
        (
            "a rule of the CRD",
            format!("{AUTH}spec:\n  targetRefs:\n  - {{kind: Service, name: a}}\n"),
            &["4:1 spec: targetRefs: kind must be ApiRoute or Namespace"],
        ),
        (
            "a key that is there twice",
            format!("{ROUTE}spec:\n  rules: [{{}}]\n  rules: [{{}}]\n"),
            &["6:3 spec.rules: the key is there twice, first in line 5"],
        ),
        (
            "no name",
            "apiVersion: v1\nkind: Namespace\nmetadata: {}\n".to_owned(),
            &["3:1 metadata.name: it is required and not there"],
        ),
        (
            "a name that Kubernetes does not take",
            "apiVersion: v1\nkind: Namespace\nmetadata: {name: Shop}\n".to_owned(),
            &["3:18 metadata.name: `Shop` is not of the form of this field"],
        ),
        ("no kind", "apiVersion: v1\n".to_owned(), &["1:1 kind: it is required and not there"]),
        (
            "a kind that is none",
            ROUTE.replace("ApiRoute", "ApiRute"),
            &["2:1 kind: `ravelin.dev/v1alpha1` has no kind `ApiRute`", "1:1 spec: it is required and not there"],
        ),
        (
            "a version that is none",
            ROUTE.replace("v1alpha1", "v1") + "spec: {rules: [{}]}\n",
            &["1:1 apiVersion: `ravelin.dev/v1` has no kind ApiRoute"],
        ),
        (
            "a tab",
            format!("{ROUTE}spec:\n\trules: []\n"),
            &["5:2 : tabs disallowed within this context (block indentation)"],
        ),
        (
            "two documents of one name",
            format!("{ROUTE}spec: {{rules: [{{}}]}}\n---\n{ROUTE}spec: {{rules: [{{}}]}}\n"),
            &["8:12 metadata.name: ApiRoute default/r is in this file twice, first in line 1"],
        ),
        (
            "a secret's number",
            "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {pin: 4711}\n".to_owned(),
            &["4:19 stringData.pin: expected a string, found a number"],
        ),
        (
            "a secret that is not base64",
            "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {a: hunter2!}\n".to_owned(),
            &["4:11 data.a: the value is not base64"],
        ),
        (
            "a port that is none",
            "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 0}]}\n".to_owned(),
            &["4:23 spec.ports[0].port: 0 is out of range"],
        ),
        ("a scalar", "hello\n".to_owned(), &["1:1 kind: expected an object"]),
    ]
}

#[test]
fn bad_input_is_told_with_line_column_field_and_reason() {
    let wrong: Vec<_> = bad_input()
        .iter()
        .filter(|(_, text, expected)| told(text) != *expected)
        .map(|(case, text, expected)| format!("{case}:\n{text}told {:#?}\nnot  {expected:#?}", told(text)))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn what_is_missing_is_named_with_what_was_likely_meant() {
    let reading = read("f.yaml", &format!("{ROUTE}spec: {{rules: [{{backendRef: []}}]}}\n"));
    assert_eq!(reading.findings[0].finding.remedy, "did you mean `backendRefs`?");
    let reading = read("f.yaml", &format!("{ROUTE}spec: {{rules: [{{name: 010}}]}}\n"));
    assert_eq!(reading.findings[0].finding.remedy, "put it in quotes: \"010\"");
}

#[test]
fn other_peoples_kinds_are_passed_over_and_a_slip_in_the_group_is_not() {
    let deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {what: ever}\n";
    assert!(told(deployment).is_empty());
    assert!(told("apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: a}\n").is_empty());
    let slip = read("f.yaml", &AUTH.replace("ravelin.dev", "ravelin.de"));
    assert!(!slip.is_sound());
    assert!(matches!(&slip.items[0].object, AnyObject::AuthPolicy(policy) if !policy.faults.is_empty()));
}

#[test]
fn a_broken_rule_keeps_its_place_and_the_others_are_whole() {
    let text = format!(
        "{ROUTE}spec:\n  rules:\n  - {{name: a, backendRefs: [{{name: x, port: 1}}]}}\n  - {{name: b, matches: [{{path: 5}}]}}\n  - broken\n  - {{name: d}}\n"
    );
    let reading = read("f.yaml", &text);
    let AnyObject::ApiRoute(route) = &reading.items[0].object else { panic!() };
    let names: Vec<_> = route.spec.rules.iter().map(|rule| rule.name.as_deref()).collect();
    assert_eq!(names, [Some("a"), Some("b"), None, Some("d")]);
    assert_eq!(route.spec.rules[1].matches.len(), 1);
    let fields: Vec<_> = route.faults.iter().map(|fault| fault.field.as_str()).collect();
    assert_eq!(fields, ["spec.rules[1].matches[0].path", "spec.rules[2]"]);
}

#[test]
fn a_duration_that_is_none_breaks_its_rule_alone() {
    let text = format!(
        "{ROUTE}spec:\n  hostnames: [Bad.example]\n  rules:\n  - {{name: a, timeouts: {{request: soon}}}}\n  - {{name: b}}\n"
    );
    let reading = read("f.yaml", &text);
    let AnyObject::ApiRoute(route) = &reading.items[0].object else { panic!() };
    assert_eq!(route.spec.rules.len(), 2);
    assert_eq!(route.faults.len(), 2);
}

#[test]
fn a_broken_policy_still_says_what_it_is_for() {
    let text =
        format!("{AUTH}spec:\n  targetRefs:\n  - {{kind: ApiRoute, name: r}}\n  mode: Sometimes\n  netwrk: {{}}\n");
    let AnyObject::AuthPolicy(policy) = &read("f.yaml", &text).items[0].object else { panic!() };
    assert_eq!(policy.spec.target_refs[0].name, "r");
    assert_eq!(policy.faults.len(), 2);
}

#[test]
fn a_policy_that_cannot_say_what_it_is_for_closes_its_namespace() {
    for text in [
        format!("{AUTH}spec: 5\n"),
        format!("{AUTH}spec:\n  targetRefs: [x]\n"),
        format!("{AUTH}spec:\n\ttargetRefs: []\n"),
        format!("{LIMIT}---\n"),
    ] {
        let reading = read("f.yaml", &text);
        let targets = match &reading.items[0].object {
            AnyObject::AuthPolicy(policy) => &policy.spec.target_refs,
            AnyObject::RateLimitPolicy(policy) => &policy.spec.target_refs,
            other => panic!("{other:?}"),
        };
        assert_eq!(targets[0].kind, "Namespace", "{text}");
        assert_eq!(targets[0].name, reading.items[0].object.meta().key.namespace);
    }
}

#[test]
fn a_policy_that_is_lost_in_a_syntax_error_closes_the_namespaces_of_its_file() {
    let text =
        format!("{ROUTE}spec: {{rules: [{{}}]}}\n---\nmetadata: {{namespace: shop\nkind: AuthPolicy\nspec: {{}}\n");
    let reading = read("f.yaml", &text);
    let closed: Vec<_> = reading
        .items
        .iter()
        .filter(|item| item.object.kind() == Kind::AuthPolicy)
        .map(|item| item.object.meta().key.namespace.as_str())
        .collect();
    assert_eq!(closed, ["default", "shop"]);
    assert!(!reading.is_sound());
}

const BACKEND: &str = "apiVersion: ravelin.dev/v1alpha1\nkind: Backend\nmetadata: {name: b}\nspec:\n  endpoints: [{address: 127.0.0.1, port: 1}]\n";
const FOREIGN: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\nspec: {}\n";

#[test]
fn a_key_that_is_there_twice_is_an_error_in_a_document_of_any_kind() {
    let gateway = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: x}\n";
    let list = "apiVersion: v1\nkind: List\nitems: []\nitems: []\n".to_owned();
    for text in [format!("{FOREIGN}{AUTH}"), format!("{gateway}{AUTH}"), list, format!("{FOREIGN}x: {{a: 1, a: 2}}\n")]
    {
        let reading = read("f.yaml", &text);
        assert!(!reading.is_sound(), "{text}");
        assert!(reading.findings.iter().any(|f| f.finding.message.contains("twice")), "{text}: {:?}", reading.findings);
    }
}

#[test]
fn a_policy_that_is_lost_inside_of_another_document_closes_the_namespaces_of_its_file() {
    let policy = format!("{AUTH}spec: {{targetRefs: [{{kind: ApiRoute, name: r}}]}}\n");
    for first in [BACKEND, "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 80}]}\n", FOREIGN]
    {
        for between in ["", "--\n", "----\n", " ---\n"] {
            let reading = read("f.yaml", &format!("{first}{between}{policy}"));
            let closed = |item: &Item| item.object.reference().to_string().contains("shop/unreadable");
            assert!(
                !reading.is_sound() && reading.items.iter().any(closed),
                "{first}{between}: {:?}",
                reading.findings
            );
        }
    }
    let nameless =
        read("f.yaml", "apiVersion: ravelin.dev/v1alpha1\nkind: AuthPolicyList\nitems: [{metadata: {name: p}}]\n");
    assert_eq!(nameless.items.len(), 1, "what an item is is not said: {:?}", nameless.findings);
}

#[test]
fn a_list_in_a_list_and_a_list_of_any_kind_are_their_items() {
    let item = r#"{"apiVersion":"ravelin.dev/v1alpha1","kind":"AuthPolicy","metadata":{"name":"p"},"spec":{"targetRefs":[{"kind":"ApiRoute","name":"r"}],"network":{"allow":["10.0.0.0/8"]}}}"#;
    let list = |version: &str, kind: &str, item: &str| {
        format!(r#"{{"apiVersion":"{version}","kind":"{kind}","items":[{item}]}}"#)
    };
    for text in [
        list("v1", "List", &list("v1", "List", item)),
        list("ravelin.dev/v1alpha1", "AuthPolicyList", item),
        list("v1", "SecretList", item),
        list("apps/v1", "DeploymentList", item),
    ] {
        let reading = read("f.json", &text);
        assert!(reading.is_sound() && reading.items.len() == 1, "{text}: {:?}", reading.findings);
    }
}

#[test]
fn many_keys_that_repeat_or_that_nobody_knows_are_read_in_time_that_grows_with_their_number() {
    // A hundred times as long as this takes would not be waited for.
    let keys: String = (0..40_000).map(|n| format!("  k{n}: a\n")).collect();
    let repeats = "  z: b\n".repeat(40_000);
    assert!(!read("f.yaml", &format!("apiVersion: x/v1\nkind: Foo\ndata:\n{keys}{repeats}")).is_sound());
    assert!(!read("f.yaml", &format!("{AUTH}spec:\n{keys}")).is_sound());
}

#[test]
fn a_syntax_error_in_one_document_leaves_the_next_one_whole() {
    let text = format!(
        "{ROUTE}spec: {{rules: [\n---\n{LIMIT}spec: {{targetRefs: [{{kind: ApiRoute, name: r}}], limits: [{{name: a, rate: {{requests: 1, per: 1s}}}}]}}\n"
    );
    let reading = read("f.yaml", &text);
    assert_eq!(reading.findings.len(), 1);
    assert_eq!(reading.findings[0].finding.reason, Reason::Unreadable);
    let faults: Vec<_> =
        reading.items.into_iter().map(|mut item| document::faults_of(&mut item.object).len()).collect();
    assert_eq!(faults, [1, 0]);
}

#[test]
fn a_list_is_its_items() {
    let text = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Namespace, metadata: {name: a, creationTimestamp: null}}\n- {apiVersion: v1, kind: Namespace, metadata: {name: b}, status: {phase: Active}}\n";
    assert_eq!(told(text), Vec::<String>::new());
    assert_eq!(read("f.yaml", text).items.len(), 2);
}

#[test]
fn a_secrets_values_are_in_no_finding() {
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n";
    for broken in [
        "data: {a: hunter2!}",
        "stringData: {a: [hunter2]}",
        "data: {a: *hunter2}",
        "data: \"hunter2",
        "stringData: hunter2",
        "type: [hunter2]",
    ] {
        let reading = read("f.yaml", &format!("{secret}{broken}\n"));
        assert!(!reading.is_sound(), "{broken}");
        assert!(!format!("{:?}", reading.findings).contains("hunter2"), "{broken}: {:?}", reading.findings);
    }
}

#[test]
fn every_kind_has_a_schema_and_every_rule_of_the_crds_can_be_evaluated() {
    for kind in Kind::ALL {
        schema_of(kind);
    }
    for crd in ravelin_crds::generate::all() {
        let text = serde_json::to_string(&crd).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        rules(&value, &mut |rule| {
            cel::Program::compile(rule).unwrap_or_else(|error| panic!("{rule}: {error}"));
        });
        for pattern in text.split("\"pattern\":").skip(1) {
            let mut values = serde_json::Deserializer::from_str(pattern).into_iter::<String>();
            let pattern = values.next().unwrap().unwrap();
            regex_automata::meta::Regex::new(&pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
        }
    }
}

fn rules(value: &serde_json::Value, visit: &mut impl FnMut(&str)) {
    match value {
        serde_json::Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    serde_json::Value::Array(entries) if name == "x-kubernetes-validations" => {
                        entries.iter().filter_map(|entry| entry["rule"].as_str()).for_each(&mut *visit);
                    }
                    value => rules(value, visit),
                }
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| rules(item, visit)),
        _ => {}
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        read("f.yaml", &String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn no_damage_to_a_good_file_makes_it_panic(at in 0_usize..400, with in "[ -~\\n]{0,4}", cut in 0_usize..8) {
        let good = format!("{ROUTE}spec:\n  hostnames: [a.example]\n  rules:\n  - matches: [{{path: {{value: /x}}}}]\n    timeouts: {{request: 1s}}\n    backendRefs: [{{name: a, port: 80, weight: 3}}]\n---\n{AUTH}spec:\n  targetRefs: [{{kind: ApiRoute, name: r}}]\n  network: {{allow: [10.0.0.0/8]}}\n");
        let at = at.min(good.len());
        let end = (at + cut).min(good.len());
        read("f.yaml", &format!("{}{with}{}", &good[..at], &good[end..]));
    }
}
