//! Calls by name: methods, conversions, `size`, and what is no function at all.

use cel::IdedExpr;
use cel::common::ast::Expr;
use ravelin_snapshot::expression::{Function, Node};

use super::call::calls;
use super::check::{Checker, Outcome, Typed};
use super::constant::{self, Refusal};
use super::signature::{self, Signature};
use super::{ExpressionError, environment, kind::Kind};

impl Checker<'_> {
    pub(super) fn function(
        &mut self,
        expr: &IdedExpr,
        name: &str,
        target: Option<&IdedExpr>,
        arguments: &[IdedExpr],
    ) -> Outcome {
        match (name, target, arguments) {
            ("size", Some(of), []) | ("size", None, [of]) => self.size(of),
            ("dyn", None, [of]) => Ok(Typed { kind: Kind::Dyn, ..self.check(of)? }),
            ("containsIP", Some(range), [address]) => self.contains_ip(range, address),
            (_, None, [of]) if signature::conversion(name).is_some() => self.conversion(expr, name, of),
            (_, Some(of), _) => match signature::method(name) {
                Some(signature) => self.method(expr, name, &signature, of, arguments),
                None => {
                    self.check(of)?; // its own error is nearer to the cause
                    Err(self.unknown(expr, name))
                }
            },
            (_, None, _) => Err(self.unknown(expr, name)),
        }
    }

    fn size(&mut self, of: &IdedExpr) -> Outcome {
        let typed = self.check(of)?;
        if matches!(typed.kind, Kind::String | Kind::Bytes | Kind::List(_) | Kind::Map(..) | Kind::Dyn) {
            return Ok(Typed { node: calls(Function::Size, [typed.node]), kind: Kind::Int });
        }
        let message = format!("size expects a string, bytes, a list or a map, found {}", typed.kind);
        Err(self.refuse(of, message, "leave size out, or convert the value with string(...)"))
    }

    fn conversion(&mut self, expr: &IdedExpr, name: &str, of: &IdedExpr) -> Outcome {
        let typed = self.check(of)?;
        let Some((function, kind, takes)) = signature::conversion(name) else { return Err(self.unknown(expr, name)) };
        if typed.kind == kind {
            return Ok(typed);
        }
        if typed.kind != Kind::Dyn && !takes.contains(&typed.kind) {
            let takes = takes.iter().map(Kind::to_string).collect::<Vec<_>>().join(", ");
            return Err(self.refuse(
                of,
                format!("{name}() cannot convert {}", typed.kind),
                format!("it takes {takes}"),
            ));
        }
        let constant = self.tried(of, constant::convert(function, &typed.node))?;
        Ok(Typed { node: constant.unwrap_or_else(|| calls(function, [typed.node])), kind })
    }

    /// `cidr('10.0.0.0/8').containsIP(source.address)`
    fn contains_ip(&mut self, range: &IdedExpr, address_expr: &IdedExpr) -> Outcome {
        let constant = match &range.expr {
            Expr::Call(call) if call.func_name == "cidr" && call.target.is_none() && call.args.len() == 1 => {
                Some(&call.args[0])
            }
            _ => None,
        };
        let Some(text_expr) = constant else {
            let remedy = "write cidr('10.0.0.0/8').containsIP(source.address)";
            return Err(self.refuse(range, "containsIP is a function of cidr(...)", remedy));
        };
        let Typed { node: Node::String(text), .. } = self.check(text_expr)? else {
            return Err(self.refuse(text_expr, "cidr() expects a constant text", "write the range itself"));
        };
        self.tried(text_expr, constant::cidr(&text))?;
        let address = self.check(address_expr)?;
        if !address.kind.fits(&Kind::String) {
            let message = format!("containsIP expects string, found {}", address.kind);
            return Err(self.refuse(address_expr, message, "give it source.address"));
        }
        Ok(Typed { node: calls(Function::CidrContainsIp, [Node::String(text), address.node]), kind: Kind::Bool })
    }

    fn method(
        &mut self,
        expr: &IdedExpr,
        name: &str,
        signature: &Signature,
        of: &IdedExpr,
        arguments: &[IdedExpr],
    ) -> Outcome {
        let receiver = self.check(of)?;
        let is_total =
            receiver.kind == Kind::Duration && signature::is_total(signature.function) && arguments.is_empty();
        if !receiver.kind.fits(&signature.receiver) && !is_total {
            let message = format!("{name} is a function of {}, this is {}", signature.receiver, receiver.kind);
            return Err(self.refuse(of, message, format!("convert the value to {}", signature.receiver)));
        }
        let most = signature.arguments.len();
        let least = most - signature.optional;
        if !(least..=most).contains(&arguments.len()) {
            let counts = if least == most { most.to_string() } else { format!("{least} or {most}") };
            let message = format!(
                "{name} takes {counts} argument{}, found {}",
                if most == 1 { "" } else { "s" },
                arguments.len()
            );
            let offset = self.operator(expr);
            return Err(ExpressionError::at(self.source, offset, message, format!("give it {counts}")));
        }
        let mut nodes = vec![receiver.node];
        for (argument, wanted) in arguments.iter().zip(&signature.arguments) {
            let typed = self.check(argument)?;
            if !typed.kind.fits(wanted) {
                let message = format!("{name} expects {wanted}, found {}", typed.kind);
                return Err(self.refuse(argument, message, format!("give it a {wanted}")));
            }
            if let (Kind::Timestamp, Node::String(zone)) = (&signature.receiver, &typed.node) {
                self.tried(argument, constant::zone(zone))?;
            }
            nodes.push(typed.node);
        }
        Ok(Typed { node: calls(signature.function, nodes), kind: signature.result.clone() })
    }

    fn tried<T>(&self, expr: &IdedExpr, outcome: Result<T, Refusal>) -> Result<T, ExpressionError> {
        outcome.map_err(|(message, remedy)| self.refuse(expr, message, remedy))
    }

    /// What is called `name` is no function, or none that is called in this way.
    pub(super) fn unknown(&self, expr: &IdedExpr, name: &str) -> ExpressionError {
        let bracket = self.operator(expr);
        let offset = self.source.get(..bracket).and_then(|before| before.rfind(name)).unwrap_or(bracket);
        if signature::NAMES.contains(&name) {
            let message = format!("{name} is not called in this way");
            return ExpressionError::at(self.source, offset, message, usage(name));
        }
        let remedy = match environment::closest(name, signature::NAMES) {
            Some(close) => format!("did you mean {close}?"),
            None => "use a function of CEL's standard library, such as startsWith, matches or size".to_owned(),
        };
        ExpressionError::at(self.source, offset, format!("unknown function {name}"), remedy)
    }
}

/// How the function `name` is called.
fn usage(name: &str) -> String {
    match name {
        "has" => "write has(caller.claims.team)".into(),
        "cidr" => "write cidr('10.0.0.0/8').containsIP(source.address)".into(),
        "containsIP" => "write cidr('10.0.0.0/8').containsIP(source.address)".into(),
        "matches" => "write text.matches('pattern')".into(),
        "size" => "write size(value) or value.size()".into(),
        _ if signature::comprehension(name).is_some() => format!("write list.{name}(x, condition)"),
        _ => match signature::method(name) {
            Some(signature) => {
                let arguments = signature.arguments.iter().map(Kind::to_string).collect::<Vec<_>>().join(", ");
                format!("write {}.{name}({arguments})", signature.receiver)
            }
            None => format!("write {name}(value)"),
        },
    }
}
