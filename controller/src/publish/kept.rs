//! Certificates whose Secret has become broken, or is gone: what was served is served on until it expires, so that a slip while
//! renewing takes no host down. What was never good is not served, and what no route refers to any longer is forgotten.
//!
//! It is beside the compiler, which knows its model's moment and no past. It lasts as long as the process: one that starts anew knows
//! only what is there.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ravelin_snapshot::{ObjectKey, Snapshot, certificate::Certificate};

use crate::{
    compile::holds_certificate,
    model::{Model, Shelf},
    object::{Object, Secret},
};

#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Of the last model.
    secrets: Shelf<ObjectKey, Object<Secret>>,
    certificates: Shelf<ObjectKey, Certificate>,
}

impl Kept {
    /// The model with what is kept for it. `served` is what the last one came to.
    pub(super) fn fill(&mut self, mut model: Model, served: Option<&Snapshot>, now: SystemTime) -> Model {
        if let Some(served) = served {
            for change in model.secrets.changes(&self.secrets) {
                match served.certificates.get(change.key) {
                    Some(part) if !holds_certificate(change.key, change.after) => {
                        self.certificates.set(change.key.clone(), Certificate::clone(part));
                    }
                    Some(_) | None => self.certificates.remove(change.key),
                }
            }
            let over = |key: &ObjectKey, kept: &Certificate| {
                served.certificates.get(key).is_none() || time_left(kept, now).is_zero()
            };
            let over = self.certificates.iter().filter(|(key, kept)| over(key, kept));
            for key in over.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
                self.certificates.remove(&key);
            }
        }
        self.secrets = model.secrets.clone();
        model.kept_certificates = self.certificates.clone();
        model
    }

    /// In how long something of it may have expired; `None`: nothing is kept.
    pub(super) fn expiry(&self, now: SystemTime) -> Option<Duration> {
        self.certificates.iter().map(|(_, kept)| time_left(kept, now)).min()
    }
}

fn time_left(certificate: &Certificate, now: SystemTime) -> Duration {
    time_until(certificate.not_after, now)
}

/// Until a second since the epoch. What lies beyond all clocks never comes.
pub(super) fn time_until(moment: i64, now: SystemTime) -> Duration {
    let moment = UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(moment).unwrap_or(0)));
    moment.map_or(Duration::MAX, |moment| moment.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests;
