//! What a policy would decide about a request that nobody has sent: for `explain`.

use std::time::SystemTime;

use super::{Asked, AuthPolicy, Coming, Denied, Evidence, Found, Welcome, Why};
use crate::{
    reject::Reject,
    request::{Known, RequestView, RuleName},
};

/// What a policy would decide.
#[derive(Debug)]
pub struct Preview {
    /// Known even if a rule then refuses it.
    pub caller: Known,
    pub refused: Option<Reject>,
    /// It would depend on what is not known here.
    pub unasked: Option<String>,
}

impl AuthPolicy {
    /// Counted nowhere.
    pub fn preview(&self, request: &RequestView<'_>, route: &RuleName, now: SystemTime) -> Preview {
        let mut found = Found::default();
        let welcome = Welcome { outside: self.is_outside(request) };
        let mut evidence = Evidence::default();
        let mut judged = self.decide(&welcome, &Asked { request, route, now, evidence: &evidence }, &mut found);
        if let Err(Denied { coming: Some(coming), .. }) = &judged
            && let Coming::Password(question) = &**coming
        {
            evidence.password = Some(question.verify());
            judged = self.decide(&welcome, &Asked { request, route, now, evidence: &evidence }, &mut found);
        }
        let caller = found.caller;
        match judged {
            Ok(()) => Preview { caller, refused: None, unasked: None },
            Err(Denied { why: Why::NoKeys { unasked: Some(whom) }, .. }) => {
                Preview { caller, refused: None, unasked: Some(whom) }
            }
            Err(Denied { why: Why::Served, .. }) => {
                let unasked = Some("the log-in answers at this path itself".to_owned());
                Preview { caller, refused: None, unasked }
            }
            Err(Denied { reject, .. }) => Preview { caller, refused: Some(reject), unasked: None },
        }
    }
}
