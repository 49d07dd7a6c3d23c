//! What is done to a request on its way, and to its answer.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bounded::{
    AbsolutePath, Expression, HeaderName, HeaderValue, MediaType, Origin, PreciseHostname, ReplacementPath,
};
use crate::direct_response::DirectResponse;
use crate::quantity::Quantity;
use crate::reference::{BackendObjectReference, LocalObjectReference};
use crate::rules;

/// One thing that is done; exactly one field besides `type`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(rules::one_filter())
        .message("exactly one filter must be set beside type, such as requestHeaderModifier; write several as entries of the list")
)]
#[x_kube(validation = Rule::new(rules::filter_type()).message("type must name the filter that is set, or be left out"))]
pub struct RouteFilter {
    /// Which filter this is, as in an HTTPRoute. May be left out: the field that is set says it.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<FilterType>,
    /// Changes the request's headers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_header_modifier: Option<HeaderModifier>,
    /// Changes the answer's headers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_header_modifier: Option<HeaderModifier>,
    /// Sends a copy of the request to another backend, whose answer is dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_mirror: Option<RequestMirror>,
    /// Answers with a redirect; no backend is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_redirect: Option<RequestRedirect>,
    /// Changes the host or the path before the backend is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_rewrite: Option<UrlRewrite>,
    /// Lets browsers of other origins in, and answers their preflight requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,
    /// Asks another service whether the request may pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_auth: Option<ExternalAuthFilter>,
    /// An object in the same namespace that says what is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extension_ref: Option<LocalObjectReference>,
    /// Answers at once; no backend is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direct_response: Option<DirectResponse>,
    /// Compresses answers for clients that accept it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
    /// Lets identical GET requests that are in flight share one call of the backend.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coalesce: Option<Coalesce>,
}

/// Which filter it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum FilterType {
    RequestHeaderModifier,
    ResponseHeaderModifier,
    RequestMirror,
    RequestRedirect,
    #[serde(rename = "URLRewrite")]
    UrlRewrite,
    #[serde(rename = "CORS")]
    Cors,
    ExternalAuth,
    ExtensionRef,
    DirectResponse,
    Compression,
    Coalesce,
}

/// Changes of headers: first set, then add, then remove.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeaderModifier {
    /// Headers that get this value instead of any other; at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub set: Vec<HttpHeader>,
    /// Headers that get this value besides others; at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub add: Vec<HttpHeader>,
    /// Names of headers that are dropped, in any case; at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<HeaderName>", length(max = 16), extend("x-kubernetes-list-type" = "set"))]
    pub remove: Vec<String>,
}

/// A header and its value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpHeader {
    /// Name of the header, in any case.
    #[schemars(with = "HeaderName")]
    pub name: String,
    /// Value of the header.
    #[schemars(with = "HeaderValue")]
    pub value: String,
}

/// A new path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.type == 'ReplaceFullPath' ? has(self.replaceFullPath) && !has(self.replacePrefixMatch) : has(self.replacePrefixMatch) && !has(self.replaceFullPath)")
        .message("type ReplaceFullPath needs replaceFullPath alone; type ReplacePrefixMatch needs replacePrefixMatch alone")
)]
pub struct PathModifier {
    /// What is replaced: ReplaceFullPath or ReplacePrefixMatch (what a PathPrefix match matched).
    #[serde(rename = "type")]
    pub type_: PathModifierType,
    /// The whole new path; for ReplaceFullPath.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<ReplacementPath>")]
    pub replace_full_path: Option<String>,
    /// What stands for the matched prefix; for ReplacePrefixMatch. Every match of the rule must then be a PathPrefix.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<ReplacementPath>")]
    pub replace_prefix_match: Option<String>,
}

/// What of a path is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum PathModifierType {
    ReplaceFullPath,
    ReplacePrefixMatch,
}

/// A redirect. What is absent stays as in the request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestRedirect {
    /// Scheme of the new location: http or https. Default: the request's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheme: Option<RedirectScheme>,
    /// Host of the new location. Default: the request's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<PreciseHostname>")]
    pub hostname: Option<String>,
    /// Path of the new location. Default: the request's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathModifier>,
    /// Port of the new location. Default: the well-known one of scheme if that is set, else the listener's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Status code: 301, 302 (default), 303, 307 or 308.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = [301, 302, 303, 307, 308]))]
    pub status_code: Option<u16>,
}

impl RequestRedirect {
    /// Gateway API: 302 unless said otherwise.
    pub fn status_code(&self) -> u16 {
        self.status_code.unwrap_or(302)
    }
}

/// The scheme of a redirect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RedirectScheme {
    Http,
    Https,
}

/// Another host or path for the backend.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UrlRewrite {
    /// Host header that the backend sees. Default: the request's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<PreciseHostname>")]
    pub hostname: Option<String>,
    /// Path that the backend sees. Default: the request's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathModifier>,
}

/// A copy of requests for another backend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.percent) || !has(self.fraction)").message("only one of percent and fraction may be set")
)]
pub struct RequestMirror {
    /// The backend that gets the copies.
    pub backend_ref: BackendObjectReference,
    /// How many of a hundred requests are copied, from 0 to 100. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub percent: Option<u8>,
    /// Which part of the requests is copied; instead of percent. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fraction: Option<Fraction>,
}

/// A part of a whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.numerator <= (has(self.denominator) ? self.denominator : 100)")
        .message("numerator must not be greater than denominator (100 unless set)")
)]
pub struct Fraction {
    /// How many.
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub numerator: u32,
    /// Of how many. Default: 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub denominator: Option<u32>,
}

impl Fraction {
    pub fn denominator(&self) -> u32 {
        self.denominator.unwrap_or(100)
    }
}

/// What browsers of other origins may do (the Fetch standard's CORS protocol).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.allowOrigins) || self.allowOrigins.size() == 1 || !('*' in self.allowOrigins)")
        .message("allowOrigins: * must stand alone")
)]
#[x_kube(
    validation = Rule::new("!has(self.allowMethods) || self.allowMethods.size() == 1 || !('*' in self.allowMethods)")
        .message("allowMethods: * must stand alone")
)]
#[x_kube(
    validation = Rule::new("!has(self.allowHeaders) || self.allowHeaders.size() == 1 || !('*' in self.allowHeaders)")
        .message("allowHeaders: * must stand alone")
)]
pub struct Cors {
    /// Origins that are let in, such as https://app.example or https://*.example; * alone lets all in. At most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<Origin>", length(max = 64), extend("x-kubernetes-list-type" = "set"))]
    pub allow_origins: Vec<String>,
    /// Whether requests may carry cookies and other credentials. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_credentials: Option<bool>,
    /// Methods that may be used besides the simple ones; * alone allows all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 9), extend("x-kubernetes-list-type" = "set"))]
    pub allow_methods: Vec<CorsMethod>,
    /// Request headers that may be sent besides the simple ones; * alone allows all. At most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<HeaderName>", length(max = 64), extend("x-kubernetes-list-type" = "set"))]
    pub allow_headers: Vec<String>,
    /// Answer headers that scripts may read besides the simple ones; at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<HeaderName>", length(max = 64), extend("x-kubernetes-list-type" = "set"))]
    pub expose_headers: Vec<String>,
    /// How many seconds a browser may remember the answer to a preflight request. Default: 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub max_age: Option<u32>,
}

/// A method, or all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum CorsMethod {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Connect,
    Options,
    Trace,
    Patch,
    #[serde(rename = "*")]
    Any,
}

/// Another service that says whether a request may pass (GEP-1494).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.protocol == 'GRPC' ? !has(self.http) : !has(self.grpc)")
        .message("http goes with the protocol HTTP, grpc with the protocol GRPC")
)]
pub struct ExternalAuthFilter {
    /// How the service is asked: HTTP, or GRPC (Envoy's ext_authz v3).
    pub protocol: crate::auth_policy::authorization::ExternalAuthProtocol,
    /// The service that is asked.
    pub backend_ref: BackendObjectReference,
    /// About the question; for the protocol GRPC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc: Option<GrpcExternalAuth>,
    /// About the question; for the protocol HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpExternalAuth>,
    /// Sends the request's body along. Default: the body stays here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forward_body: Option<ForwardBody>,
}

/// A question over gRPC.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GrpcExternalAuth {
    /// Request headers that the service sees; at most 64. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<HeaderName>", length(max = 64), extend("x-kubernetes-list-type" = "set"))]
    pub allowed_headers: Vec<String>,
}

/// A question over HTTP.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpExternalAuth {
    /// Path that goes before the request's own. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<AbsolutePath>")]
    pub path: Option<String>,
    /// Request headers that the service sees besides Host, Method, Path, Content-Length and Authorization; at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<HeaderName>", length(max = 64), extend("x-kubernetes-list-type" = "set"))]
    pub allowed_headers: Vec<String>,
    /// Headers of its answer that go on to the backend; at most 64. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<HeaderName>", length(max = 64), extend("x-kubernetes-list-type" = "set"))]
    pub allowed_response_headers: Vec<String>,
}

/// How much of a request's body is sent along.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ForwardBody {
    /// Largest body in bytes; longer ones are refused. Default: 0, no body.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 65535))]
    pub max_size: Option<u16>,
}

/// Compression of answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Compression {
    /// Algorithms in the order of preference: zstd, br, gzip. Default: these, in this order.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 3), extend("x-kubernetes-list-type" = "set"))]
    pub algorithms: Option<Vec<CompressionAlgorithm>>,
    /// Media types that are compressed, such as text/* or application/json; at most 64. Default: text and JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<MediaType>>", length(min = 1, max = 64), extend("x-kubernetes-list-type" = "set"))]
    pub types: Option<Vec<String>>,
    /// Shorter answers are left alone, such as 1Ki. Default: 1Ki.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_size: Option<Quantity>,
}

/// An algorithm of compression (RFC 8878, RFC 7932, RFC 1952).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CompressionAlgorithm {
    Zstd,
    Br,
    Gzip,
}

/// One call for identical requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Coalesce {
    /// CEL expression to a string; requests with the same one are identical. Default: host, path, query and caller.id.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Expression>")]
    pub key: Option<String>,
}
