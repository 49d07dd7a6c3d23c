//! Conditions: printed from a verdict and from who serves it, and compared with what an object's status says already.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use ravelin_crds::{CONTROLLER_NAME, ParentReference, RouteParentStatus};

use crate::verdict::{State, Verdict};

/// The conditions of every kind of ours, in the order in which they are written.
const NAMES: [&str; 3] = ["Accepted", "ResolvedRefs", "Programmed"];

/// What a condition says, without its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub truth: bool,
    pub reason: String,
    pub message: String,
}

/// What a status should say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub generation: i64,
    pub accepted: Said,
    pub resolved_refs: Said,
    pub programmed: Said,
}

/// What the status of an object says, in the few bytes that tell whether it has to be written again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    stamps: [Option<Stamp>; 3],
    /// Of `status.parents`.
    parents: u64,
}

/// One condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    truth: bool,
    generation: i64,
    /// Of the reason and the message.
    words: u64,
    /// Seconds since the epoch.
    since: i64,
}

impl From<&State> for Said {
    fn from(state: &State) -> Self {
        Self { truth: state.status, reason: format!("{:?}", state.reason), message: state.message.clone().into_owned() }
    }
}

impl Wanted {
    pub(super) fn new(verdict: &Verdict, programmed: Said) -> Self {
        Self {
            generation: verdict.generation,
            accepted: (&verdict.accepted).into(),
            resolved_refs: (&verdict.resolved_refs).into(),
            programmed,
        }
    }

    fn said(&self) -> [&Said; 3] {
        [&self.accepted, &self.resolved_refs, &self.programmed]
    }

    /// As they are to be written at `now`: a condition that stays true or false keeps its time.
    pub(super) fn conditions(&self, written: &Written, now: Timestamp) -> Vec<Condition> {
        let one = |((said, name), stamp): ((&Said, &str), &Option<Stamp>)| {
            let since = stamp.filter(|stamp| stamp.truth == said.truth);
            let since = since.and_then(|stamp| Timestamp::from_second(stamp.since).ok()).unwrap_or(now);
            Condition {
                type_: name.to_owned(),
                status: if said.truth { "True" } else { "False" }.to_owned(),
                observed_generation: Some(self.generation),
                // Kubernetes keeps whole seconds.
                last_transition_time: Time(Timestamp::from_second(since.as_second()).unwrap_or(since)),
                reason: said.reason.clone(),
                message: said.message.clone(),
            }
        };
        self.said().into_iter().zip(NAMES).zip(&written.stamps).map(one).collect()
    }
}

/// The same conditions for each parent.
pub(super) fn parents(references: &[ParentReference], conditions: &[Condition]) -> Vec<RouteParentStatus> {
    let parent = |reference: &ParentReference| RouteParentStatus {
        parent_ref: reference.clone(),
        controller_name: CONTROLLER_NAME.to_owned(),
        conditions: conditions.to_vec(),
    };
    references.iter().map(parent).collect()
}

impl Written {
    pub(crate) fn read(conditions: &[Condition], parents: &[RouteParentStatus]) -> Self {
        let stamp = |name: &str| {
            let condition = conditions.iter().find(|condition| condition.type_ == name)?;
            Some(Stamp {
                truth: condition.status == "True",
                generation: condition.observed_generation.unwrap_or_default(),
                words: words(&condition.reason, &condition.message),
                since: condition.last_transition_time.0.as_second(),
            })
        };
        Self { stamps: NAMES.map(stamp), parents: hash_of(parents) }
    }

    /// Whether it says what is wanted already.
    pub(super) fn fits(&self, wanted: &Wanted, references: &[ParentReference]) -> bool {
        let same = |(said, stamp): (&Said, &Option<Stamp>)| {
            stamp.is_some_and(|stamp| {
                stamp.truth == said.truth
                    && stamp.generation == wanted.generation
                    && stamp.words == words(&said.reason, &said.message)
            })
        };
        wanted.said().into_iter().zip(&self.stamps).all(same)
            && self.parents == hash_of(&parents(references, &wanted.conditions(self, Timestamp::UNIX_EPOCH)))
    }

    /// Whether it says `Programmed: True` of this generation.
    pub(super) fn is_programmed(&self, generation: i64) -> bool {
        self.stamps[2].is_some_and(|stamp| stamp.truth && stamp.generation == generation)
    }

    /// Whether it says `Accepted: False` of this generation.
    pub(super) fn was_refused(&self, generation: i64) -> bool {
        self.stamps[0].is_some_and(|stamp| !stamp.truth && stamp.generation == generation)
    }
}

fn words(reason: &str, message: &str) -> u64 {
    hash_of(&(reason, message))
}

/// For comparison within this process.
fn hash<T: std::hash::Hash + ?Sized>(value: &T) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(value)
}

fn hash_of<T: serde::Serialize + ?Sized>(value: &T) -> u64 {
    // Plain data always encodes; what does not differs from everything that does.
    hash(&serde_json::to_string(value).unwrap_or_default())
}
