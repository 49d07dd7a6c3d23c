//! Who may: network, credentials, rules.

use std::time::SystemTime;

use http::HeaderMap;
use ravelin_snapshot::{PolicyKey, auth};

use crate::{
    reject::Reject,
    request::{Caller, RequestView, RuleName},
};

/// An AuthPolicy, ready to decide. Shared by all workers.
pub struct AuthPolicy {
    pub key: PolicyKey,
}

/// The token of a request that may pass this stage: later stages ask for it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Admitted {
    pub caller: Caller,
}

impl AuthPolicy {
    /// The error is for a refusal of the snapshot.
    pub fn compile(key: &PolicyKey, _said: &auth::AuthPolicy) -> Result<Self, String> {
        Ok(Self { key: key.clone() })
    }

    /// Network, exclusions, credential, rules; in `Shadow` nobody is refused.
    pub fn judge(&self, _request: &RequestView<'_>, _rule: &RuleName, _now: SystemTime) -> Result<Admitted, Reject> {
        Err(Reject::from(crate::reject::Reason::PolicyInvalid))
    }

    /// Takes credentials off the upstream request and sets the headers that tell the backend about the caller.
    pub fn forward(
        &self,
        _admitted: &Admitted,
        _request: &RequestView<'_>,
        _rule: &RuleName,
        _now: SystemTime,
        _upstream: &mut HeaderMap,
    ) {
    }
}
