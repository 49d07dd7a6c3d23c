//! `Programmed`: whether every ready replica serves an object as it is.
//!
//! A data plane that refuses what its compiler accepted is a bug, and a replica that is silent for 30 s is a machine that hangs:
//! neither is brought about in a cluster by a test that means well. `Refused` and `ProgrammedExcept` are tested in
//! `ledger/tests.rs`, from a data plane's refusal over the replica's Lease to the condition that is written.

use tokio::time::Instant;

use super::conditions::Said;
use crate::{
    replica::{Roster, Standing},
    watch::Marks,
};

/// What the replicas make of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Programmed {
    /// By every ready replica, but for those that have been silent for too long.
    Yes { except: Vec<String> },
    /// Some replica is expected to serve it soon.
    NotYet(Said),
    /// Some replica will not until something else changes.
    Refused(Said),
}

/// `need`: the marks at which a replica serves it.
pub(super) fn judge(need: &Marks, roster: &Roster, now: Instant) -> Programmed {
    let (mut serving, mut behind, mut refusing, mut silent) = (0_usize, Vec::new(), Vec::new(), Vec::new());
    for replica in roster.ready() {
        match replica.standing(need, now) {
            Standing::Serves => serving += 1,
            Standing::Behind => behind.push(replica.pod.to_owned()),
            Standing::Refuses(why) => refusing.push(format!("{} ({why})", replica.pod)),
            Standing::Silent => silent.push(replica.pod.to_owned()),
        }
    }
    if !refusing.is_empty() {
        let message = format!("These replicas do not take the latest snapshot: {}.", refusing.join(", "));
        return Programmed::Refused(Said { truth: false, reason: "Refused".to_owned(), message });
    }
    if !behind.is_empty() {
        return not_yet(format!("Not served yet by {}.", behind.join(", ")));
    }
    if serving == 0 {
        return not_yet("No replica is ready and reports what it serves.".to_owned());
    }
    Programmed::Yes { except: silent }
}

fn not_yet(message: String) -> Programmed {
    Programmed::NotYet(Said { truth: false, reason: "Pending".to_owned(), message })
}

impl Programmed {
    pub(super) fn said(&self) -> Said {
        match self {
            Self::NotYet(said) | Self::Refused(said) => said.clone(),
            Self::Yes { except } if except.is_empty() => Said {
                truth: true,
                reason: "Programmed".to_owned(),
                message: "Every ready replica serves it.".to_owned(),
            },
            Self::Yes { except } => Said {
                truth: true,
                reason: "ProgrammedExcept".to_owned(),
                message: format!(
                    "Every ready replica serves it, but for those that have not reported for 30 s: {}.",
                    except.join(", ")
                ),
            },
        }
    }
}

/// What is not accepted is not served as it says.
pub(super) fn not_accepted() -> Said {
    Said {
        truth: false,
        reason: "Invalid".to_owned(),
        message: "It is not accepted: see the condition Accepted.".to_owned(),
    }
}
