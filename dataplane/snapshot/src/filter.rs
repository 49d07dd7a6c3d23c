//! What a rule does on the way besides headers and rewrites; what few rules have.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Filters {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,
}

impl Filters {
    pub fn is_empty(&self) -> bool {
        let Self { cors } = self;
        cors.is_none()
    }
}

/// What browsers of other origins may do (the Fetch standard's CORS protocol).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cors {
    /// As browsers write them: in lower case and without a scheme's own port. `https://*.b.example` is for all below it.
    pub origins: Allowed,
    pub methods: Allowed,
    /// Names in lower case.
    pub headers: Allowed,
    /// Names in lower case.
    pub exposed: Allowed,
    pub credentials: bool,
    /// How long a browser may remember the answer to a preflight.
    pub max_age_s: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Allowed {
    All,
    These(Vec<String>),
}
