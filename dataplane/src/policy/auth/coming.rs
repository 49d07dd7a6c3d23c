//! What a decision waits for, and what came of it. Each is asked for once a request, at most.

use std::pin::Pin;

use super::{
    basic::verifier::{self, Verdict},
    external::{self, Aide, Check},
    hmac, introspection, jwt, oidc,
};

/// Something that could make the difference.
pub enum Coming {
    /// Keys that are on their way.
    Keys(jwt::Coming),
    /// A password is to be verified.
    Password(Box<verifier::Question>),
    /// An issuer is to be asked about a token.
    Token(Box<introspection::Question>),
    /// Of a signed request, the body is to be read or a nonce to be looked for.
    Signature(Box<hmac::Question>),
    /// The issuer of a log-in is to be asked.
    LogIn(Box<oidc::Question>),
    /// Another service is to be asked about the request.
    Check(Box<Check>),
}

/// What is known by having waited.
#[derive(Default)]
pub(super) struct Evidence {
    /// Keys that were on their way have come, or will not soon.
    pub(super) keys: bool,
    pub(super) password: Option<Verdict>,
    pub(super) token: Option<introspection::Outcome>,
    pub(super) signature: Option<hmac::Outcome>,
    pub(super) login: Option<oidc::Outcome>,
    pub(super) check: Option<external::Outcome>,
}

impl Coming {
    /// Boxed: hardly a request waits.
    pub(super) fn arrived<'a>(
        self,
        evidence: &'a mut Evidence,
        aide: Aide<'a>,
    ) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
        Box::pin(async move {
            match self {
                Self::Keys(keys) => {
                    keys.arrived().await;
                    evidence.keys = true;
                }
                Self::Password(question) => evidence.password = Some(question.answer().await),
                Self::Token(question) => evidence.token = Some(question.answer().await),
                Self::Signature(question) => evidence.signature = Some(question.answer(aide.body).await),
                Self::LogIn(question) => evidence.login = Some(question.answer(aide).await),
                Self::Check(check) => evidence.check = Some(check.answer(aide).await),
            }
        })
    }
}
