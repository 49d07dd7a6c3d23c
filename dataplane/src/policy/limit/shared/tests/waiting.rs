//! Requests at once, and who waits for a rate.

use super::*;
use crate::policy::limit::{count::Turn, shared::seats::LIFE};

const LIVES: u64 = LIFE.as_micros() as u64;

fn seats(max: u32) -> Rule {
    Rule::new(&Count::Concurrency(max)).unwrap()
}

/// What a replica says besides: see `judge.c`.
const LESS: u64 = 0;
const SUM: u64 = 1;
const HERE: u64 = 2;

#[test]
fn the_seats_of_a_replica_that_has_crashed_are_free_when_it_has_been_silent_for_long_enough() {
    let (mut server, rule) = (Server::start(), seats(3));
    let mut ask = |replica, cost, said, now| {
        server.ask_as("k", &rule, cost, said, (0, replica), START + now).passes == Passes::Yes
    };
    assert!(ask("a", 2, [LESS, 0, 1], 0) && ask("b", 1, [LESS, 0, 1], 0) && !ask("b", 1, [LESS, 0, 2], 0));
    assert!(ask("b", 0, [HERE, 0, 2], LIVES / 2));
    assert!(!ask("b", 1, [LESS, 0, 3], LIVES - 1), "the first is there yet");
    assert!(ask("b", 2, [LESS, 0, 4], LIVES), "and now it is not");
    assert!(!ask("a", 1, [LESS, 0, 2], LIVES), "it was not gone, but its seats were given away");
    assert!(ask("a", 0, [SUM, 0, 2], LIVES) && ask("b", 0, [LESS, 3, 5], LIVES));
    assert!(ask("a", 3, [LESS, 0, 3], LIVES));
}

#[test]
fn a_sum_that_comes_late_is_none_and_one_in_time_puts_right_what_was_lost() {
    let (mut server, rule) = (Server::start(), seats(3));
    let mut ask = |replica, cost, said| {
        let answer = server.ask_as("k", &rule, cost, said, (0, replica), START);
        (answer.passes == Passes::Yes, answer.remaining)
    };
    assert_eq!(ask("a", 2, [LESS, 0, 5]), (true, 1));
    assert_eq!(ask("a", 0, [SUM, 0, 4]), (true, 1), "it was said before");
    assert_eq!(ask("a", 0, [SUM, 1, 5]), (true, 2), "the answer to one question was lost");
    assert_eq!(ask("b", 2, [LESS, 0, 1]), (true, 0));
    assert_eq!(ask("b", 1, [LESS, 1, 2]), (true, 0), "one goes, one comes");
    assert_eq!(ask("b", 0, [LESS, 9, 3]), (true, 2), "never less than nothing");
}

#[test]
fn a_clock_that_steps_back_keeps_no_seat_for_long() {
    let (mut server, rule) = (Server::start(), seats(1));
    let mut ask = |replica, said, now| server.ask_as("k", &rule, 1, said, (0, replica), now).passes == Passes::Yes;
    assert!(ask("crashed", [LESS, 0, 1], START + 3_600_000_000));
    assert!(!ask("a", [LESS, 0, 1], START));
    // Somebody looks, and what he finds is written down.
    assert!(!ask("a", [HERE, 0, 1], START));
    assert!(ask("a", [LESS, 0, 2], START + LIVES));
}

#[derive(Clone, Debug)]
enum Step {
    Come(u64),
    Leave(u64),
    Beat,
    Crash,
}

#[test]
fn replicas_together_have_never_more_requests_at_once_and_use_what_there_is() {
    let server = std::cell::RefCell::new(Server::start());
    let step = prop_oneof![
        6 => (1..4_u64).prop_map(Step::Come),
        4 => (1..4_u64).prop_map(Step::Leave),
        4 => Just(Step::Beat),
        1 => Just(Step::Crash),
    ];
    let steps = proptest::collection::vec((0..3_usize, 0..1_500_u64, step), 1..120);
    proptest!(cases(60), |(max in 1..8_u32, steps in steps)| {
        let mut server = server.borrow_mut();
        server.forget();
        let (rule, mut now) = (seats(max), START);
        // The oracle: of each replica its name, its seats, and until when the store believes it.
        let mut replicas: Vec<(String, u64, u64, u64)> = (0..3).map(|n| (n.to_string(), 0, 0, 0)).collect();
        let mut gone: Vec<(u64, u64)> = Vec::new();
        for (who, gap, step) in steps {
            now += gap * 1_000;
            gone.retain(|(_, until)| *until > now);
            // Who is there says so in time.
            for replica in replicas.iter_mut().filter(|(_, used, until, _)| *used > 0 && *until <= now + 2_000_000) {
                server.ask_as("k", &rule, 0, [SUM, replica.1, replica.3], (0, &replica.0), now.min(replica.2 - 1));
                replica.2 = now.min(replica.2 - 1) + LIVES;
            }
            let lost: u64 = gone.iter().map(|(used, _)| used).sum();
            let used: u64 = replicas.iter().map(|(_, used, ..)| used).sum::<u64>() + lost;
            let (name, own, until, number) = &mut replicas[who];
            *number += 1;
            match step {
                Step::Come(cost) => {
                    let answer = server.ask_as("k", &rule, cost, [LESS, 0, *number], (0, name), now);
                    prop_assert_eq!(answer.passes == Passes::Yes, used + cost <= u64::from(max));
                    prop_assert_eq!(answer.retry_in, None);
                    if answer.passes == Passes::Yes {
                        (*own, *until) = (*own + cost, now + LIVES);
                    }
                }
                Step::Leave(cost) => {
                    let cost = cost.min(*own);
                    server.ask_as("k", &rule, 0, [LESS, cost, *number], (0, name), now);
                    *own -= cost;
                    *until = if cost > 0 { now + LIVES } else { *until };
                }
                Step::Beat => {
                    server.ask_as("k", &rule, 0, [SUM, *own, *number], (0, name), now);
                    *until = now + LIVES;
                }
                Step::Crash => {
                    gone.push((*own, *until));
                    (*name, *own, *until) = (format!("{name}'"), 0, 0);
                }
            }
        }
    });
}

#[test]
fn who_waits_for_a_shared_rate_is_told_the_time_that_one_replica_would_tell() {
    let server = std::cell::RefCell::new(Server::start());
    let asks = proptest::collection::vec((0..400_u64, 0..5_u64), 1..80);
    let rates = (1..40_u32, 1..3_000_u64, 1..20_u32, 0..2_000_u64);
    proptest!(cases(60), |((requests, per_ms, burst, patience) in rates, asks in asks)| {
        let mut server = server.borrow_mut();
        server.forget();
        let start = Instant::now();
        let said = TokenBucket { requests, per_ms, burst };
        let (rule, buckets) = (Rule::new(&Count::TokenBucket(said.clone())).unwrap(), Buckets::new(start));
        let rate = buckets.rate(&said);
        let window = Rule::new(&Count::SlidingWindow(SlidingWindow { requests, per_ms })).unwrap();
        let (mut ms, key, mut begun) = (0, buckets.keys.key("a"), Vec::new());
        let micros = |time: Duration| time.as_nanos().div_ceil(1_000) as u64;
        for (gap, cost) in asks {
            ms += gap;
            let (at, now) = (start + Duration::from_millis(ms), START + ms * 1_000);
            let ours = buckets.take(&rate, key, cost, at, Duration::from_millis(patience));
            let theirs = server.ask_as("b", &rule, cost, [0; 3], (patience * 1_000, "text"), now);
            prop_assert_eq!(ours.is_ok(), theirs.passes == Passes::Yes);
            match ours {
                Ok(taken) => {
                    let wait = if let Turn::After(wait) = taken.turn { wait } else { Duration::ZERO };
                    prop_assert_eq!(Some(micros(wait)), theirs.retry_in.map(micros).filter(|_| cost > 0).or(Some(0)));
                }
                Err(refused) => prop_assert_eq!(refused.retry_in.map(micros), theirs.retry_in.map(micros)),
            }
            let theirs = server.ask_as("w", &window, cost, [0; 3], (patience * 1_000, "text"), now);
            if theirs.passes == Passes::Yes {
                let wait = micros(theirs.retry_in.unwrap_or_default());
                prop_assert!(cost == 0 || wait <= patience * 1_000);
                begun.extend((0..cost).map(|_| now + wait));
            }
        }
        begun.sort_unstable();
        for pair in begun.windows(requests as usize + 1) {
            prop_assert!(pair[requests as usize] - pair[0] >= per_ms * 1_000, "{requests} in {per_ms} ms: {pair:?}");
        }
    });
}
