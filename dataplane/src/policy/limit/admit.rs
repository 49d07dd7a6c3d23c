//! All or nothing: what a request takes from its limits, and gives back when one of them refuses.

use std::{cmp, mem, time::Duration};

use ravelin_snapshot::rate_limit::Phase;

use super::{
    Limit,
    count::{Count, Hold, Level, Moment, Patience, Refused, Taken, Turn},
    keys::Key,
    shared::{self, Asked, Question},
};
use crate::expression::{Program, Scope};

/// The limits of a policy, or of a plan.
pub(super) struct Limits {
    pub(super) all: Vec<Limit>,
    /// Whether some have parents.
    family: bool,
    /// Whether some ban.
    bans: bool,
}

/// What a request wants of a limit.
pub(super) struct Wanted {
    /// Of the limit in its list.
    pub(super) place: usize,
    pub(super) key: Key,
    /// The key as it is kept, if it is.
    text: Option<String>,
    pub(super) cost: u64,
}

/// What a request has taken so far. It is given back unless it is kept.
pub(super) struct Attempt<'t> {
    at: Moment,
    held: Vec<Held<'t>>,
}

struct Held<'t> {
    limit: &'t Limit,
    cost: u64,
    taken: Taken,
    /// What it was taken from, if that is not the limit's own count.
    from: Option<Box<Count>>,
}

/// Why a request that waited is not admitted.
pub(super) enum Denied<'t> {
    Limit(Refusal<'t>),
    /// The limit's store is away, and its policy says `Deny`.
    Unavailable(&'t Limit),
}

/// A limit that refuses, and what it says.
pub(super) type Refusal<'t> = (&'t Limit, Refused);

impl Limits {
    pub(super) fn new(mut all: Vec<Limit>) -> Self {
        for own in 0..all.len() {
            let named = |parent: &String| all.iter().position(|limit| limit.said.name == *parent);
            all[own].parent = all[own].said.parent.as_ref().and_then(named);
        }
        let family = all.iter().any(|limit| limit.parent.is_some());
        let bans = all.iter().any(|limit| limit.bans.is_some());
        Self { all, family, bans }
    }

    /// Those that are for this request by themselves. Keys are below `of`.
    fn direct(&self, phase: Phase, scope: &Scope<'_>, of: Option<&str>) -> impl Iterator<Item = Wanted> {
        let limits = self.all.iter().enumerate().filter(move |(_, limit)| limit.said.phase == phase);
        limits.filter(|(_, limit)| limit.is_for(scope)).map(move |(place, limit)| {
            let (key, text) = limit.key(scope, of);
            Wanted { place, key, text, cost: limit.cost(scope).unwrap_or(1) }
        })
    }

    /// Those that are for this request, and their ancestors, each once. Keys are below `of`.
    pub(super) fn wanted(&self, phase: Phase, scope: &Scope<'_>, of: Option<&str>) -> Vec<Wanted> {
        let mut wanted: Vec<Wanted> = self.direct(phase, scope, of).collect();
        if self.family {
            for at in 0..wanted.len() {
                self.ancestors(at, &mut wanted, scope, of);
            }
        }
        wanted
    }

    /// What a child takes, it takes from its parent too; several children of one request take as the largest of them does. A
    /// parent with a cost of its own goes by that.
    fn ancestors(&self, at: usize, wanted: &mut Vec<Wanted>, scope: &Scope<'_>, of: Option<&str>) {
        let Wanted { mut place, mut cost, .. } = wanted[at];
        // A bound on steps, should there be a cycle in spite of the compiler.
        for _ in 0..self.all.len() {
            let parent = self.all[place].parent.and_then(|parent| Some((parent, self.all.get(parent)?)));
            let Some((parent, limit)) = parent else { return };
            match wanted.iter_mut().find(|known| known.place == parent) {
                Some(known) if limit.cost.is_none() => {
                    known.cost = cmp::max(known.cost, cost);
                    cost = known.cost;
                }
                Some(known) => cost = known.cost,
                None => {
                    cost = limit.cost(scope).unwrap_or(cost);
                    let (key, text) = limit.key(scope, of);
                    wanted.push(Wanted { place: parent, key, text, cost });
                }
            }
            place = parent;
        }
    }

    /// Whether a limit has banned the request's key, of those that can tell in this phase: before authentication all whose
    /// keys do not depend on the caller, whatever their phase, for a ban is to be cheap.
    pub(super) fn banned(
        &self,
        phase: Phase,
        scope: &Scope<'_>,
        of: Option<&str>,
        at: Moment,
    ) -> Option<(&Limit, Key, Duration)> {
        if !self.bans {
            return None;
        }
        self.all.iter().find_map(|limit| {
            let bans = limit.bans.as_ref()?;
            let early = limit.said.phase == Phase::PreAuthentication || (of.is_none() && !limit.key_of_caller);
            if early != (phase == Phase::PreAuthentication) {
                return None;
            }
            let (key, _) = limit.key(scope, of);
            Some((limit, key, bans.left(key, at.now)?))
        })
    }
}

impl<'t> Attempt<'t> {
    pub(super) fn new(at: Moment) -> Self {
        Self { at, held: Vec::new() }
    }

    /// Takes from all of these limits that are for this request. After a refusal the attempt is to be dropped.
    pub(super) fn take(
        &mut self,
        limits: &'t Limits,
        phase: Phase,
        scope: &Scope<'_>,
        of: Option<&str>,
        priority: Option<&Program>,
    ) -> Result<(), Refusal<'t>> {
        if let Some((limit, key, left)) = limits.banned(phase, scope, of, self.at) {
            limit.refused.add(1);
            return Err((limit, Refused { level: limit.count.level(key, self.at), retry_in: Some(left) }));
        }
        let weight = |limit: &Limit| {
            let priority = priority.filter(|_| limit.count.weighs() && !limit.patience().is_zero());
            // A negative weight is 0, an error is 1.
            priority.map(|said| said.eval_int(scope).map_or(1, |weight| weight.max(0).unsigned_abs()))
        };
        let mut take = |wanted| self.take_one(limits, wanted, &weight);
        if limits.family {
            limits.wanted(phase, scope, of).into_iter().try_for_each(&mut take)
        } else {
            limits.direct(phase, scope, of).try_for_each(&mut take)
        }
    }

    fn take_one(
        &mut self,
        limits: &'t Limits,
        Wanted { place, key, text, cost }: Wanted,
        weight: &dyn Fn(&Limit) -> Option<u64>,
    ) -> Result<(), Refusal<'t>> {
        let limit = &limits.all[place];
        let patience = Patience { time: limit.patience(), weight: weight(limit) };
        match limit.count.take((key, text.as_deref()), cost, self.at, patience) {
            Ok(taken) => {
                self.held.push(Held { limit, cost, taken, from: None });
                Ok(())
            }
            Err(refused) => {
                let text = text.filter(|_| matches!(limit.count, Count::Shared(_)));
                limit.refuses(key, text.as_deref(), self.at.now);
                Err((limit, refused))
            }
        }
    }

    pub(super) fn levels(&self) -> impl Iterator<Item = (&'t Limit, Level)> {
        self.held.iter().map(|held| (held.limit, held.taken.level))
    }

    /// Whether the request has to wait for its turn.
    pub(super) fn waits(&self) -> bool {
        let waits = |turn: &Turn| matches!(turn, Turn::After(_) | Turn::Queued(_) | Turn::InLine(_) | Turn::Asks(_));
        self.held.iter().any(|held| waits(&held.taken.turn))
    }

    /// Whether the store is to be asked.
    pub(super) fn asks(&self) -> bool {
        self.held.iter().any(|held| matches!(held.taken.turn, Turn::Asks(_)))
    }

    /// Waits for all turns, and then asks the store; who gives up has taken nothing. What is kept of `shadows`, which count each
    /// by itself, is handed back.
    pub(super) async fn wait(&mut self, mut shadows: Vec<Self>) -> Result<Vec<Hold>, Denied<'t>> {
        self.turns().await.map_err(Denied::Limit)?;
        let mut admitted = Ok(());
        if self.asks() || !shadows.is_empty() {
            admitted = self.ask(&mut shadows).await;
        }
        if admitted.is_ok() {
            // Of what the store has promised, or of this replica's share.
            admitted = self.turns().await.map_err(Denied::Limit);
        }
        let mut kept = Vec::new();
        shadows.into_iter().for_each(|shadow| shadow.keep(&mut kept));
        admitted.map(|()| kept)
    }

    /// All questions of the request in one, which is asked again while it may wait for a seat.
    async fn ask(&mut self, shadows: &mut Vec<Self>) -> Result<(), Denied<'t>> {
        let (at, mut first) = (self.at, None);
        if let Some((late, until)) =
            self.questions().find_map(|one| Some((one.is_late().then_some(one)?, one.patience(at)?)))
        {
            late.waits(&mut first, until).await; // in vain it asks once, too
        }
        loop {
            let groups = std::iter::once(&*self).chain(&*shadows).enumerate();
            let questions: Vec<(usize, &Question)> = groups
                .flat_map(|(group, attempt)| attempt.questions().map(move |question| (group, question)))
                .collect();
            let asked = shared::ask(&questions, at).await;
            // Who is refused by something else, too, waits in vain.
            let refused = self.questions().zip(&asked).filter(|(_, asked)| matches!(asked, Asked::Refused(_)));
            let waits = refused.map(|(question, _)| Some((question, question.patience(at)?)));
            let waits = waits.collect::<Option<Vec<_>>>().and_then(|all| all.first().copied());
            let mut asked = asked.into_iter();
            if let Some((question, until)) = waits
                && question.waits(&mut first, until).await
            {
                // Nothing was taken, but for those in `Shadow`, which wait for nobody.
                asked.by_ref().take(self.questions().count()).for_each(drop);
                shadows.retain_mut(|shadow| shadow.settle(&mut asked).is_ok());
                continue;
            }
            let own = self.settle(&mut asked);
            shadows.retain_mut(|shadow| shadow.settle(&mut asked).is_ok());
            return own;
        }
    }

    fn questions(&self) -> impl Iterator<Item = &Question> {
        self.held.iter().filter_map(|held| match &held.taken.turn {
            Turn::Asks(question) => Some(&**question),
            Turn::Now | Turn::After(_) | Turn::Seated(_) | Turn::Queued(_) | Turn::InLine(_) => None,
        })
    }

    /// Takes what came of its questions, in their order.
    fn settle(&mut self, asked: &mut impl Iterator<Item = Asked>) -> Result<(), Denied<'t>> {
        let mut denied = Ok(());
        for held in self.held.iter_mut().filter(|held| matches!(held.taken.turn, Turn::Asks(_))) {
            let Turn::Asks(question) = mem::replace(&mut held.taken.turn, Turn::Now) else { continue };
            let why = match asked.next() {
                Some(Asked::Passes(level, wait)) => {
                    held.taken.level = level;
                    let wait = if wait.is_zero() {
                        wait
                    } else {
                        wait + tokio::time::Instant::now().into_std().saturating_duration_since(self.at.now)
                    };
                    held.taken.turn = Turn::after(wait);
                    continue;
                }
                Some(Asked::Seated(level, seat)) => {
                    (held.taken.level, held.taken.turn) = (level, Turn::Seated(Hold::Shared(seat)));
                    continue;
                }
                Some(Asked::Local(count, taken)) => {
                    (held.taken, held.from) = (taken, Some(Box::new(count)));
                    continue;
                }
                Some(Asked::Nothing) => continue,
                Some(Asked::Refused(refused)) => {
                    held.limit.refuses(held.taken.key, Some(question.text()), self.at.now);
                    Denied::Limit((held.limit, refused))
                }
                Some(Asked::Unavailable) | None => Denied::Unavailable(held.limit),
            };
            if denied.is_ok() {
                denied = Err(why);
            }
        }
        denied
    }

    async fn turns(&mut self) -> Result<(), Refusal<'t>> {
        let mut longest = Duration::ZERO;
        for held in &mut self.held {
            if let Turn::InLine(_) = held.taken.turn {
                longest = longest.max(held.stand_in_line(self.at).await?);
                continue;
            }
            match &mut held.taken.turn {
                Turn::Now | Turn::Seated(_) | Turn::Asks(_) | Turn::InLine(_) => {}
                Turn::After(wait) => longest = longest.max(*wait),
                Turn::Queued(queued) => {
                    let patience = (self.at.now + held.limit.patience()).into();
                    match tokio::time::timeout_at(patience, queued.seat()).await {
                        Ok(Some(seat)) => held.taken.turn = Turn::Seated(Hold::Here(seat)),
                        Ok(None) | Err(_) => {
                            held.limit.refuses(held.taken.key, None, self.at.now);
                            return Err((held.limit, Refused { level: held.taken.level, retry_in: None }));
                        }
                    }
                }
            }
        }
        if !longest.is_zero() {
            tokio::time::sleep_until((self.at.now + longest).into()).await;
        }
        Ok(())
    }

    /// It stays taken; seats until they are dropped. Nearly nobody has one, who then pays for no list of them.
    pub(super) fn keep(mut self, seats: &mut Vec<Hold>) {
        for held in mem::take(&mut self.held) {
            match held.taken.turn {
                Turn::Seated(seat) => seats.push(seat),
                Turn::Now | Turn::After(_) | Turn::Queued(_) | Turn::InLine(_) | Turn::Asks(_) => {}
            }
        }
    }
}

impl<'t> Held<'t> {
    /// Returns after which time since `at` it may go on.
    async fn stand_in_line(&mut self, at: Moment) -> Result<Duration, Refusal<'t>> {
        let Turn::InLine(place) = mem::replace(&mut self.taken.turn, Turn::Now) else { return Ok(Duration::ZERO) };
        let (limit, key, cost) = (self.limit, self.taken.key, mem::take(&mut self.cost));
        let count = self.from.as_deref().unwrap_or(&limit.count);
        match place.wait(count, key, cost, at, limit.patience()).await {
            Ok((mut taken, since)) => {
                let wait = match mem::replace(&mut taken.turn, Turn::Now) {
                    Turn::After(wait) => wait + since.saturating_duration_since(at.now),
                    _ => Duration::ZERO,
                };
                (self.taken, self.cost) = (taken, cost);
                Ok(wait)
            }
            Err(refused) => {
                limit.refuses(key, None, at.now);
                Err((limit, refused))
            }
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        for Held { limit, cost, taken, from } in self.held.drain(..) {
            if let Turn::InLine(_) = taken.turn {
                continue; // nothing is taken yet
            }
            from.as_deref().unwrap_or(&limit.count).give_back(&taken, cost, self.at);
        }
    }
}
