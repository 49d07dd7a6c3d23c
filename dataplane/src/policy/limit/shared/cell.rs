//! What a replica knows of one key of a shared limit: what it has leased of it, and until when it is refused.
//!
//! Time is in nanoseconds since the start of the keys. A lease ends by the time at which it was asked for, so never later than
//! the store thinks.

use std::time::Duration;

use super::{
    super::{
        count::{Level, Refused},
        keys::Entry,
    },
    rule::Leases,
};

/// Who is refused is refused without asking until he would pass, and for so long at most: somebody may have granted more.
const REMEMBERED: u64 = 1_000_000_000;
/// Of the life of a lease: how often a key that has run dry is asked for, so that many a request comes of one question.
const REST: u64 = 5;

#[derive(Clone, Debug, Default)]
pub(super) struct Cell {
    /// The first is used up first.
    leases: [Lease; 2],
    /// Unused and out of date: it is given back with the next question.
    back: Lease,
    refusal: Option<Refusal>,
    /// Requests that came since the last question, and when that was.
    demand: u64,
    since: u64,
    /// Until when an answer is waited for, with a lease.
    asking_until: u64,
    granted: u64,
    known: Known,
    /// From then on it says nothing.
    until: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Lease {
    left: u64,
    until: u64,
    /// By which the store knows it.
    mark: u64,
}

#[derive(Clone, Copy, Debug)]
struct Refusal {
    /// So much did not pass.
    cost: u64,
    until: u64,
    /// Until it would have passed; `None`: never.
    passes_at: Option<u64>,
}

/// What the store said last.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    remaining: u64,
    more_at: u64,
}

/// What a cell says to a request.
#[derive(Debug)]
pub(super) enum Said {
    /// It passes by a lease; whether a new one is due.
    Leased {
        level: Level,
        refill: bool,
    },
    Refused(Refused),
    Ask,
}

/// What is asked of the store besides the cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wish {
    pub(super) want: u64,
    pub(super) back: u64,
    pub(super) mark: u64,
}

/// What the store says of one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) passes: Passes,
    pub(super) remaining: u64,
    pub(super) more_in: Duration,
    /// `None`: never.
    pub(super) retry_in: Option<Duration>,
    pub(super) leased: u64,
    pub(super) mark: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passes {
    /// And all others of its group.
    Yes,
    /// But another of its group does not, so nothing was taken.
    Alone,
    No,
}

impl Entry for Cell {
    fn until(&self) -> u64 {
        self.until
    }
}

impl Cell {
    /// Takes `cost` of what is leased.
    pub(super) fn take(&mut self, cost: u64, leases: Leases, now: u64) -> Said {
        self.expire(now);
        self.demand = self.demand.saturating_add(cost);
        let left = self.left();
        if cost <= left {
            let second = cost.saturating_sub(self.leases[0].left);
            self.leases[0].left -= cost - second;
            self.leases[1].left -= second;
            let refill = cost > 0 && 2 * (left - cost) <= self.granted && now >= self.asking_until;
            return if cost == 0 && left == 0 { Said::Ask } else { Said::Leased { level: self.level(now), refill } };
        }
        match &mut self.refusal {
            Some(refusal) if cost >= refusal.cost && now < refusal.until => {
                let retry_in = refusal.passes_at.map(|at| Duration::from_nanos(at.saturating_sub(now)));
                Said::Refused(Refused { level: self.level(now), retry_in })
            }
            // One asks for all, and the others wait for what he brings.
            Some(refusal) if cost >= refusal.cost && leases.most > 0 => {
                refusal.until = now.saturating_add(nanos(leases.last) / REST);
                refusal.passes_at = refusal.passes_at.map(|_| refusal.until);
                Said::Ask
            }
            _ => Said::Ask,
        }
    }

    /// What is asked for with a question that is answered within `patience` or not at all.
    pub(super) fn wish(&mut self, leases: Leases, now: u64, patience: Duration) -> Wish {
        self.expire(now);
        let (life, elapsed) = (nanos(leases.last), now.saturating_sub(self.since));
        let mut want = 0;
        if now >= self.asking_until && elapsed <= life.saturating_mul(4) && life > 0 {
            // As many as come in the life of a lease, by what came since the last question.
            let pace = u128::from(self.demand) * u128::from(life) / u128::from(elapsed.max(life / 10).max(1));
            want = u64::try_from(pace).unwrap_or(u64::MAX).min(leases.most);
        }
        if want > 0 {
            self.asking_until = now.saturating_add(nanos(patience));
        }
        (self.demand, self.since) = (0, now);
        let Lease { left: back, mark, .. } = std::mem::take(&mut self.back);
        self.until = self.until.max(now.saturating_add(life.saturating_mul(4)));
        Wish { want, back, mark }
    }

    /// An answer to what was asked at `asked`.
    pub(super) fn learn(&mut self, answer: &Answer, cost: u64, wish: Wish, leases: Leases, asked: u64, now: u64) {
        if wish.want > 0 {
            self.asking_until = 0;
        }
        self.known = Known { remaining: answer.remaining, more_at: now.saturating_add(nanos(answer.more_in)) };
        match answer.passes {
            Passes::Yes => {
                self.refusal = None;
                self.lease(Lease {
                    left: answer.leased,
                    until: asked.saturating_add(nanos(leases.last)),
                    mark: answer.mark,
                });
            }
            Passes::Alone => {}
            Passes::No => {
                let passes_at = answer.retry_in.map(|wait| now.saturating_add(nanos(wait)));
                let rest = if leases.most > 0 { nanos(leases.last) / REST } else { 0 };
                let until = passes_at.unwrap_or(u64::MAX).max(now.saturating_add(rest));
                let until = until.min(now.saturating_add(REMEMBERED));
                self.refusal = Some(Refusal { cost, until, passes_at });
                self.until = self.until.max(until);
            }
        }
        self.until = self.until.max(self.known.more_at.min(now.saturating_add(REMEMBERED)));
    }

    /// Of a lease, for a request that did not pass after all.
    pub(super) fn give_back(&mut self, cost: u64) {
        self.leases[0].left = self.leases[0].left.saturating_add(cost);
    }

    pub(super) fn level(&self, now: u64) -> Level {
        let more_in = Duration::from_nanos(self.known.more_at.saturating_sub(now));
        Level { remaining: self.known.remaining.saturating_add(self.left()), more_in: Some(more_in), term: None }
    }

    fn left(&self) -> u64 {
        self.leases[0].left + self.leases[1].left
    }

    fn lease(&mut self, new: Lease) {
        if new.left == 0 {
            return;
        }
        self.granted = new.left;
        self.until = self.until.max(new.until.saturating_add(nanos(Duration::from_secs(1))));
        let [first, second] = &mut self.leases;
        if first.left == 0 {
            (*first, *second) = (*second, Lease::default());
        }
        let place = self.leases.iter_mut().find(|lease| lease.left == 0);
        match place {
            Some(place) => *place = new,
            None => self.put_back(new),
        }
        if self.leases[0].left == 0 {
            self.leases.swap(0, 1);
        }
    }

    fn expire(&mut self, now: u64) {
        for at in 0..2 {
            if self.leases[at].left > 0 && self.leases[at].until <= now {
                let old = std::mem::take(&mut self.leases[at]);
                self.put_back(old);
            }
        }
        if self.leases[0].left == 0 {
            self.leases.swap(0, 1);
        }
    }

    /// Of two leases the older one's mark goes for both: the store gives back no more by it than by the newer one's.
    fn put_back(&mut self, lease: Lease) {
        let mark = if self.back.left == 0 { lease.mark } else { self.back.mark.min(lease.mark) };
        self.back = Lease { left: self.back.left.saturating_add(lease.left), until: 0, mark };
    }
}

pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
