//! What limits would say of a request, for `explain`: nothing is taken, counted or noted.

use std::time::{Duration, Instant};

use super::{
    Limit, Phase, RateLimitPolicy,
    admit::{Limits, Wanted},
    count::Moment,
    keys::Key,
    permit,
    plan::Planned,
};
use crate::{expression::Scope, reject::Reason};

/// What a policy would say.
#[derive(Debug, Default)]
pub struct Foreseen<'p> {
    /// By their names, in the order in which they are asked. Without a preview the limit is not for this request.
    pub limits: Vec<(&'p str, Option<Preview>)>,
    /// The caller's plan cannot be enforced.
    pub broken_plan: bool,
}

/// What a limit would say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// What the limit's key is for the request.
    pub key: String,
    pub cost: u64,
    /// Requests that pass now.
    pub remaining: u64,
    /// How long it may wait for its turn.
    pub patience: Duration,
    /// It is refused for so long, whatever passes.
    pub banned: Option<Duration>,
    /// Why it would be refused, if it would.
    pub refusal: Option<Reason>,
}

impl RateLimitPolicy {
    pub fn preview(&self, phase: Phase, scope: &Scope<'_>, now: Instant) -> Foreseen<'_> {
        let at = Moment { now, clock: scope.now };
        let mut foreseen = Foreseen { limits: self.limits.preview(phase, scope, None, at), broken_plan: false };
        match self.planned(phase, scope, false) {
            Planned::Nothing => {}
            Planned::Limits(limits, of) => foreseen.limits.extend(limits.preview(phase, scope, Some(&of), at)),
            Planned::Broken => foreseen.broken_plan = true,
        }
        foreseen
    }
}

impl Limits {
    fn preview(&self, phase: Phase, scope: &Scope<'_>, of: Option<&str>, at: Moment) -> Vec<(&str, Option<Preview>)> {
        let banned = self.banned(phase, scope, of, at);
        let mut told = Vec::new();
        if let Some((limit, key, left)) = banned {
            let cost = limit.cost(scope).unwrap_or(1);
            let preview = limit.preview(key, cost, Some(left), scope, of, at);
            told.push((limit.said.name.as_str(), Some(preview)));
        }
        let is_told = |limit: &Limit| banned.is_some_and(|(banned, ..)| std::ptr::eq(banned, limit));
        let wanted = self.wanted(phase, scope, of);
        for Wanted { place, key, cost, .. } in &wanted {
            let limit = &self.all[*place];
            if !is_told(limit) {
                told.push((&limit.said.name, Some(limit.preview(*key, *cost, None, scope, of, at))));
            }
        }
        for (place, limit) in self.all.iter().enumerate() {
            let asked = is_told(limit) || wanted.iter().any(|wanted| wanted.place == place);
            if limit.said.phase == phase && !asked {
                told.push((&limit.said.name, None));
            }
        }
        told
    }
}

impl Limit {
    fn preview(
        &self,
        key: Key,
        cost: u64,
        banned: Option<Duration>,
        scope: &Scope<'_>,
        of: Option<&str>,
        at: Moment,
    ) -> Preview {
        let (remaining, patience) = (self.count.level(key, at).remaining, self.patience());
        let refused = banned.is_some() || (cost > remaining && patience.is_zero());
        Preview {
            key: self.key_text(scope, of).into_owned(),
            cost,
            remaining,
            patience,
            banned,
            refusal: refused.then(|| permit::reason(self)),
        }
    }
}
