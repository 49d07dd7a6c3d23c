//! What the audit log is told of a refusal: who, by which policy and why, and never a credential.

use ravelin_snapshot::{PolicyKey, auth::Mode};

use super::Admitted;
use crate::reject::{Detail, Reason, Reject};

/// A request that a policy has refused, or in `Shadow` would have.
#[derive(Clone, Debug, PartialEq)]
pub struct Denial {
    pub policy: PolicyKey,
    pub mode: Mode,
    pub reason: Reason,
    /// The rule of the policy that refused: `network` and `external` are rules too.
    pub rule: Option<String>,
    /// `caller.id`; empty: nobody is known.
    pub caller: String,
}

impl Denial {
    /// By a policy that cannot be enforced.
    pub(crate) fn closed(policy: &PolicyKey) -> Reject {
        let reason = Reason::PolicyInvalid;
        Self { policy: policy.clone(), mode: Mode::Enforce, reason, rule: None, caller: String::new() }
            .told(reason.into())
    }

    /// The refusal, which knows why it is one.
    pub(super) fn told(self, mut reject: Reject) -> Reject {
        reject.detail.get_or_insert_default().denial = Some(Box::new(self));
        reject
    }
}

/// What is to be audited of a judgement.
pub(crate) fn denial(judged: &Result<Admitted, Reject>) -> Option<&Denial> {
    match judged {
        Ok(admitted) => admitted.denial.as_deref(),
        Err(reject) => reject.denial(),
    }
}

impl Reject {
    pub(crate) fn denial(&self) -> Option<&Denial> {
        self.detail.as_deref().and_then(|Detail { denial, .. }| denial.as_deref())
    }
}
