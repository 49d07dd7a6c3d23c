//! Against a model that remembers everything and counts anew at every question.

use proptest::prelude::*;

use super::*;

fn said() -> Breaker {
    Breaker {
        window_ms: 10_000,
        min_requests: 4,
        failure_percent: Some(50),
        consecutive_failures: Some(3),
        open_for_ms: 5_000,
        half_open_requests: 2,
        success_threshold: 2,
    }
}

const fn at(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn go(machine: &mut Machine, outcome: Outcome, now: Duration) {
    let ticket = machine.admit(now).unwrap();
    machine.tell(ticket, outcome, now);
}

#[test]
fn failures_in_a_row_open_it_and_successes_close_it_again() {
    let mut machine = Machine::new(said());
    for _ in 0..3 {
        go(&mut machine, Outcome::Failure, at(0));
    }
    assert_eq!(machine.state(at(4_999)), State::Open);
    assert!(machine.admit(at(4_999)).is_none());
    let first = machine.admit(at(5_000)).unwrap();
    let second = machine.admit(at(5_000)).unwrap();
    assert!(machine.admit(at(5_000)).is_none(), "two at once may try");
    machine.tell(first, Outcome::Success, at(5_001));
    assert_eq!(machine.state(at(5_001)), State::HalfOpen);
    machine.tell(second, Outcome::Success, at(5_001));
    assert_eq!(machine.state(at(5_001)), State::Closed);
}

#[test]
fn a_share_of_failures_opens_it_once_there_are_enough_requests() {
    let mut machine = Machine::new(said());
    for outcome in [Outcome::Failure, Outcome::Success, Outcome::Success] {
        go(&mut machine, outcome, at(0));
    }
    assert_eq!(machine.state(at(0)), State::Closed);
    go(&mut machine, Outcome::Failure, at(9_999));
    assert_eq!(machine.state(at(9_999)), State::Open);
}

#[test]
fn who_was_admitted_before_has_no_say_after() {
    let mut machine = Machine::new(said());
    let late = machine.admit(at(0)).unwrap();
    for _ in 0..3 {
        go(&mut machine, Outcome::Failure, at(0));
    }
    let tries = machine.admit(at(5_000)).unwrap();
    machine.tell(late, Outcome::Failure, at(5_000));
    assert_eq!(machine.state(at(5_000)), State::HalfOpen);
    machine.tell(tries, Outcome::Unknown, at(5_000));
    assert!(machine.admit(at(5_000)).is_some(), "who gives up makes room");
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Pass(u64),
    Admit,
    /// The oldest or the newest who is under way.
    Tell(bool, Outcome),
    Reset,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let outcome = prop_oneof![Just(Outcome::Success), Just(Outcome::Failure), Just(Outcome::Unknown)];
    let step = prop_oneof![
        3 => (0_u64..4_000).prop_map(Step::Pass),
        8 => Just(Step::Admit),
        8 => (any::<bool>(), outcome).prop_map(|(oldest, outcome)| Step::Tell(oldest, outcome)),
        1 => Just(Step::Reset),
    ];
    prop::collection::vec(step, 1..300)
}

/// What was told since the last change, and how many are under way since then.
#[derive(Default)]
struct Model {
    era: usize,
    open_until: Option<u64>,
    half: bool,
    told: Vec<(u64, bool)>,
    under_way: u32,
}

impl Model {
    fn next(&mut self, open_until: Option<u64>, half: bool) {
        *self = Self { era: self.era + 1, open_until, half, told: vec![], under_way: 0 };
    }

    fn admits(&mut self, said: &Breaker, now: u64) -> bool {
        if self.open_until.is_some_and(|until| now >= until) {
            self.next(None, true);
        }
        let admits = self.open_until.is_none() && (!self.half || self.under_way < said.half_open_requests);
        self.under_way += u32::from(admits);
        admits
    }

    fn tell(&mut self, said: &Breaker, era: usize, outcome: Outcome, now: u64) {
        if era != self.era {
            return;
        }
        self.under_way -= 1;
        let failed = outcome == Outcome::Failure;
        if outcome != Outcome::Unknown {
            self.told.push((now, failed));
        }
        if self.half {
            if failed {
                self.next(Some(now + said.open_for_ms), false);
            } else if self.told.len() >= said.success_threshold as usize {
                self.next(None, false);
            }
        } else if failed {
            let piece = said.window_ms / 10;
            let recent: Vec<bool> =
                self.told.iter().filter(|(at, _)| at / piece + 10 > now / piece).map(|(_, failed)| *failed).collect();
            let failures = recent.iter().filter(|failed| **failed).count();
            let row = self.told.iter().rev().take_while(|(_, failed)| *failed).count();
            let many = said.failure_percent.is_some_and(|percent| {
                recent.len() >= said.min_requests as usize && failures * 100 >= recent.len() * usize::from(percent)
            });
            if many || said.consecutive_failures.is_some_and(|most| row >= most as usize) {
                self.next(Some(now + said.open_for_ms), false);
            }
        }
    }

    fn state(&self, now: u64) -> State {
        match (self.open_until, self.half) {
            (Some(until), _) if now < until => State::Open,
            (Some(_), _) | (None, true) => State::HalfOpen,
            (None, false) => State::Closed,
        }
    }
}

proptest! {
    #[test]
    fn it_does_what_the_model_does(
        steps in steps(),
        failure_percent in prop::option::of(1_u8..=100),
        consecutive_failures in prop::option::of(1_u32..6),
        (min_requests, half_open_requests, success_threshold) in (1_u32..8, 1_u32..4, 1_u32..4),
    ) {
        let said = Breaker {
            failure_percent, consecutive_failures, min_requests, half_open_requests, success_threshold, ..said()
        };
        let (mut machine, mut model, mut now) = (Machine::new(said.clone()), Model::default(), 0);
        let mut under_way = std::collections::VecDeque::new();
        for step in steps {
            match step {
                Step::Pass(millis) => now += millis,
                Step::Admit => {
                    let ticket = machine.admit(at(now));
                    prop_assert_eq!(ticket.is_some(), model.admits(&said, now));
                    under_way.extend(ticket.map(|ticket| (ticket, model.era)));
                }
                Step::Tell(oldest, outcome) => {
                    let who = if oldest { under_way.pop_front() } else { under_way.pop_back() };
                    let Some((ticket, era)) = who else { continue };
                    machine.tell(ticket, outcome, at(now));
                    model.tell(&said, era, outcome, now);
                }
                Step::Reset => {
                    machine.reset();
                    model.next(None, false);
                }
            }
            prop_assert_eq!(machine.state(at(now)), model.state(now));
        }
    }
}
