//! What a rule does on the way besides headers and rewrites; what few rules have.

use serde::{Deserialize, Serialize};

use crate::expression::Expression;

/// What few rules do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Filters {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coalesce: Option<Coalesce>,
}

impl Filters {
    pub fn is_empty(&self) -> bool {
        let Self { cors, compression, coalesce } = self;
        cors.is_none() && compression.is_none() && coalesce.is_none()
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

/// Everything, or what a list names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Allowed {
    All,
    These(Vec<String>),
}

/// Which answers are compressed, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Compression {
    /// The best first; never empty.
    pub algorithms: Vec<Algorithm>,
    /// `text/*` or `application/json`, in lower case.
    pub types: Vec<String>,
    /// Bytes.
    pub min_size: u64,
}

/// Identical GET requests that are under way share one call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Coalesce {
    /// A string; an error of it shares nothing. Absent: host, path, query, caller, and the credentials that the request carries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Expression>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Algorithm {
    Zstd,
    Br,
    Gzip,
}
