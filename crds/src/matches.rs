//! What a request must look like. Gateway API's shapes, besides `when` and the match type `Present`.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bounded::{Expression, HeaderMatchValue, HeaderName, PathValue, QueryParamName, QueryParamValue};

/// Conditions on a request; all that are set must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteMatch {
    /// The path. Default: every path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathMatch>,
    /// The method. Default: every method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
    /// Request headers; all must match, at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub headers: Vec<HeaderMatch>,
    /// Query parameters; all must match, at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub query_params: Vec<QueryParamMatch>,
    /// CEL expression that must be true, tried last, such as request.headers['x-tier'] == 'gold'. An error in it is false.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Expression>")]
    pub when: Option<String>,
}

/// A condition on the path.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.value) || self.value.startsWith('/') || (has(self.type) && self.type == 'RegularExpression')")
        .message("value must begin with /")
        .field_path(".value")
)]
#[x_kube(
    validation = Rule::new("!has(self.value) || (has(self.type) && self.type == 'RegularExpression') || !(self.value.contains('//') || self.value.contains('/./') || self.value.contains('/../') || self.value.endsWith('/.') || self.value.endsWith('/..'))")
        .message("value must not hold //, /./ or /../, nor end with /. or /..: no request has such a path")
        .field_path(".value")
)]
#[x_kube(
    validation = Rule::new("!has(self.value) || (has(self.type) && self.type == 'RegularExpression') || self.value.matches('^[!$-;=@-Z_a-z~]*$')")
        .message("value holds a character that no path has (RFC 3986): percent-encode it")
        .field_path(".value")
)]
#[x_kube(
    validation = Rule::new("!has(self.value) || !has(self.type) || self.type != 'RegularExpression' || ''.matches(self.value) in [true, false]")
        .message("value is no valid regular expression (RE2)")
        .field_path(".value")
)]
pub struct PathMatch {
    /// How the value is compared: Exact, PathPrefix (default; whole segments) or RegularExpression (RE2, of the whole path).
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<PathMatchType>,
    /// What the path is compared with. Default: /.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<PathValue>")]
    pub value: Option<String>,
}

/// How a path is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum PathMatchType {
    Exact,
    #[default]
    PathPrefix,
    RegularExpression,
}

impl PathMatch {
    pub fn match_type(&self) -> PathMatchType {
        self.type_.unwrap_or_default()
    }

    pub fn value(&self) -> &str {
        self.value.as_deref().unwrap_or("/")
    }
}

/// A condition on one request header.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.value) != (has(self.type) && self.type == 'Present')")
        .message("value must be set, except for the type Present, which has none")
)]
pub struct HeaderMatch {
    /// How the value is compared: Exact (default), RegularExpression (RE2, of the whole value) or Present (any value).
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<HeaderMatchType>,
    /// Name of the header, in any case.
    #[schemars(with = "HeaderName")]
    pub name: String,
    /// What the header is compared with; none for Present.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<HeaderMatchValue>")]
    pub value: Option<String>,
}

impl HeaderMatch {
    pub fn match_type(&self) -> HeaderMatchType {
        self.type_.unwrap_or_default()
    }
}

/// A condition on one query parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.value) != (has(self.type) && self.type == 'Present')")
        .message("value must be set, except for the type Present, which has none")
)]
pub struct QueryParamMatch {
    /// How the value is compared: Exact (default), RegularExpression (RE2, of the whole value) or Present (any value).
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<HeaderMatchType>,
    /// Name of the parameter, in this case. If it occurs several times, the first counts.
    #[schemars(with = "QueryParamName")]
    pub name: String,
    /// What the parameter is compared with; none for Present.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<QueryParamValue>")]
    pub value: Option<String>,
}

impl QueryParamMatch {
    pub fn match_type(&self) -> HeaderMatchType {
        self.type_.unwrap_or_default()
    }
}

/// How the value of a header or a query parameter is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum HeaderMatchType {
    #[default]
    Exact,
    RegularExpression,
    Present,
}

/// The methods of HTTP that a rule can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Connect,
    Options,
    Trace,
    Patch,
}

impl Method {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
            Self::Options => "OPTIONS",
            Self::Trace => "TRACE",
            Self::Patch => "PATCH",
        }
    }
}
