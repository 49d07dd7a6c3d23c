//! An answer that the gateway gives itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bounded::{Body, MediaType};

/// An answer that the gateway gives itself; no backend is called.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DirectResponse {
    /// Status code of the answer, from 200 to 599.
    #[schemars(range(min = 200, max = 599))]
    pub status: u16,
    /// Content-Type of the answer. Default: text/plain; charset=utf-8 when there is a body.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<MediaType>")]
    pub content_type: Option<String>,
    /// Body of the answer, as it is; at most 65536 characters. Default: empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Body>")]
    pub body: Option<String>,
}
