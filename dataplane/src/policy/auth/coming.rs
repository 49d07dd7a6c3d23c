//! What a decision waits for, and what came of it. Each is asked for once a request, at most.

use std::pin::Pin;

use super::{
    basic::verifier::{Question, Verdict},
    jwt,
};

/// Something that could make the difference.
pub enum Coming {
    /// Keys that are on their way.
    Keys(jwt::Coming),
    /// A password is to be verified.
    Password(Box<Question>),
}

/// What is known by having waited.
#[derive(Default)]
pub(super) struct Evidence {
    /// Keys that were on their way have come, or will not soon.
    pub(super) keys: bool,
    pub(super) password: Option<Verdict>,
}

impl Coming {
    /// Boxed: hardly a request waits.
    pub(super) fn arrived(self, evidence: &mut Evidence) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        Box::pin(async move {
            match self {
                Self::Keys(keys) => {
                    keys.arrived().await;
                    evidence.keys = true;
                }
                Self::Password(question) => evidence.password = Some(question.answer().await),
            }
        })
    }
}
