//! Lists and maps: the request's own are looked into where they lie, none is copied.

use std::borrow::Cow;
use std::sync::Arc;

use http::HeaderMap;
use http::header::{COOKIE, HeaderName, HeaderValue, ValueIter};

use super::EvalError;
use super::budget::Budget;
use super::value::{Text, Value};
use crate::query;

#[derive(Clone, Debug)]
pub(super) enum List<'a> {
    /// Scopes, groups.
    Texts(&'a [String]),
    /// Below the claims.
    Json(&'a [serde_json::Value]),
    /// A constant of the program.
    Values(&'a [Value<'a>]),
    Owned(Arc<[Value<'a>]>),
}

#[derive(Clone, Debug)]
pub(super) enum Map<'a> {
    Headers(&'a HeaderMap),
    /// As the client sent it.
    Query(&'a str),
    /// Claims.
    Json(&'a serde_json::Map<String, serde_json::Value>),
    /// A constant of the program.
    Values(&'a [(Value<'a>, Value<'a>)]),
    Owned(Arc<[(Value<'a>, Value<'a>)]>),
}

impl<'a> List<'a> {
    pub(super) fn borrow(&'a self) -> Self {
        match self {
            Self::Owned(items) => Self::Values(items),
            other => other.clone(),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Texts(items) => items.len(),
            Self::Json(items) => items.len(),
            Self::Values(items) => items.len(),
            Self::Owned(items) => items.len(),
        }
    }

    pub(super) fn get(&self, index: usize) -> Option<Value<'a>> {
        match self {
            Self::Texts(items) => items.get(index).map(|text| Value::text(text)),
            Self::Json(items) => items.get(index).map(Value::json),
            Self::Values(items) => items.get(index).map(Value::borrow),
            Self::Owned(items) => items.get(index).cloned(),
        }
    }

    pub(super) fn items(&self) -> impl Iterator<Item = Value<'a>> {
        (0..self.len()).map_while(|index| self.get(index))
    }

    pub(super) fn contains(&self, value: &Value<'_>, budget: &Budget) -> Result<bool, EvalError> {
        if let Value::Text(text) = value {
            return self.contains_text(text.as_str(), budget);
        }
        for item in self.items() {
            budget.spend(1)?;
            if item.equals(value, budget)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(super) fn contains_text(&self, text: &str, budget: &Budget) -> Result<bool, EvalError> {
        budget.spend(self.len())?;
        let is_text = |value: &Value<'_>| matches!(value, Value::Text(item) if item.as_str() == text);
        Ok(match self {
            Self::Texts(items) => items.iter().any(|item| item == text),
            Self::Json(items) => items.iter().any(|item| item.as_str() == Some(text)),
            Self::Values(items) => items.iter().any(is_text),
            Self::Owned(items) => items.iter().any(is_text),
        })
    }

    pub(super) fn equals(&self, other: &List<'_>, budget: &Budget) -> Result<bool, EvalError> {
        if self.len() != other.len() {
            return Ok(false);
        }
        for (left, right) in self.items().zip(other.items()) {
            budget.spend(1)?;
            if !left.equals(&right, budget)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl<'a> Map<'a> {
    pub(super) fn borrow(&'a self) -> Self {
        match self {
            Self::Owned(entries) => Self::Values(entries),
            other => other.clone(),
        }
    }

    /// The entry of `key`, if there is one.
    pub(super) fn get(&self, key: &Value<'_>, budget: &Budget) -> Result<Option<Value<'a>>, EvalError> {
        match (self, key) {
            (Self::Values(entries), _) => Ok(find(entries, key, budget)?.map(Value::borrow)),
            (Self::Owned(entries), _) => Ok(find(entries, key, budget)?.cloned()),
            (_, Value::Text(name)) => self.named(name.as_str(), budget),
            _ => Ok(None),
        }
    }

    /// The entry whose key is the text `name`.
    pub(super) fn named(&self, name: &str, budget: &Budget) -> Result<Option<Value<'a>>, EvalError> {
        match self {
            Self::Headers(headers) => header_named(headers, name).map(|values| joined(values, budget)).transpose(),
            Self::Query(text) => {
                budget.spend_bytes(text.len())?;
                query::first(text, name).map(decoded).transpose()
            }
            Self::Json(entries) => Ok(entries.get(name).map(Value::json)),
            Self::Values(_) | Self::Owned(_) => self.get(&Value::text(name), budget),
        }
    }

    pub(super) fn contains(&self, key: &Value<'_>, budget: &Budget) -> Result<bool, EvalError> {
        match (self, key) {
            (Self::Values(entries), _) => Ok(find(entries, key, budget)?.is_some()),
            (Self::Owned(entries), _) => Ok(find(entries, key, budget)?.is_some()),
            (Self::Headers(headers), Value::Text(name)) => Ok(header_named(headers, name.as_str()).is_some()),
            (Self::Query(text), Value::Text(name)) => {
                budget.spend_bytes(text.len())?;
                Ok(query::first(text, name.as_str()).is_some())
            }
            (Self::Json(entries), Value::Text(name)) => Ok(entries.contains_key(name.as_str())),
            _ => Ok(false),
        }
    }

    pub(super) fn len(&self, budget: &Budget) -> Result<usize, EvalError> {
        match self {
            Self::Headers(headers) => Ok(headers.keys_len()),
            Self::Query(_) => Ok(self.keys(budget)?.len()),
            Self::Json(entries) => Ok(entries.len()),
            Self::Values(entries) => Ok(entries.len()),
            Self::Owned(entries) => Ok(entries.len()),
        }
    }

    /// What a comprehension runs over.
    pub(super) fn keys(&self, budget: &Budget) -> Result<Vec<Value<'a>>, EvalError> {
        let keys: Vec<Value<'a>> = match self {
            Self::Headers(headers) => headers.keys().map(|name| Value::text(name.as_str())).collect(),
            Self::Query(text) => {
                budget.spend_bytes(text.len())?;
                let names = query::names(text).ok_or(EvalError::Conversion)?;
                names.into_iter().map(|name| Value::Text(name.into())).collect()
            }
            Self::Json(entries) => entries.keys().map(|name| Value::text(name)).collect(),
            Self::Values(entries) => entries.iter().map(|(key, _)| key.borrow()).collect(),
            Self::Owned(entries) => entries.iter().map(|(key, _)| key.clone()).collect(),
        };
        budget.spend(keys.len())?;
        Ok(keys)
    }

    pub(super) fn equals(&self, other: &Map<'_>, budget: &Budget) -> Result<bool, EvalError> {
        if self.len(budget)? != other.len(budget)? {
            return Ok(false);
        }
        for key in self.keys(budget)? {
            let (Some(left), Some(right)) = (self.get(&key, budget)?, other.get(&key, budget)?) else {
                return Ok(false);
            };
            if !left.equals(&right, budget)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// A linear search: such maps are as short as the expression that writes them.
fn find<'m, 'a>(
    entries: &'m [(Value<'a>, Value<'a>)],
    key: &Value<'_>,
    budget: &Budget,
) -> Result<Option<&'m Value<'a>>, EvalError> {
    for (other, value) in entries {
        budget.spend(1)?;
        if other.equals(key, budget)? {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

/// The values of a header, by a name that the program does not know as one.
fn header_named<'a>(headers: &'a HeaderMap, name: &str) -> Option<Values<'a>> {
    // The map's keys are in lower case; the library would find others too.
    let is_key = !name.bytes().any(|byte| byte.is_ascii_uppercase());
    let values = headers.get_all(Some(name).filter(|_| is_key)?).into_iter();
    values_of(values, name == COOKIE.as_str())
}

/// The header `name`; `None` if the request has none.
pub(super) fn header<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
    budget: &Budget,
) -> Result<Option<Value<'a>>, EvalError> {
    let values = values_of(headers.get_all(name).into_iter(), *name == COOKIE);
    values.map(|values| joined(values, budget)).transpose()
}

const SEPARATOR: &str = ",";

/// A cookie header that HTTP/2 cut into several is put together as it was (RFC 9113, 8.2.3): a comma may be in a cookie.
const COOKIE_SEPARATOR: &str = "; ";

struct Values<'a> {
    first: &'a HeaderValue,
    rest: ValueIter<'a, HeaderValue>,
    separator: &'static str,
}

fn values_of<'a>(mut values: ValueIter<'a, HeaderValue>, is_cookie: bool) -> Option<Values<'a>> {
    let first = values.next()?;
    Some(Values { first, rest: values, separator: if is_cookie { COOKIE_SEPARATOR } else { SEPARATOR } })
}

/// Several values joined; what is not UTF-8 is an error rather than a text that no rule expects.
fn joined<'a>(mut values: Values<'a>, budget: &Budget) -> Result<Value<'a>, EvalError> {
    let first = utf8(values.first)?;
    let Some(second) = values.rest.next() else { return Ok(Value::text(first)) };
    let mut text = first.to_owned();
    for value in [second].into_iter().chain(values.rest) {
        text.push_str(values.separator);
        text.push_str(utf8(value)?);
    }
    budget.spend_bytes(text.len())?;
    Ok(Value::Text(Text::from(text)))
}

fn utf8(value: &HeaderValue) -> Result<&str, EvalError> {
    std::str::from_utf8(value.as_bytes()).map_err(|_| EvalError::Conversion)
}

fn decoded(raw: &str) -> Result<Value<'_>, EvalError> {
    let text: Cow<'_, str> = query::decode(raw).ok_or(EvalError::Conversion)?;
    Ok(Value::Text(text.into()))
}
