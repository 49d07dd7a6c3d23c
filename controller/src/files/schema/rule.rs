//! The CEL rules of the CRDs, as an API server evaluates them.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError},
};

use cel::{Context, Env, Program, objects::Key};
use serde_json::Value;

/// Building it is dear (it declares the standard functions), using it is cheap.
static STANDARD: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// A condition on a value.
#[derive(Debug)]
pub(super) struct Rule {
    text: String,
    /// Made when it is first needed; absent if it is no CEL.
    program: OnceLock<Option<Program>>,
    /// Calls Kubernetes' own `isCIDR`.
    asks_for_ranges: bool,
    /// What came of the last values of a rule with a regular expression, which CEL makes anew for each of them. Files repeat
    /// themselves: the same `10s` stands in ten thousand routes.
    known: Option<Mutex<HashMap<String, bool>>>,
    pub(super) message: String,
}

/// Values that a rule remembers, and how long they may be.
const MAX_KNOWN: usize = 1024;
const MAX_KNOWN_BYTES: usize = 256;

impl Rule {
    /// From an entry of `x-kubernetes-validations`. Rules on transitions (`oldSelf`) say nothing about a file.
    pub(super) fn new(json: &Value) -> Option<Self> {
        let text = json["rule"].as_str()?;
        if text.contains("oldSelf") {
            return None;
        }
        let message = json["message"].as_str().map_or_else(|| format!("must satisfy `{text}`"), str::to_owned);
        let known = text.contains("matches(").then(Mutex::default);
        let (text, program) = (text.to_owned(), OnceLock::new());
        Some(Self { asks_for_ranges: text.contains("isCIDR("), text, program, known, message })
    }

    /// `value` is `json` as CEL sees it.
    pub(super) fn holds(&self, value: &cel::Value, json: &Value) -> bool {
        let Some(known) = &self.known else { return self.evaluate(value) };
        let text = json.to_string();
        if text.len() > MAX_KNOWN_BYTES {
            return self.evaluate(value);
        }
        // A panic leaves a map that is whole.
        if let Some(holds) = known.lock().unwrap_or_else(PoisonError::into_inner).get(&text) {
            return *holds;
        }
        let holds = self.evaluate(value);
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(text, holds);
        holds
    }

    /// An error counts as a refusal, as in an API server.
    fn evaluate(&self, value: &cel::Value) -> bool {
        let Some(program) = self.program.get_or_init(|| Program::compile(&self.text).ok()) else { return false };
        let mut context = Context::with_env(Arc::clone(&STANDARD));
        context.add_variable_from_value("self", value.clone());
        if self.asks_for_ranges
            && context.add_function("isCIDR", |text: Arc<String>| text.parse::<ipnet::IpNet>().is_ok()).is_err()
        {
            return false;
        }
        matches!(program.execute(&context), Ok(cel::Value::Bool(true)))
    }
}

/// JSON as CEL sees it: whole numbers are `int`, and what is null is not there.
pub(super) fn to_cel(json: &Value) -> cel::Value {
    match json {
        Value::Null => cel::Value::Null,
        Value::Bool(value) => cel::Value::Bool(*value),
        Value::Number(number) => number
            .as_i64()
            .map(cel::Value::Int)
            .or_else(|| number.as_u64().map(cel::Value::UInt))
            .unwrap_or_else(|| cel::Value::Float(number.as_f64().unwrap_or_default())),
        Value::String(text) => cel::Value::String(Arc::new(text.clone())),
        Value::Array(items) => cel::Value::List(Arc::new(items.iter().map(to_cel).collect())),
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(_, value)| !value.is_null());
            let map: HashMap<Key, cel::Value> =
                fields.map(|(name, value)| (Key::from(name.clone()), to_cel(value))).collect();
            cel::Value::from(map)
        }
    }
}
