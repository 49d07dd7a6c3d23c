//! From the parsed form to the typed tree: names, members, literals. Operators and functions are in [`super::call`].

use cel::IdedExpr;
use cel::common::ast::{EntryExpr, Expr, ListExpr, LiteralValue, MapExpr, SelectExpr, SourceInfo};
use ravelin_snapshot::expression::{Attribute, Node};

use super::{ExpressionError, environment, kind::Kind};

pub(super) struct Typed {
    pub(super) node: Node,
    pub(super) kind: Kind,
}

pub(super) type Outcome = Result<Typed, ExpressionError>;

pub(super) struct Checker<'a> {
    pub(super) source: &'a str,
    info: &'a SourceInfo,
    /// Of the comprehensions around, the outermost first.
    pub(super) variables: Vec<(String, Kind)>,
}

impl<'a> Checker<'a> {
    pub(super) fn new(source: &'a str, info: &'a SourceInfo) -> Self {
        Self { source, info, variables: Vec::new() }
    }

    /// The typed form of `expr`. Recursion is as deep as [`super::outline`] lets it be.
    pub(super) fn check(&mut self, expr: &IdedExpr) -> Outcome {
        match &expr.expr {
            Expr::Literal(value) => Ok(literal(value)),
            Expr::Ident(name) => self.name(expr, name),
            Expr::Select(select) => self.select(expr, select),
            Expr::Call(call) => self.call(expr, call),
            Expr::List(list) => self.list(list),
            Expr::Map(map) => self.map(map),
            Expr::Struct(message) => {
                let text = format!("there is no message type {}", message.type_name);
                Err(self.refuse(expr, text, "write a map, as in {'a': 1}"))
            }
            Expr::Comprehension(_) | Expr::Unspecified => {
                Err(self.refuse(expr, "the expression cannot be read", "write a CEL expression"))
            }
        }
    }

    fn name(&mut self, expr: &IdedExpr, name: &str) -> Outcome {
        if let Some(depth) = self.variables.iter().rposition(|(variable, _)| variable == name) {
            let kind = self.variables[depth].1.clone();
            return Ok(Typed { node: Node::Variable(u32::try_from(depth).unwrap_or(u32::MAX)), kind });
        }
        if let Some(attribute) = environment::value(name) {
            return Ok(Typed { node: Node::Attribute(attribute), kind: environment::kind(attribute) });
        }
        if environment::members(name).is_some() {
            let members = environment::list_members(name);
            return Err(self.refuse(expr, format!("{name} is not a value"), format!("name a member of it: {members}")));
        }
        let known = self.variables.iter().map(|(variable, _)| variable.as_str()).chain(environment::names());
        let hyphen = self.source[..self.start(expr)].ends_with('-');
        let remedy = match environment::closest(name, known) {
            Some(close) => format!("did you mean {close}?"),
            None if hyphen => "write names with a hyphen in brackets, as in request.headers['x-tier']".to_owned(),
            None => format!("use one of {}; texts need quotes", environment::names().collect::<Vec<_>>().join(", ")),
        };
        Err(self.refuse(expr, format!("{name}: no such name"), remedy))
    }

    fn select(&mut self, expr: &IdedExpr, select: &SelectExpr) -> Outcome {
        if let Some((group, members)) = self.group(&select.operand) {
            return self.member(expr, &select.field, group, members);
        }
        let of = self.check(&select.operand)?;
        let kind = self.entry_kind(expr, &of, &select.field)?;
        Ok(Typed { node: Node::Select { of: Box::new(of.node), member: select.field.clone() }, kind })
    }

    /// The members of `request` and its kin, if `expr` is one of these and not a variable of that name.
    pub(super) fn group<'e>(&self, expr: &'e IdedExpr) -> Option<(&'e str, &'static [(&'static str, Attribute)])> {
        let Expr::Ident(name) = &expr.expr else { return None };
        let is_variable = self.variables.iter().any(|(variable, _)| variable == name);
        environment::members(name).filter(|_| !is_variable).map(|members| (name.as_str(), members))
    }

    fn member(&self, expr: &IdedExpr, name: &str, group: &str, members: &[(&str, Attribute)]) -> Outcome {
        if let Some((_, attribute)) = members.iter().find(|(member, _)| *member == name) {
            return Ok(Typed { node: Node::Attribute(*attribute), kind: environment::kind(*attribute) });
        }
        let remedy = match environment::closest(name, members.iter().map(|(member, _)| *member)) {
            Some(close) => format!("did you mean {group}.{close}?"),
            None => format!("use one of {}", environment::list_members(group)),
        };
        Err(self.refuse_member(expr, name, format!("{group}.{name}: no such member"), remedy))
    }

    /// The kind of the entry `member` of `of`: a map's or a dynamic value's.
    pub(super) fn entry_kind(&self, expr: &IdedExpr, of: &Typed, member: &str) -> Result<Kind, ExpressionError> {
        match &of.kind {
            Kind::Map(key, value) if Kind::String.fits(key) => {
                self.header_name(&of.node, member, self.member_offset(expr, member))?;
                Ok((**value).clone())
            }
            Kind::Dyn => Ok(Kind::Dyn),
            kind => {
                let message = format!("{kind} has no member {member}");
                let remedy = match kind {
                    Kind::Map(..) => "write the key in brackets",
                    _ => "call a function, as in text.startsWith('a') or list.exists(x, x == 'a')",
                };
                Err(self.refuse_member(expr, member, message, remedy))
            }
        }
    }

    /// Names of headers are in lower case; another spelling would never be found.
    pub(super) fn header_name(&self, of: &Node, name: &str, offset: usize) -> Result<(), ExpressionError> {
        if *of != Node::Attribute(Attribute::RequestHeaders) || !name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Ok(());
        }
        let remedy = format!("write request.headers['{}']", name.to_ascii_lowercase());
        Err(ExpressionError::at(self.source, offset, format!("{name}: header names are in lower case"), remedy))
    }

    fn list(&mut self, list: &ListExpr) -> Outcome {
        let mut items = Vec::with_capacity(list.elements.len());
        let mut kind = None;
        for element in &list.elements {
            let item = self.check(element)?;
            kind = Some(joined(kind, item.kind));
            items.push(item.node);
        }
        Ok(Typed { node: Node::List(items), kind: Kind::list(kind.unwrap_or(Kind::Dyn)) })
    }

    fn map(&mut self, map: &MapExpr) -> Outcome {
        let mut entries = Vec::with_capacity(map.entries.len());
        let (mut keys, mut values) = (None, None);
        for entry in &map.entries {
            let EntryExpr::MapEntry(entry) = &entry.expr else {
                return Err(self.refuse(
                    &IdedExpr::default(),
                    "the expression cannot be read",
                    "write a CEL expression",
                ));
            };
            let key = self.check(&entry.key)?;
            if !matches!(key.kind, Kind::Bool | Kind::Int | Kind::Uint | Kind::String | Kind::Dyn) {
                let message = format!("{} cannot be a map's key", key.kind);
                return Err(self.refuse(&entry.key, message, "use a string, an int, a uint or a bool"));
            }
            if entries.iter().any(|(other, _)| *other == key.node) && is_constant(&key.node) {
                return Err(self.refuse(&entry.key, "the map has this key twice", "leave one of them out"));
            }
            let value = self.check(&entry.value)?;
            keys = Some(joined(keys, key.kind));
            values = Some(joined(values, value.kind));
            entries.push((key.node, value.node));
        }
        let kind = Kind::map(keys.unwrap_or(Kind::Dyn), values.unwrap_or(Kind::Dyn));
        Ok(Typed { node: Node::Map(entries), kind })
    }

    /// An error at the beginning of `expr`.
    pub(super) fn refuse(
        &self,
        expr: &IdedExpr,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> ExpressionError {
        ExpressionError::at(self.source, self.start(expr), message, remedy)
    }

    fn refuse_member(
        &self,
        expr: &IdedExpr,
        member: &str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> ExpressionError {
        ExpressionError::at(self.source, self.member_offset(expr, member), message, remedy)
    }

    /// Where `expr` begins: the library keeps the place of a node's operator, its first operand may be before.
    pub(super) fn start(&self, expr: &IdedExpr) -> usize {
        let own = self.operator(expr);
        match &expr.expr {
            Expr::Call(call) => {
                let first =
                    call.target.as_deref().or_else(|| call.args.first().filter(|_| is_operator(&call.func_name)));
                match first {
                    Some(operand) => own.min(self.start(operand)),
                    None => own.saturating_sub(call.func_name.len()),
                }
            }
            Expr::Select(select) => own.min(self.start(&select.operand)),
            _ => own,
        }
    }

    /// Where the operator, the dot or the bracket of `expr` is.
    pub(super) fn operator(&self, expr: &IdedExpr) -> usize {
        self.info.offset_for(expr.id).map_or(0, |(start, _)| start as usize)
    }

    /// Where the name behind the dot of `expr` is.
    fn member_offset(&self, expr: &IdedExpr, member: &str) -> usize {
        let dot = self.operator(expr);
        self.source.get(dot..).and_then(|rest| rest.find(member)).map_or(dot, |distance| dot + distance)
    }
}

/// `&&`, `[]` and their kin have the names `_&&_`, `_[_]`, which no function can have.
fn is_operator(name: &str) -> bool {
    name.contains('_') && !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') || name == "@in"
}

fn is_constant(node: &Node) -> bool {
    matches!(node, Node::Bool(_) | Node::Int(_) | Node::Uint(_) | Node::String(_))
}

fn joined(so_far: Option<Kind>, next: Kind) -> Kind {
    match so_far {
        Some(kind) => kind.join(next).unwrap_or(Kind::Dyn),
        None => next,
    }
}

fn literal(value: &LiteralValue) -> Typed {
    let (node, kind) = match value {
        LiteralValue::Null => (Node::Null, Kind::Null),
        LiteralValue::Boolean(value) => (Node::Bool(*value.inner()), Kind::Bool),
        LiteralValue::Int(value) => (Node::Int(*value.inner()), Kind::Int),
        LiteralValue::UInt(value) => (Node::Uint(*value.inner()), Kind::Uint),
        LiteralValue::Double(value) => (Node::Double(*value.inner()), Kind::Double),
        LiteralValue::String(value) => (Node::String(value.inner().to_owned()), Kind::String),
        LiteralValue::Bytes(value) => (Node::Bytes(value.inner().to_vec()), Kind::Bytes),
    };
    Typed { node, kind }
}
