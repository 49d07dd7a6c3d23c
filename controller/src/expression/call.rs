//! Operators, macros and functions, checked against their operands' types.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr, operators};
use ravelin_snapshot::expression::{Comprehension, Function, MAX_NESTED_LOOPS, Node};

use super::check::{Checker, Outcome, Typed};
use super::{ExpressionError, constant, environment, kind::Kind, signature};

impl Checker<'_> {
    pub(super) fn call(&mut self, expr: &IdedExpr, call: &CallExpr) -> Outcome {
        let name = call.func_name.as_str();
        match (name, call.target.as_deref(), call.args.as_slice()) {
            (operators::LOGICAL_AND, None, [left, right]) => self.logic(name, left, right, Node::And),
            (operators::LOGICAL_OR, None, [left, right]) => self.logic(name, left, right, Node::Or),
            (operators::CONDITIONAL, None, [condition, then, otherwise]) => {
                self.conditional(condition, then, otherwise)
            }
            (operators::INDEX, None, [of, index]) => self.index(of, index),
            (operators::IN, None, [value, container]) => self.membership(expr, value, container),
            (_, None, [operand]) if signature::unary(name).is_some() => self.unary(expr, name, operand),
            (_, None, [left, right]) if signature::relation(name).is_some() => self.relation(expr, name, left, right),
            (_, None, [left, right]) if signature::arithmetic(name).is_some() => {
                self.arithmetic(expr, name, left, right)
            }
            ("has", None, [tested]) => self.has(tested),
            ("map", Some(over), [variable, condition, value]) => self.map_if(over, variable, condition, value),
            (_, Some(over), [variable, body]) if signature::comprehension(name).is_some() => {
                self.comprehension(name, over, variable, body)
            }
            ("matches", Some(text), [pattern]) | ("matches", None, [text, pattern]) => self.matches(text, pattern),
            (_, target, arguments) => self.function(expr, name, target, arguments),
        }
    }

    fn logic(
        &mut self,
        name: &str,
        left: &IdedExpr,
        right: &IdedExpr,
        node: fn(Box<Node>, Box<Node>) -> Node,
    ) -> Outcome {
        let operator = name.trim_matches('_');
        let left = self.condition(left, operator)?;
        let right = self.condition(right, operator)?;
        Ok(Typed { node: node(Box::new(left), Box::new(right)), kind: Kind::Bool })
    }

    /// `expr`, which has to be a bool for `user`.
    fn condition(&mut self, expr: &IdedExpr, user: &str) -> Result<Node, ExpressionError> {
        let typed = self.check(expr)?;
        if typed.kind.fits(&Kind::Bool) {
            return Ok(typed.node);
        }
        let message = format!("{user} expects bool, found {}", typed.kind);
        Err(self.refuse(expr, message, "write a condition, as in request.method == 'GET'"))
    }

    fn conditional(&mut self, condition: &IdedExpr, then: &IdedExpr, otherwise: &IdedExpr) -> Outcome {
        let condition = self.condition(condition, "?")?;
        let then = self.check(then)?;
        let typed = self.check(otherwise)?;
        let Some(kind) = then.kind.clone().join(typed.kind.clone()) else {
            let message = format!("one side of ? is {}, the other {}", then.kind, typed.kind);
            return Err(self.refuse(otherwise, message, "give both sides one type"));
        };
        let (condition, then, otherwise) = (Box::new(condition), Box::new(then.node), Box::new(typed.node));
        Ok(Typed { node: Node::Conditional { condition, then, otherwise }, kind })
    }

    fn index(&mut self, of_expr: &IdedExpr, index_expr: &IdedExpr) -> Outcome {
        let of = self.check_container(of_expr)?;
        let index = self.check(index_expr)?;
        let (wanted, kind) = match &of.kind {
            Kind::List(item) => (Kind::Int, (**item).clone()),
            Kind::Map(key, value) => ((**key).clone(), (**value).clone()),
            Kind::Dyn => (Kind::Dyn, Kind::Dyn),
            kind => {
                let message = format!("{kind} has no members");
                return Err(self.refuse(of_expr, message, "use [] with a list or a map"));
            }
        };
        let is_number = matches!(of.kind, Kind::List(_)) && index.kind == Kind::Double;
        if is_number || !index.kind.may_equal(&wanted) {
            let message = format!("{} has no member of type {}", of.kind, index.kind);
            return Err(self.refuse(index_expr, message, format!("use a value of type {wanted}")));
        }
        self.constant_header(&of.node, &index.node, index_expr)?;
        Ok(Typed { node: Node::Index { of: Box::new(of.node), index: Box::new(index.node) }, kind })
    }

    /// As [`Checker::check`], with a better word for `request['path']`.
    fn check_container(&mut self, expr: &IdedExpr) -> Outcome {
        match self.group(expr) {
            Some((group, _)) => {
                let remedy = format!("name a member: {}", environment::list_members(group));
                Err(self.refuse(expr, format!("{group} is not a map"), remedy))
            }
            None => self.check(expr),
        }
    }

    fn membership(&mut self, expr: &IdedExpr, value_expr: &IdedExpr, container_expr: &IdedExpr) -> Outcome {
        let value = self.check(value_expr)?;
        let container = self.check_container(container_expr)?;
        let item = match &container.kind {
            Kind::List(item) => &**item,
            Kind::Map(key, _) => &**key,
            Kind::Dyn => &Kind::Dyn,
            kind => {
                let message = format!("in expects a list or a map, found {kind}");
                return Err(self.refuse(container_expr, message, "for a part of a text write text.contains('part')"));
            }
        };
        if !value.kind.may_equal(item) {
            let message = format!("{} is never in {}", value.kind, container.kind);
            return Err(ExpressionError::at(self.source, self.operator(expr), message, "compare values of one type"));
        }
        self.constant_header(&container.node, &value.node, value_expr)?;
        Ok(Typed { node: calls(Function::In, [value.node, container.node]), kind: Kind::Bool })
    }

    fn constant_header(&self, of: &Node, name: &Node, expr: &IdedExpr) -> Result<(), ExpressionError> {
        match name {
            Node::String(name) => self.header_name(of, name, self.start(expr)),
            _ => Ok(()),
        }
    }

    fn unary(&mut self, expr: &IdedExpr, name: &str, operand_expr: &IdedExpr) -> Outcome {
        let operand = self.check(operand_expr)?;
        let Some((function, operator)) = signature::unary(name) else { return Err(self.unknown(expr, name)) };
        let fits = match function {
            Function::Not => operand.kind.fits(&Kind::Bool),
            _ => matches!(operand.kind, Kind::Int | Kind::Double | Kind::Dyn),
        };
        if !fits {
            let wanted = if function == Function::Not { "bool" } else { "int or double" };
            let message = format!("{operator} expects {wanted}, found {}", operand.kind);
            return Err(self.refuse(operand_expr, message, "compare or convert the value first"));
        }
        Ok(Typed { kind: operand.kind, node: calls(function, [operand.node]) })
    }

    fn relation(&mut self, expr: &IdedExpr, name: &str, left: &IdedExpr, right: &IdedExpr) -> Outcome {
        let left = self.check(left)?;
        let right_typed = self.check(right)?;
        let Some((function, operator)) = signature::relation(name) else { return Err(self.unknown(expr, name)) };
        let equality = matches!(function, Function::Equal | Function::NotEqual);
        let ordered = equality || left.kind.is_ordered() && right_typed.kind.is_ordered();
        if !ordered || !left.kind.may_equal(&right_typed.kind) {
            let message = format!("{operator} cannot compare {} and {}", left.kind, right_typed.kind);
            let remedy = "compare values of one type: convert one with string(...), int(...) or timestamp(...)";
            return Err(ExpressionError::at(self.source, self.operator(expr), message, remedy));
        }
        Ok(Typed { node: calls(function, [left.node, right_typed.node]), kind: Kind::Bool })
    }

    fn arithmetic(&mut self, expr: &IdedExpr, name: &str, left: &IdedExpr, right: &IdedExpr) -> Outcome {
        let left = self.check(left)?;
        let right = self.check(right)?;
        let Some((function, operator)) = signature::arithmetic(name) else { return Err(self.unknown(expr, name)) };
        let Some(kind) = signature::result(function, &left.kind, &right.kind) else {
            let message = format!("{operator} cannot take {} and {}", left.kind, right.kind);
            let remedy = "convert one of them, with int(...), double(...) or string(...)";
            return Err(ExpressionError::at(self.source, self.operator(expr), message, remedy));
        };
        Ok(Typed { node: calls(function, [left.node, right.node]), kind })
    }

    fn has(&mut self, tested: &IdedExpr) -> Outcome {
        let Expr::Select(select) = &tested.expr else {
            return Err(self.refuse(
                tested,
                "has() expects a member",
                "write has(caller.claims.team), or 'team' in caller.claims",
            ));
        };
        if let Some((group, _)) = self.group(&select.operand) {
            self.check(tested)?;
            let message = format!("{group}.{} is always there", select.field);
            return Err(self.refuse(tested, message, "compare its value, as in caller.id != ''"));
        }
        let of = self.check(&select.operand)?;
        self.entry_kind(tested, &of, &select.field)?;
        Ok(Typed { node: Node::Has { of: Box::new(of.node), member: select.field.clone() }, kind: Kind::Bool })
    }

    fn comprehension(&mut self, name: &str, over: &IdedExpr, variable: &IdedExpr, body_expr: &IdedExpr) -> Outcome {
        let (over, item) = self.iterable(over, name)?;
        self.enter(variable, item.clone(), name)?;
        let body = self.check(body_expr);
        self.variables.pop();
        let body = body?;
        let kind = signature::comprehension(name).unwrap_or(Comprehension::Map);
        if kind != Comprehension::Map && !body.kind.fits(&Kind::Bool) {
            let message = format!("{name} expects bool, found {}", body.kind);
            return Err(self.refuse(body_expr, message, "write a condition on the variable, as in x == 'a'"));
        }
        let result = match kind {
            Comprehension::Map => Kind::list(body.kind),
            Comprehension::Filter => Kind::list(item),
            Comprehension::All | Comprehension::Exists | Comprehension::ExistsOne => Kind::Bool,
        };
        let node = Node::Comprehension { kind, over: Box::new(over), body: Box::new(body.node) };
        Ok(Typed { node, kind: result })
    }

    fn map_if(&mut self, over: &IdedExpr, variable: &IdedExpr, condition: &IdedExpr, value: &IdedExpr) -> Outcome {
        let (over, item) = self.iterable(over, "map")?;
        self.enter(variable, item, "map")?;
        let body = self.condition(condition, "map").and_then(|condition| Ok((condition, self.check(value)?)));
        self.variables.pop();
        let (condition, value) = body?;
        let kind = Kind::list(value.kind);
        let node = Node::MapIf { over: Box::new(over), condition: Box::new(condition), value: Box::new(value.node) };
        Ok(Typed { node, kind })
    }

    /// What a comprehension runs over, and the kind of its variable: a list's items, a map's keys.
    fn iterable(&mut self, expr: &IdedExpr, name: &str) -> Result<(Node, Kind), ExpressionError> {
        let over = self.check_container(expr)?;
        match over.kind {
            Kind::List(item) | Kind::Map(item, _) => Ok((over.node, *item)),
            Kind::Dyn => Ok((over.node, Kind::Dyn)),
            kind => {
                let message = format!("{name} expects a list or a map, found {kind}");
                Err(self.refuse(expr, message, format!("write list.{name}(x, ...)")))
            }
        }
    }

    fn enter(&mut self, variable: &IdedExpr, kind: Kind, name: &str) -> Result<(), ExpressionError> {
        let Expr::Ident(text) = &variable.expr else {
            let message = format!("{name} expects the name of a variable first");
            return Err(self.refuse(variable, message, format!("write list.{name}(x, ...)")));
        };
        if self.variables.len() == MAX_NESTED_LOOPS {
            let message = format!("{name} is within {MAX_NESTED_LOOPS} others of its kind; no more are allowed");
            return Err(self.refuse(variable, message, "split the expression"));
        }
        self.variables.push((text.clone(), kind));
        Ok(())
    }

    fn matches(&mut self, text_expr: &IdedExpr, pattern_expr: &IdedExpr) -> Outcome {
        let text = self.check(text_expr)?;
        if !text.kind.fits(&Kind::String) {
            let message = format!("matches expects string, found {}", text.kind);
            return Err(self.refuse(text_expr, message, "convert it with string(...)"));
        }
        let Typed { node: Node::String(pattern), .. } = self.check(pattern_expr)? else {
            let remedy = "write the pattern itself; for a text that varies use startsWith, endsWith, contains or ==";
            return Err(self.refuse(pattern_expr, "the pattern of matches must be a constant text", remedy));
        };
        constant::pattern(&pattern).map_err(|(message, remedy)| self.refuse(pattern_expr, message, remedy))?;
        Ok(Typed { node: Node::Matches { text: Box::new(text.node), pattern }, kind: Kind::Bool })
    }
}

pub(super) fn calls(function: Function, arguments: impl Into<Vec<Node>>) -> Node {
    Node::Call { function, arguments: arguments.into() }
}
