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
    /// Until when nobody asks, because the store had less to lease than was wanted.
    dry_until: u64,
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
            let asks = now >= self.asking_until && now >= self.dry_until;
            let refill = cost > 0 && 2 * (left - cost) <= self.granted && asks;
            return if cost == 0 && left == 0 { Said::Ask } else { Said::Leased { level: self.level(now), refill } };
        }
        if now < self.dry_until && self.refusal.is_none() {
            let level = Level { remaining: left, ..self.level(now) };
            return Said::Refused(Refused { level, retry_in: Some(Duration::from_nanos(self.dry_until - now)) });
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
        let rest = if leases.most > 0 { nanos(leases.last) / REST } else { 0 };
        self.known = Known { remaining: answer.remaining, more_at: now.saturating_add(nanos(answer.more_in)) };
        match answer.passes {
            Passes::Yes => {
                self.refusal = None;
                // What comes in meanwhile is leased at once then, for many requests.
                self.dry_until = if answer.leased < wish.want { now.saturating_add(rest) } else { 0 };
                self.lease(Lease {
                    left: answer.leased,
                    until: asked.saturating_add(nanos(leases.last)),
                    mark: answer.mark,
                });
            }
            Passes::Alone => {}
            Passes::No => {
                let passes_at = answer.retry_in.map(|wait| now.saturating_add(nanos(wait)));
                let until = passes_at.unwrap_or(u64::MAX).max(now.saturating_add(rest));
                let until = until.min(now.saturating_add(REMEMBERED));
                self.refusal = Some(Refusal { cost, until, passes_at });
                self.until = self.until.max(until);
            }
        }
        self.until = self.until.max(self.known.more_at.min(now.saturating_add(REMEMBERED)));
    }

    /// All seats are taken, as far as is known until then.
    pub(super) fn refuse(&mut self, cost: u64, remaining: u64, until: u64) {
        self.known = Known { remaining, more_at: 0 };
        self.refusal = Some(Refusal { cost, until, passes_at: None });
        self.until = self.until.max(until);
    }

    /// A seat has become free.
    pub(super) fn ask_again(&mut self) {
        self.refusal = None;
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

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const LEASES: Leases = Leases { most: 50, last: Duration::from_millis(100) };

    fn yes(leased: u64, mark: u64) -> Answer {
        Answer { passes: Passes::Yes, remaining: 7, more_in: Duration::ZERO, retry_in: None, leased, mark }
    }

    fn no(retry_ms: u64) -> Answer {
        let wait = Duration::from_millis(retry_ms);
        Answer { passes: Passes::No, remaining: 0, more_in: wait, retry_in: Some(wait), leased: 0, mark: 0 }
    }

    fn said(cell: &mut Cell, now: u64) -> &'static str {
        match cell.take(1, LEASES, now) {
            Said::Leased { .. } => "leased",
            Said::Refused(_) => "refused",
            Said::Ask => "ask",
        }
    }

    #[test]
    fn a_lease_is_used_up_and_asked_for_anew_and_what_is_out_of_date_is_given_back_with_the_next_question() {
        let mut cell = Cell::default();
        let patience = Duration::from_millis(250);
        assert_eq!(said(&mut cell, 0), "ask");
        assert_eq!(cell.wish(LEASES, 0, patience).want, 10, "as if it went on like this");
        cell.learn(&yes(4, 9), 1, Wish { want: 4, ..Wish::default() }, LEASES, 0, MS);
        assert_eq!([(); 3].map(|()| said(&mut cell, 2 * MS)), ["leased"; 3]);
        assert_eq!(said(&mut cell, 100 * MS), "ask", "it has ended");
        let wish = cell.wish(LEASES, 100 * MS, patience);
        assert_eq!((wish.back, wish.mark), (1, 9));
        assert_eq!(cell.wish(LEASES, 100 * MS, patience).back, 0, "once");
        assert_eq!(cell.wish(LEASES, 101 * MS, patience).want, 0, "one asks for a lease at a time");
    }

    #[test]
    fn who_is_refused_is_refused_here_until_he_would_pass_and_for_a_second_at_most() {
        let one_by_one = Leases { most: 0, ..LEASES };
        let mut cell = Cell::default();
        cell.learn(&no(300), 2, Wish::default(), one_by_one, 0, 0);
        let take = |cell: &mut Cell, cost, at| matches!(cell.take(cost, one_by_one, at), Said::Refused(_));
        assert!(take(&mut cell, 2, 299 * MS) && !take(&mut cell, 1, 299 * MS) && !take(&mut cell, 2, 300 * MS));
        cell.learn(&no(5_000), 1, Wish::default(), one_by_one, 0, 0);
        assert!(take(&mut cell, 1, 999 * MS) && !take(&mut cell, 1, 1_000 * MS), "somebody may have granted more");
    }

    #[test]
    fn a_busy_key_that_has_run_dry_is_asked_for_by_one_request_at_a_time() {
        let mut cell = Cell::default();
        cell.learn(&no(1), 1, Wish::default(), LEASES, 0, 0);
        assert_eq!([19, 20, 20, 39].map(|ms| said(&mut cell, ms * MS)), ["refused", "ask", "refused", "refused"]);
        cell.learn(&yes(1, 1), 1, Wish::default(), LEASES, 20 * MS, 21 * MS);
        assert_eq!([22, 22].map(|ms| said(&mut cell, ms * MS)), ["leased", "ask"]);
        let wish = Wish { want: 9, ..Wish::default() };
        cell.learn(&yes(1, 1), 1, wish, LEASES, 22 * MS, 22 * MS);
        assert_eq!([22, 22, 41, 42].map(|ms| said(&mut cell, ms * MS)), ["leased", "refused", "refused", "ask"]);
    }
}
