//! What is lost on the way through the types would be accepted and ignored.

use std::collections::BTreeSet;

use ravelin_crds::{ApiRoute, AuthPolicy, Backend, BackendPolicy, Plan, RateLimitPolicy};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Reads an object into its type and names the fields that the type does not have.
pub(crate) fn lost(object: &Value) -> Result<Vec<String>, String> {
    let back = match object["kind"].as_str() {
        Some("ApiRoute") => through::<ApiRoute>(object)?,
        Some("Backend") => through::<Backend>(object)?,
        Some("BackendPolicy") => through::<BackendPolicy>(object)?,
        Some("AuthPolicy") => through::<AuthPolicy>(object)?,
        Some("RateLimitPolicy") => through::<RateLimitPolicy>(object)?,
        Some("Plan") => through::<Plan>(object)?,
        other => return Err(format!("{other:?} is no kind of ours")),
    };
    Ok(fields(&object["spec"]).difference(&fields(&back["spec"])).cloned().collect())
}

fn through<T: Serialize + DeserializeOwned>(object: &Value) -> Result<Value, String> {
    let typed: T = serde_json::from_value(object.clone()).map_err(|error| error.to_string())?;
    serde_json::to_value(typed).map_err(|error| error.to_string())
}

/// Paths of all fields that say something: an empty list says the same as none.
fn fields(value: &Value) -> BTreeSet<String> {
    fn walk(value: &Value, path: &str, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(map) => {
                found.insert(path.to_owned());
                map.iter().for_each(|(name, value)| walk(value, &format!("{path}.{name}"), found));
            }
            Value::Array(list) => {
                list.iter().enumerate().for_each(|(index, value)| walk(value, &format!("{path}[{index}]"), found));
            }
            _ => {
                found.insert(path.to_owned());
            }
        }
    }
    let mut found = BTreeSet::new();
    walk(value, "spec", &mut found);
    found
}
