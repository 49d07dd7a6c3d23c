//! What the promises in `tests/` are shown with: a cluster that is there, the chart installed in it, sample backends, and
//! `kubectl` and `helm` as users have them. `run.sh` makes the cluster and loads the images.
//!
//! Every test starts from [`Gateway::installed`] and has a [`Namespace`] of its own, so each can run alone.

mod gateway;
mod namespace;
mod node;
mod shell;

use std::{future::Future, time::Duration};

use anyhow::{Context, Result, bail};
use tokio::time::{Instant, sleep};

pub use gateway::{Gateway, Pod};
pub use namespace::Namespace;
pub use node::Node;
pub use shell::{helm, kubectl, kubectl_with, try_kubectl};

/// Longer than anything that works takes, on a machine that is busy.
pub const DEADLINE: Duration = Duration::from_secs(180);

/// Looks again and again until `look` finds it. What a cluster does is known only by looking.
pub async fn eventually<T, F>(what: &str, mut look: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let deadline = Instant::now() + DEADLINE;
    loop {
        match look().await {
            Ok(found) => return Ok(found),
            Err(error) if Instant::now() > deadline => {
                return Err(error).with_context(|| format!("waited for: {what}"));
            }
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
}

/// `Err` with the reason unless it holds.
pub fn expect(holds: bool, otherwise: impl FnOnce() -> String) -> Result<()> {
    if holds {
        return Ok(());
    }
    bail!(otherwise())
}
