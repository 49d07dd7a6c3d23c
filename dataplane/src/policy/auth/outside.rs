//! What policies have done for them beside the workers. By default nothing is, and what depends on it cannot be told.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::{basic::Passwords, jwt::Issuers};

#[derive(Default)]
pub struct Outside {
    pub(super) issuers: Issuers,
    pub(super) passwords: Option<Arc<Passwords>>,
    /// Where issuers are asked about single tokens.
    pub(super) runtime: Option<Handle>,
}

impl Outside {
    /// Done in `runtime`, which is not a worker's.
    pub fn of(runtime: Handle) -> Self {
        Self {
            issuers: Issuers::asked_from(runtime.clone()),
            passwords: Some(Arc::new(Passwords::verified_on(runtime.clone()))),
            runtime: Some(runtime),
        }
    }
}
