use std::time::SystemTime;

use ravelin_snapshot::{
    ObjectKey,
    rate_limit::{self, SlidingWindow, TokenBucket},
};

use super::*;

fn bucket(requests: u32, per_ms: u64, burst: u32) -> rate_limit::Count {
    rate_limit::Count::TokenBucket(TokenBucket { requests, per_ms, burst })
}

fn window(requests: u32, per_ms: u64) -> rate_limit::Count {
    rate_limit::Count::SlidingWindow(SlidingWindow { requests, per_ms })
}

fn counting(count: rate_limit::Count, start: Instant) -> Count {
    let said = rate_limit::Limit {
        name: "rate".to_owned(),
        key: None,
        when: None,
        cost: None,
        phase: rate_limit::Phase::Main,
        count,
        parent: None,
        max_delay_ms: Some(1),
        ban: None,
    };
    Count::alone(&said, &ObjectKey::new("shop", "few"), &Arc::default(), start).unwrap()
}

/// A request of the simulation.
struct Comer {
    class: usize,
    came: Instant,
    place: Place,
    look_at: Instant,
}

/// What became of the requests of a class: how long those waited that passed, and how many did not.
#[derive(Debug, Default)]
struct Class {
    waits: Vec<Duration>,
    refused: usize,
}

impl Class {
    fn percentile(&mut self, part: usize) -> Duration {
        self.waits.sort_unstable();
        self.waits[self.waits.len() * part / 100]
    }
}

/// Requests of the weights 10 and 1 come evenly, so many of each a second; time goes by milliseconds, and so do timers.
fn overload(said: &rate_limit::Count, patience: Duration, seconds: u64, per_second: [u64; 2]) -> [Class; 2] {
    let start = Instant::now();
    let count = counting(said.clone(), start);
    let (mut classes, mut waiting) = ([Class::default(), Class::default()], Vec::<Comer>::new());
    let (key, _) = count.key("");
    for ms in 0..seconds * 1_000 {
        let now = start + Duration::from_millis(ms);
        let at = Moment { now, clock: SystemTime::UNIX_EPOCH };
        for (class, many) in per_second.into_iter().enumerate() {
            for _ in many * ms / 1_000..many * (ms + 1) / 1_000 {
                let weight = Some([10, 1][class]);
                match count.take((key, None), 1, at, Patience { time: patience, weight }) {
                    Ok(Taken { turn: Turn::InLine(place), .. }) => {
                        waiting.push(Comer { class, came: now, place, look_at: now });
                    }
                    Ok(_) => classes[class].waits.push(Duration::ZERO),
                    Err(_) => classes[class].refused += 1,
                }
            }
        }
        // Whoever is first looks, and may let the next one look in the same moment.
        let mut goes_on = true;
        while std::mem::take(&mut goes_on) {
            for mut comer in std::mem::take(&mut waiting) {
                let until = comer.came + patience;
                if let At::Behind(queued) = &mut comer.place.0
                    && let Some(seat) = queued.seated()
                {
                    (comer.place.0, comer.look_at) = (At::First(seat), now);
                }
                match &comer.place.0 {
                    At::Behind(_) if turn_by(comer.came, patience) <= now => classes[comer.class].refused += 1,
                    At::Behind(_) => waiting.push(comer),
                    At::First(_) if comer.look_at > now => waiting.push(comer),
                    At::First(_) => match look(&count, key, 1, at, until) {
                        Look::Taken(taken) => {
                            let begins = now + taken.turn.wait();
                            assert!(begins <= until, "it is promised nothing that is too late");
                            classes[comer.class].waits.push(begins - comer.came);
                            goes_on = true;
                        }
                        Look::Refused(_) => classes[comer.class].refused += 1,
                        Look::Later(then) => waiting.push(Comer { look_at: then, ..comer }),
                    },
                }
            }
        }
    }
    classes
}

#[test]
fn at_three_times_a_rate_the_high_class_is_served_in_time_the_low_one_too_and_nothing_is_lost() {
    for said in [bucket(100, 1_000, 1), bucket(100, 1_000, 20), window(100, 1_000), window(1_000, 10_000)] {
        let (seconds, patience) = (30, Duration::from_millis(500));
        let [mut gold, other] = overload(&said, patience, seconds, [50, 250]);
        let passed = (gold.waits.len() + other.waits.len()) as u64;
        println!(
            "{said:?}: gold waits {:?} (p50) and {:?} (p99), {} of it are refused; {passed} passed of {}",
            gold.percentile(50),
            gold.percentile(99),
            gold.refused,
            100 * seconds,
        );
        assert!(passed >= 90 * seconds, "{said:?}: {passed} passed");
        assert!(other.waits.len() as u64 >= 40 * seconds, "{said:?}: {} of the low class", other.waits.len());
        if let rate_limit::Count::TokenBucket(_) = said {
            assert_eq!(gold.refused, 0, "{said:?}");
            assert!(gold.percentile(99) <= Duration::from_millis(50), "{said:?}: {:?}", gold.percentile(99));
        }
    }
}

#[test]
fn a_rate_that_is_faster_than_timers_is_used_up_and_shared_by_weight() {
    let seconds = 3;
    let [gold, other] = overload(&bucket(5_000, 1_000, 1), Duration::from_millis(200), seconds, [5_000, 5_000]);
    let passed = gold.waits.len() + other.waits.len();
    assert!((14_250..=15_100).contains(&passed), "{passed} of 15000 passed");
    let share = gold.waits.len() as f64 / passed as f64;
    assert!((0.87..=0.95).contains(&share), "{share} of it are of the weight of 10 in 11");
}

#[test]
fn who_gives_up_has_taken_nothing_and_lets_the_next_one_look() {
    let start = Instant::now();
    let count = counting(bucket(1, 10_000, 1), start);
    let (key, _) = count.key("");
    let after = |secs| Moment { now: start + Duration::from_secs(secs), clock: SystemTime::UNIX_EPOCH };
    let come = |secs| {
        let patience = Patience { time: Duration::from_secs(60), weight: Some(1) };
        count.take((key, None), 1, after(secs), patience).ok().unwrap().turn
    };
    assert!(matches!(come(0), Turn::Now));
    let (first, second) = (come(0), come(1));
    let (Turn::InLine(Place(At::First(first))), Turn::InLine(Place(At::Behind(mut second)))) = (first, second) else {
        panic!("they are not in line");
    };
    assert!(second.seated().is_none());
    drop(first);
    let _place = second.seated().unwrap();
    let until = after(100).now;
    assert!(matches!(look(&count, key, 1, after(2), until), Look::Later(then) if then > after(9).now));
    assert!(matches!(look(&count, key, 1, after(10), until), Look::Taken(_)), "the next that comes is his");
}
