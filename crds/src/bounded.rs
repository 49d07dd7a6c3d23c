//! Strings with a limit and a pattern, as schemas: `#[schemars(with = "Option<Hostname>")]` on a `String` field.
//!
//! Some have a CEL rule with its message in brackets: the API server evaluates it on the value.
//!
//! They are no values: what the user said stays a `String`, and the compiler gives it meaning. Every string of the API has
//! a length limit because the API server multiplies it into the cost of each CEL rule that reads it.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

macro_rules! bounded_strings {
    ($($(#[$doc:meta])* $name:ident $([$rule:literal => $message:literal])?: $min:literal..=$max:literal $(, $pattern:expr)?;)*) => {$(
        $(#[$doc])*
        pub(crate) enum $name {}

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                let schema = json_schema!({
                    "type": "string",
                    "minLength": $min,
                    "maxLength": $max
                    $(, "pattern": $pattern)?
                    $(, "x-kubernetes-validations": [{"rule": $rule, "message": $message}])?
                });
                schema
            }
        }
    )*};
}

/// A host, no wildcard; Gateway API's `PreciseHostname` (RFC 1123).
const PRECISE_HOSTNAME: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// What RFC 3986 allows in a path.
const PATH_CHARACTERS: &str = r"^/(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})*$";

bounded_strings! {
    /// A host, perhaps `*.` and a host.
    Hostname: 1..=253, r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
    /// A host, no wildcard.
    PreciseHostname: 1..=253, PRECISE_HOSTNAME;
    /// An IP address or a DNS name.
    Address: 1..=253, r"^([A-Za-z0-9_]([-A-Za-z0-9_]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([-A-Za-z0-9_]*[A-Za-z0-9_])?)*\.?|[0-9A-Fa-f]*:[0-9A-Fa-f:.]+)$";
    /// An address range.
    Cidr["isCIDR(self)" => "must be an address range, such as 10.0.0.0/8 or 2001:db8::/32"]: 3..=49, r"^[0-9A-Fa-f:.]+/[0-9]{1,3}$";
    /// An HTTP field name (RFC 9110, token), Gateway API's `HeaderName`.
    HeaderName: 1..=256, r"^[A-Za-z0-9!#$%&'*+\-.^_\x60|~]+$";
    /// An HTTP field value.
    HeaderValue: 1..=4096;
    /// A name in a cookie (RFC 6265, token).
    CookieName: 1..=128, r"^[A-Za-z0-9!#$%&'*+\-.^_\x60|~]+$";
    /// What a header is compared with.
    HeaderMatchValue: 1..=4096;
    /// What a query parameter is compared with.
    QueryParamValue: 1..=1024;
    /// The name of a query parameter. Gateway API takes a header name.
    QueryParamName: 1..=256, r"^[A-Za-z0-9!#$%&'*+\-.^_\x60|~]+$";
    /// What a path is compared with.
    PathValue: 1..=1024;
    /// An absolute path without a query.
    AbsolutePath: 1..=1024, PATH_CHARACTERS;
    /// A path that another is replaced by; may be empty, as in Gateway API.
    ReplacementPath: 0..=1024;
    /// A duration that is not nothing.
    PositiveDuration["self.matches('[1-9]')" => "must be longer than 0s"]: 2..=28, crate::duration::PATTERN;
    /// The name of an object.
    ObjectName: 1..=253;
    /// A namespace.
    NamespaceName: 1..=63, r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
    /// The name of a rule, a listener or a port.
    SectionName: 1..=253, PRECISE_HOSTNAME;
    /// The name of a limit, an authorization rule or a token issuer: shown in answers and metrics.
    EntryName: 1..=63, r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$";
    /// An API group; empty is the core group.
    Group: 0..=253, r"^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
    /// A kind.
    Kind: 1..=63, r"^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$";
    /// The name of a controller.
    ControllerName: 1..=253, r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/[A-Za-z0-9/\-._~%!$&'()*+,;=:]+$";
    /// A key of a Secret or a ConfigMap.
    DataKey: 1..=253, r"^[-._a-zA-Z0-9]+$";
    /// A CEL expression.
    Expression: 1..=4096;
    /// An `http` or `https` URL.
    HttpUrl: 8..=2048, r"^https?://[^/?#\s]+[^\s]*$";
    /// The issuer of a token: mostly a URL, compared as it is.
    Issuer: 1..=2048;
    /// An origin of CORS; `*` alone or as a label.
    Origin: 1..=253, r"^\*$|^https?://((\*\.)?([a-zA-Z0-9-]+\.)*[a-zA-Z0-9-]+|\*)(:[0-9]{1,5})?$";
    /// A media type, perhaps with `*`.
    MediaType: 1..=127, r"^[A-Za-z0-9!#$&^_.+*-]+/[A-Za-z0-9!#$&^_.+*-]+(\s*;.*)?$";
    /// A body that the gateway writes itself.
    Body: 0..=65536;
    /// Words for people: a realm, a display name.
    Text: 0..=256;
    /// A scope or an audience.
    Token: 1..=512;
    /// A key set (RFC 7517) in place.
    InlineKeySet: 2..=65536;
    /// Where in a token's claims something is; dots descend.
    ClaimPath: 1..=256;
    /// A component of an HTTP message signature (RFC 9421, section 2).
    SignatureComponent: 1..=256;
    /// A name of the time zone database.
    TimeZone: 1..=64, r"^[A-Za-z0-9_+\-]+(/[A-Za-z0-9_+\-]+)*$";
    /// A part of a hundred.
    Percentage: 2..=10, r"^[0-9]{1,3}(\.[0-9]{1,6})?%$";
    /// A gRPC service; empty is the whole server.
    GrpcService: 0..=253, r"^([A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*)?$";
    /// The key of a label.
    LabelKey: 1..=316, r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$";
    /// The value of a label.
    LabelValue: 0..=63, r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$";
    /// A URI in a certificate.
    AbsoluteUri: 1..=253, r"^[A-Za-z][A-Za-z0-9+.\-]*:[^\s]+$";
    /// What a body must hold.
    BodyText: 1..=1024;
}
