//! `ravelin effective`: the policies in force for each rule of a route, with the place that each of their fields is from.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context, bail};
use clap::Args;
use ravelin_controller::{
    compile::{Options, compile},
    files::{Positions, read_once},
    model::Model,
    object::{Kind, ObjectRef},
};
use ravelin_crds::PolicyTargetRef;
use ravelin_dataplane::explain::Plain;
use ravelin_snapshot::{ObjectKey, PolicyKey, route};
use serde::Serialize;
use serde_json::Value;

use crate::output::Output;

/// Show which policies are in force for each rule of a route, and where each of their fields stands
///
/// Policies do not merge: one AuthPolicy decides; limits of all RateLimitPolicies add up. What a policy does not say has its default, and is not
/// shown.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  ravelin effective examples/shop shop\n  ravelin effective policies/ bank/accounts -o json"
)]
pub(crate) struct EffectiveArgs {
    /// A file, a folder, or - for the standard input
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// An ApiRoute: NAME, or NAMESPACE/NAME
    #[arg(value_name = "ROUTE")]
    route: String,
    /// text for people, json for machines
    #[arg(short, long, value_enum, default_value_t = Output::Text, value_name = "FORM")]
    output: Output,
}

#[derive(Debug, Serialize)]
struct Rule {
    route: String,
    rule: String,
    policies: Vec<Policy>,
}

#[derive(Debug, Serialize)]
struct Policy {
    kind: &'static str,
    name: String,
    /// What of the route it is for: `rule`, `route`, `namespace`.
    #[serde(rename = "for")]
    of: &'static str,
    /// It cannot be enforced, and closes the rule.
    closed: bool,
    /// The field that attaches it, and where that stands.
    #[serde(flatten)]
    origin: Field,
    fields: Vec<Field>,
}

#[derive(Debug, Serialize)]
struct Field {
    field: String,
    value: Value,
    file: String,
    line: usize,
}

pub(crate) fn run(args: &EffectiveArgs) -> anyhow::Result<ExitCode> {
    let path = args.path.display();
    let once = read_once(std::slice::from_ref(&args.path));
    if !once.complete {
        bail!("{path} could not be read; `ravelin check {path}` says why");
    }
    let compiled = compile(&once.world.model, Options::default(), None);
    let key = key(&once.world.model, &args.route)?;
    let route = compiled.snapshot.routes.get(&key);
    let route = route.with_context(|| format!("ApiRoute {key} is not served; `ravelin check {path}` says why"))?;
    let world = World { model: &once.world.model, positions: &once.positions, route: &key };
    let rules: Vec<Rule> = route.rules.iter().map(|rule| world.rule(rule)).collect();
    let mut out = io::stdout().lock();
    match args.output {
        Output::Json => writeln!(out, "{}", serde_json::to_string(&serde_json::json!({ "rules": rules }))?)?,
        Output::Text => print(&rules, &mut out)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Without a namespace it is the one route of that name.
fn key(model: &Model, said: &str) -> anyhow::Result<ObjectKey> {
    if let Some((namespace, name)) = said.split_once('/') {
        let key = ObjectKey::new(namespace, name);
        return model.routes.get(&key).map(|_| key).with_context(|| format!("there is no ApiRoute {said}"));
    }
    let mut named = model.routes.iter().map(|(key, _)| key).filter(|key| key.name == said);
    match (named.next(), named.next()) {
        (Some(only), None) => Ok(only.clone()),
        (None, _) => bail!("there is no ApiRoute {said}"),
        (Some(first), Some(other)) => bail!("there are several: say {first} or {other}"),
    }
}

struct World<'a> {
    model: &'a Model,
    positions: &'a Positions,
    route: &'a ObjectKey,
}

impl World<'_> {
    fn rule(&self, rule: &route::Rule) -> Rule {
        let auth = self.policy(Kind::AuthPolicy, &rule.auth, &rule.name);
        let limits = rule.limits.iter().filter_map(|guard| self.policy(Kind::RateLimitPolicy, guard, &rule.name));
        Rule {
            route: self.route.to_string(),
            rule: rule.name.clone(),
            policies: auth.into_iter().chain(limits).collect(),
        }
    }

    fn policy(&self, kind: Kind, guard: &route::Guard, rule: &str) -> Option<Policy> {
        let (key, closed) = match guard {
            route::Guard::Open => return None,
            route::Guard::Policy(key) => (key, false),
            route::Guard::Closed(key) => (key, true),
        };
        let (targets, spec) = self.said(kind, key)?;
        let (index, of) = self.attached(&targets, rule);
        let object = ObjectRef::new(kind, key.clone());
        let mut fields = Vec::new();
        if let Value::Object(spec) = spec {
            let said = spec.iter().filter(|(name, _)| *name != "targetRefs");
            said.for_each(|(name, value)| self.fields(&object, &format!("spec.{name}"), value, &mut fields));
        }
        let field = format!("spec.targetRefs[{index}]");
        let value = targets.get(index).and_then(|target| serde_json::to_value(target).ok()).unwrap_or_default();
        let origin = self.field(&object, field, value);
        Some(Policy { kind: kind.as_str(), name: key.to_string(), of, closed, origin, fields })
    }

    fn said(&self, kind: Kind, key: &PolicyKey) -> Option<(Vec<PolicyTargetRef>, Value)> {
        // Invariant: a spec is a tree of plain data, which has a form in JSON.
        if kind == Kind::AuthPolicy {
            let spec = &self.model.auth_policies.get(key)?.spec;
            return Some((spec.target_refs.clone(), serde_json::to_value(spec).unwrap_or_default()));
        }
        let spec = &self.model.rate_limit_policies.get(key)?.spec;
        Some((spec.target_refs.clone(), serde_json::to_value(spec).unwrap_or_default()))
    }

    /// The nearest of the targets.
    fn attached(&self, targets: &[PolicyTargetRef], rule: &str) -> (usize, &'static str) {
        let find = |wanted: &dyn Fn(&PolicyTargetRef) -> bool| targets.iter().position(wanted);
        let here = |target: &PolicyTargetRef| target.kind == "ApiRoute" && target.name == self.route.name;
        let on_rule = find(&|target| here(target) && target.section_name.as_deref() == Some(rule));
        let on_route = || find(&|target| here(target) && target.section_name.is_none()).map(|at| (at, "route"));
        // A section that names no rule closes the whole route.
        let astray = || find(&|target| here(target)).map(|at| (at, "route"));
        let around = || find(&|target| target.kind == "Namespace").map(|at| (at, "namespace"));
        let found = on_rule.map(|at| (at, "rule")).or_else(on_route).or_else(around).or_else(astray);
        found.unwrap_or((0, "namespace"))
    }

    /// The leaves below a value, each with its place.
    fn fields(&self, object: &ObjectRef, field: &str, value: &Value, into: &mut Vec<Field>) {
        match value {
            Value::Object(members) if !members.is_empty() => {
                members.iter().for_each(|(name, value)| self.fields(object, &format!("{field}.{name}"), value, into));
            }
            Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
                let items = items.iter().enumerate();
                items.for_each(|(at, value)| self.fields(object, &format!("{field}[{at}]"), value, into));
            }
            // A key set that stands in a policy may hold a shared key.
            _ if field.ends_with(".jwks.inline") => {
                into.push(self.field(object, field.to_owned(), "[redacted]".into()));
            }
            value => into.push(self.field(object, field.to_owned(), value.clone())),
        }
    }

    fn field(&self, object: &ObjectRef, field: String, value: Value) -> Field {
        let (file, place) = self.positions.locate(object, &field).unwrap_or_default();
        Field { file: file.to_owned(), line: place.line, field, value }
    }
}

fn print(rules: &[Rule], out: &mut impl Write) -> io::Result<()> {
    for Rule { route, rule, policies } in rules {
        writeln!(out, "{} rule {}", Plain(route), Plain(rule))?;
        if policies.is_empty() {
            writeln!(out, "  no policy: open to everybody")?;
        }
        for Policy { kind, name, of, closed, origin, fields } in policies {
            let closed = if *closed { ", broken: it closes the rule" } else { "" };
            let Field { field, file, line, .. } = origin;
            writeln!(out, "  {kind} {}, for the {of}{closed}    {}:{line} {field}", Plain(name), Plain(file))?;
            for Field { field, value, file, line } in fields {
                writeln!(out, "    {} = {}    {}:{line}", Plain(field), Plain(value), Plain(file))?;
            }
        }
    }
    Ok(())
}
