//! What policies have done for them beside the workers. By default nothing is, and what depends on it cannot be told.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::{basic::Passwords, jwt::Issuers, oidc::Ended};
use crate::session::Current;

#[derive(Default)]
pub struct Outside {
    pub(super) issuers: Arc<Issuers>,
    pub(super) passwords: Option<Arc<Passwords>>,
    /// Where issuers are asked about single tokens.
    pub(super) runtime: Option<Handle>,
    /// Of the cookies of log-ins.
    pub(super) seals: Option<Arc<Current>>,
    /// Log-ins that are over before their time.
    pub(super) ended: Arc<Ended>,
}

impl Outside {
    /// Done in `runtime`, which is not a worker's.
    pub fn of(runtime: Handle, seals: Arc<Current>) -> Self {
        Self {
            issuers: Arc::new(Issuers::asked_from(runtime.clone())),
            passwords: Some(Arc::new(Passwords::verified_on(runtime.clone()))),
            runtime: Some(runtime),
            seals: Some(seals),
            ended: Arc::default(),
        }
    }
}
